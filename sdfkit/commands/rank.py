from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdfkit.options import IRRELEVANT, STANDARD, WHOLE, Json, Manifest, Overwrite


def rank(
    predicted: Annotated[
        str,
        typer.Argument(
            metavar="STORE", help="Predicted codes or weights, or a .npy file; - reads standard input."
        ),
        WHOLE,
    ] = STANDARD,
    *,
    known: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Codes or weights of all training shapes, or a .npy file."),
        WHOLE,
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="True codes or weights of other shapes, or a .npy file."),
        WHOLE,
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Number of nearest training shapes to list for each prediction.")
    ] = 5,
    every: Annotated[
        bool,
        typer.Option("--all", help="List all predictions, not only the first ten."),
        IRRELEVANT,
    ] = False,
    as_json: Json = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="PATH", help="Write the ranking to this store, or plot it (.png)."
        ),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
    manifest: Manifest = None,
) -> None:
    """Classify predictions: recall, generalisation, noise, collapse.

    Predictions are latent codes, or weights of small networks, one vector per shape. They are compared with the vectors
    of the training shapes: those of --known, or those in the model that made the predictions, which sdfkit predict
    records. Without training vectors, the predictions are compared only with each other: if their
    variance is only a small part of their mean squared length, the model gives nearly the same answer for every input.

    The report begins with the verdict. It lists the nearest training shapes of each prediction, by cosine; with more
    than ten predictions, those of the first ten, one for each, unless --all is given. Centred cosines are cosines after
    the mean of the training vectors is subtracted. The truth of a prediction is the vector of the same uid among the
    training shapes or in --truth; if there is one, the report gives its rank among the training vectors and the margin
    of its cosine over that of the best other shape. The cosine of the training mean with the truth is printed beside
    it: the score of a model that always predicts the mean.

    The verdict covers the predictions with a truth or, if there are none, all of them. Recall: the distance from a
    prediction to a training vector is less than half the distance from that training vector to the nearest other one.
    Generalisation: predictions are similar to their truths, also about the mean of their category, but are no copies of
    training vectors. Kinds only: they match the categories of their truths and nothing more. Noise: they differ, but
    not as their truths do. Collapse: they are the training mean, or the same few vectors, for all inputs. Wrong scale:
    right but for a factor, as when still standardised. If none of these holds for a large majority, or there are fewer
    than 3 shapes, 8 training vectors or 4 dimensions, the verdict is "unclear".

    \b
    Examples:
      sdfkit rank predicted.npy
      sdfkit rank predicted.zarr --known deepsdf.zarr
      sdfkit predict dit.zarr features.zarr | sdfkit rank --top 3
      sdfkit predict dit.zarr unseen.zarr | sdfkit rank --truth fitted.zarr
      sdfkit rank predicted.zarr --known deepsdf.zarr -o ranks.png
      sdfkit rank predicted.zarr --known deepsdf.zarr --json | jq '.verdict'
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.digests import digest_input
    from sdfkit.io.stores.contents.vectors import VECTOR_KINDS, open_training_vectors, open_vectors
    from sdfkit.io.stores.writer import create_store
    from sdfkit.report.diagnostics.ranking import assess, collect_arrays, format_ranking, plot_ranking
    from sdfkit.report.plots import check_picture, draw_panels
    from sdfkit.report.tables import format_json

    if [predicted, known, truth].count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give files for --known and --truth")
    picture = Path(output) if output is not None and output.lower().endswith(".png") else None
    check_picture(picture, overwrite)
    with ExitStack() as stack:
        guesses = stack.enter_context(open_vectors(predicted, *VECTOR_KINDS, manifest=manifest))
        training = stack.enter_context(
            open_training_vectors(guesses, known, *VECTOR_KINDS, manifest=manifest)
        )
        if training is None and (output is not None or truth is not None):
            raise UsageError("-o and --truth need training vectors; add --known STORE")
        right = (
            None if truth is None else stack.enter_context(open_vectors(truth, *VECTOR_KINDS, manifest=None))
        )
        rows = [replace(row, index=index) for index, row in enumerate(guesses.rows)]
        store = nullcontext() if output is None or training is None or picture is not None else create_store(
            output, "ranks", rows=rows, history=[*guesses.history, *training.history],
            settings={
                "known": digest_input(known or guesses.attributes["denoiser"]),
                "top": min(top, len(training.rows)),
            },
            overwrite=overwrite, report=True,
        )  # fmt: skip
        with store as writer:
            facts, ranking = assess(guesses, training, right, top=top)
            typer.echo(format_json(facts) if as_json else format_ranking(facts, every=every))
            if writer is not None and training is not None and ranking is not None:
                for name, values in collect_arrays(training, ranking).items():
                    writer.create_array(name, data=values, axes=("prediction", "neighbour"))
                for row in rows:
                    writer.write(row)
    if picture is not None:
        draw_panels(picture, plot_ranking(facts), overwrite=overwrite)
