"""Opens the meshes and stores that `sdfkit compare` names, and compares the meshes."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sdfkit.errors import UsageError
from sdfkit.inference.comparison.image_baselines import check_options, read_image_baselines
from sdfkit.inference.comparison.scores import ComparisonResult, compare
from sdfkit.io.meshes.pairs import open_predictions
from sdfkit.io.meshes.reader import open_meshes
from sdfkit.options import STANDARD


def compare_files(
    predicted: str,
    truth: str,
    *,
    training: str | None,
    features: str | None,
    training_features: str | None,
    views: str | None,
    codes: str | None,
    manifest: Path | None,
    **options: Any,
) -> ComparisonResult:
    """Score predicted meshes in files against the true ones; see `scores.compare`.

    Args:
        predicted: A mesh file or a folder; `-` is standard input. Of a folder, true shapes without a prediction count.
        truth: A mesh file or a folder, or `-`.
        training: A mesh file or a folder with the training meshes; None for no baselines of training shapes.
        features: A features store of the images given to the model.
        training_features: A features store of the training shapes; None if they are in `features`.
        views: A views store of the images given to the model.
        codes: A deepsdf store with the codes of the training shapes.
        manifest: Manifest whose labels replace those of the meshes.
        options: Further arguments of `scores.compare`.

    Raises:
        UsageError: Standard input is named twice, or an option is given without another that it needs.
    """
    if [predicted, truth, training].count(STANDARD) > 1 or training == STANDARD:
        raise UsageError(
            "only PREDICTED or TRUTH can be standard input, not both; give files for the other inputs"
        )
    check_options(training, features, training_features=training_features, codes=codes)
    with ExitStack() as stack:
        guesses = stack.enter_context(open_predictions(predicted, manifest=manifest))
        truths = stack.enter_context(open_meshes([truth], manifest=manifest))
        known = None if training is None else stack.enter_context(open_meshes([training], manifest=manifest))
        images = read_image_baselines(
            (known.rows if known else None) or (), features=features, training_features=training_features,
            codes=codes, views=views,
        )  # fmt: skip
        return compare(
            guesses, truths, all_due=Path(predicted).is_dir(), training=known, images=images, **options
        )
