from pathlib import Path
from typing import Annotated, Literal

import typer

from sdfkit.inference.defaults import COMPARE_POINTS, COMPARE_TIMEOUT
from sdfkit.options import IRRELEVANT, WHOLE, FailFast, Jobs, Json, Manifest, Overwrite, Seed, Timeout
from sdfkit.runtime.cores import CORES


def compare(
    predicted: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTED", help="Predicted meshes: a mesh file or a folder; - reads standard input."
        ),
        WHOLE,
    ],
    truth: Annotated[
        str,
        typer.Argument(metavar="TRUTH", help="True meshes: a mesh file or a folder; - reads standard input."),
        WHOLE,
    ],
    *,
    pair: Annotated[
        Literal["auto", "uid", "order"],
        typer.Option(
            help="How to pair predicted and true meshes. uid: by equal uids; order: by their order; auto: by uid, or "
            "by order if no uid occurs on both sides and both sides have equally many meshes."
        ),
    ] = "auto",
    points: Annotated[
        int, typer.Option(min=1000, help="Number of sample points on each surface, and in space for the IoU.")
    ] = COMPARE_POINTS,
    align: Annotated[
        Literal["none", "icp"],
        typer.Option(
            help="icp: first rotate and translate each prediction onto its true mesh, from four rotations about +Y."
        ),
    ] = "none",
    training: Annotated[
        str | None,
        typer.Option(metavar="MESHES", help="Training meshes; adds two baselines, mean shape and oracle."),
        WHOLE,
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Features of the images given to the model; adds the scores of the baseline retrieval.",
        ),
        WHOLE,
    ] = None,
    training_features: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Features of the training shapes, if they are not in the store of --features.",
        ),
        WHOLE,
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="The images given to the model, as a views store; adds the scores of the visual hull and, with "
            "--training, of the training shape whose silhouettes agree best.",
        ),
        WHOLE,
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Store that train-deepsdf wrote; adds the scores of kernel ridge regression, which predicts codes "
            "from --features.",
        ),
        WHOLE,
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="List the scores of all shapes, not only of the ten worst."),
        IRRELEVANT,
    ] = False,
    seed: Seed = 0,
    json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Also write a page (.html), plots (.png) or CSV."
        ),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
    jobs: Jobs = CORES,
    timeout: Timeout = COMPARE_TIMEOUT,
    fail_fast: FailFast = False,
) -> None:
    """Score predicted meshes against the true ones.

    Prints Chamfer distance, F-score, volume IoU and normal consistency with their definitions, and the mean of each
    score with its 95 % interval (bootstrap over shapes). Meshes are paired by uid; if there is one predicted and one
    true mesh, they are paired whatever their names. If there are several predictions, or PREDICTED is a folder, each
    true shape without a prediction gets the worst scores; if the folder is empty, all true shapes do. Several samples
    of a shape (predict --samples) count as one shape with the mean of their scores.

    Baselines show what a model must beat. --training adds the mean shape, a level set of the mean signed distances of
    the training shapes, and the oracle, the training shape with the smallest Chamfer distance to the true shape.
    --features adds retrieval, the training shape whose images are most similar to the given ones (mean over the given
    images of the largest cosine). --views adds the visual hull, the largest solid with the silhouettes of the given
    images, and the training shape whose silhouettes have the largest mean IoU with them. --codes adds kernel ridge, a
    regression that predicts codes from the mean features of the images (Gaussian kernel, by leave-one-out error).

    A model that is not better than retrieval has learned little. The report counts true shapes that are also training
    shapes: their scores measure recall, and retrieval may return the shape itself.

    \b
    Examples:
      sdfkit compare predicted.ply closed/obj_0003.ply
      sdfkit mesh codes.zarr --decoder deepsdf.zarr | sdfkit compare - closed/ -o table.csv
      sdfkit compare predicted/ test/ --training train/ --features test.zarr --training-features train.zarr
      sdfkit compare predicted/ test/ --training train/ --views test.views.zarr -o report.html
    """
    from sdfkit.inference.comparison.files import compare_files
    from sdfkit.inference.comparison.scores import PairDrawing
    from sdfkit.io.outputs import refuse_existing
    from sdfkit.report.drawing.formats import is_page
    from sdfkit.report.scorecard import ScoreCard
    from sdfkit.report.table_pages import comparison as page
    from sdfkit.runtime.pool import PoolOptions, report_outcome

    if output is not None:
        refuse_existing(output, overwrite or output.is_file())
    result = compare_files(
        predicted, truth, training=training, features=features, training_features=training_features, views=views,
        codes=codes, manifest=manifest, pair=pair, points=points, align=align, seed=seed,
        drawing=PairDrawing(page.draw_pair, page.PICTURED, page.model_pair, page.MODELLED) if is_page(output) else None,
        pool=PoolOptions(jobs, timeout, None, fail_fast),
    )  # fmt: skip
    card = ScoreCard(
        result.shapes, pairing=result.pairing, align=align, points=points, seed=seed, level=result.level
    )
    typer.echo(card.as_json() if json else card.as_text(every))
    if output is not None and result.scored:
        heading = f"{predicted} against {truth}"
        page.write_comparison(output, heading, card, result.drawings, len(result.failed), overwrite=overwrite)
    if result.failed:
        report_outcome("the table", "scores", result.scored + len(result.failed), result.failed)
