"""Faults in the units, the sign or the order of predictions, which make right predictions look wrong."""

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.vectors import Moments

# Predictions differ from their truths by a factor if dividing by it leaves at most LEFT of the variance unexplained and
# at most a quarter of what was unexplained before. Factors between 1 / FACTOR and FACTOR may be those of a model that
# shrinks its predictions towards the mean.
LEFT, GAIN, FACTOR = 0.5, 0.25, 5.0
# Squared distance from the training mean, over the total variance, of predictions that lie where training vectors lie.
USUAL = (0.2, 4.0)
# Number of predictions and truths whose order is checked, and the share of them that must match.
CHECKED, MATCHED = 512, 0.8


def explain_scale(
    predicted: Float[np.ndarray, "prediction dim"],
    truth: Float[np.ndarray, "prediction dim"],
    known: Moments,
) -> str | None:
    """Find a wrong scale or sign of predictions, by comparison with their truths.

    Args:
        predicted: Predicted vectors, one a row.
        truth: The true vector of each prediction.
        known: Moments of the training vectors.

    Returns:
        A clause that names the fault and what is left of the error without it; None if there is no such fault.
    """
    total = float(np.square(truth - known.mean).sum())
    error = float(np.square(predicted - truth).sum()) / total
    factor = float(np.einsum("pd,pd->", predicted, truth) / np.square(truth).sum())
    restored = {"they are still standardised": _undo_standardising(predicted, known)}
    if factor < 0 or max(abs(factor), 1 / max(abs(factor), 1e-9)) >= FACTOR:
        restored[f"they are {factor:.3g} times their truths"] = predicted / (factor or 1)
    lefts = {name: float(np.square(vectors - truth).sum()) / total for name, vectors in restored.items()}
    name = min(lefts, key=lefts.__getitem__)
    if lefts[name] > min(LEFT, GAIN * error):
        return None
    return f"{name}; without this, their squared error is {lefts[name]:.3g} times that of predicting the mean"


def explain_distance(predicted: Float[np.ndarray, "prediction dim"], known: Moments) -> str:
    """Return a clause on why predictions without truths may lie far outside the training set."""
    restored = _undo_standardising(predicted, known)
    size = float(np.median(np.square(restored - known.mean).sum(axis=1))) / known.total_variance
    if USUAL[0] <= size <= USUAL[1]:
        return f"they may still be standardised: undoing that would bring their squared distance to {size:.2g} times"
    return "they may come from another model"


def count_exchanged(
    predicted: Float[np.ndarray, "prediction dim"],
    truth: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    mean: Float[np.ndarray, " dim"],
) -> tuple[int, int]:
    """Count the predictions that are similar to the truth of another shape, each to another one.

    Args:
        predicted: Predicted vectors, one a row.
        truth: The true vector of each prediction.
        shape_of: A number for the shape of each prediction.
        mean: Mean of the training vectors.

    Returns:
        The number of predictions whose squared distance from the nearest truth of another shape is at most half that of
        this truth from the mean, and that of the different shapes whose truths these are.
    """
    # One prediction of each shape.
    rows = np.unique(shape_of, return_index=True)[1][:CHECKED]
    guesses, truths = predicted[rows] - mean, truth[rows] - mean
    lengths = np.square(truths).sum(axis=1)
    squared = np.square(guesses).sum(axis=1)[:, None] + lengths - 2 * guesses @ truths.T
    np.fill_diagonal(squared, np.inf)
    nearest = squared.argmin(axis=1)
    matched = squared[np.arange(len(rows)), nearest] <= LEFT * lengths[nearest]
    return int(matched.sum()), len(np.unique(nearest[matched]))


def explain_order(
    predicted: Float[np.ndarray, "prediction dim"],
    truth: Float[np.ndarray, "prediction dim"],
    shape_of: Int[np.ndarray, " prediction"],
    mean: Float[np.ndarray, " dim"],
) -> str | None:
    """Return a clause that names a wrong order of predictions, which match other shapes' truths; None if they don't."""
    matched, different = count_exchanged(predicted, truth, shape_of, mean)
    shapes = min(len(np.unique(shape_of)), CHECKED)
    if matched < MATCHED * shapes or different < MATCHED * matched:
        return None
    return (
        f"the predictions of {matched} of {shapes} shapes match the truth of another shape, each that of another one; "
        "check the order or the uids of predictions and truths"
    )


def _undo_standardising(
    predicted: Float[np.ndarray, "prediction dim"], known: Moments
) -> Float[np.ndarray, "prediction dim"]:
    restored: np.ndarray = predicted * np.sqrt(known.variance) + known.mean
    return restored
