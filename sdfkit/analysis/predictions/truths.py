"""The true vectors of predictions, found by the uids of their shapes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sdfkit.analysis.vectors import VectorSet, measure_moments
from sdfkit.errors import InputError
from sdfkit.rows import require_same_origins
from sdfkit.wording import counted


@dataclass(frozen=True)
class GroundTruth:
    """The true vectors of the predictions whose truth is known."""

    rows: Int[np.ndarray, " truth"]
    """Row of each of these predictions among all predictions."""
    vectors: Float[np.ndarray, "truth dim"]
    """Their true vectors."""
    own: Int[np.ndarray, " truth"]
    """Row of each true vector among the training vectors; their number if the truth is not a training vector."""


def require_comparable(vectors: VectorSet, known: VectorSet) -> None:
    """Check that vectors have the dimension of the training vectors, and that these are at least two.

    Raises:
        InputError: The dimensions differ, or `known` has one row.
    """
    if vectors.dim != known.dim:
        raise InputError(
            f"{vectors.name}: each vector has {counted(vectors.dim, 'number')}, but those of {known.name} have "
            f"{known.dim}; give vectors of the same kind"
        )
    if len(known.rows) < 2:
        raise InputError(
            f"{known.name}: holds one vector, but a ranking needs two or more; give the vectors of all training shapes"
        )


def find_truths(
    predicted: VectorSet, known: VectorSet, truth: VectorSet | None
) -> tuple[Int[np.ndarray, " prediction"], GroundTruth | None]:
    """Find the true vectors of predictions by uid, first in `truth` and then among the training vectors.

    If the predictions or `truth` are a plain array without uids, row i of `truth` is the truth of prediction i.

    Args:
        predicted: The predictions; several samples of one shape share its truth.
        known: The training vectors.
        truth: True vectors of shapes that may not be training shapes; None to search the training vectors only.

    Returns:
        A number for the shape of each prediction, equal for samples of one shape, and the true vectors that were found;
        None if there are none.

    Raises:
        InputError: `truth` cannot be compared or matched with the predictions, or has a vector that is zero or not
            finite; or vectors with the same uid come from different mesh files.
    """
    shapes = _shapes_of(predicted)
    numbers = np.unique(shapes, return_inverse=True)[1]
    has_uids = predicted.has_uids and known.has_uids
    known_rows = {row.uid: index for index, row in enumerate(known.rows)} if has_uids else {}
    _require_same_origins(shapes, predicted, known, known_rows)
    own = np.array([known_rows.get(shape, len(known.rows)) for shape in shapes], np.int64)
    if truth is None:
        found = np.flatnonzero(own < len(known.rows))
        return numbers, GroundTruth(found, known.vectors[own[found]], own[found]) if len(found) else None
    require_comparable(truth, known)
    measure_moments(truth.vectors, [row.uid for row in truth.rows], truth.name)
    truth_rows = _match_rows(shapes, predicted, truth)
    found = np.flatnonzero([shape in truth_rows or shape in known_rows for shape in shapes])
    vectors = [
        _read_row(truth, truth_rows[shape]) if shape in truth_rows else _read_row(known, known_rows[shape])
        for shape in (shapes[index] for index in found)
    ]
    return numbers, GroundTruth(found, np.stack(vectors), own[found])


def _shapes_of(predicted: VectorSet) -> list[str]:
    """Return the uid of the shape of each prediction."""
    samples = predicted.attributes.get("settings", {}).get("samples", 1)
    # Elsewhere, `samples` is the digest of a samples store.
    samples = samples if isinstance(samples, int) else 1
    # Stores from before the column sample_of existed name the samples of a shape uid_s0, uid_s1, ...
    return [
        row.sample_of or (row.uid.removesuffix(f"_s{row.index % samples}") if samples > 1 else row.uid)
        for row in predicted.rows
    ]


def _match_rows(shapes: list[str], predicted: VectorSet, truth: VectorSet) -> dict[str, int]:
    """Return the row of `truth` for each uid of a shape."""
    rows = {row.uid: index for index, row in enumerate(truth.rows)}
    if not (predicted.has_uids and truth.has_uids):
        if len(truth.rows) != len(predicted.rows):
            raise InputError(
                f"{truth.name}: holds {counted(len(truth.rows), 'true vector')} for "
                f"{counted(len(predicted.rows), 'prediction')}, and "
                "there are no uids to match them by; give one true vector for each prediction"
            )
        rows = dict(zip(shapes, range(len(shapes)), strict=True))
    if not any(shape in rows for shape in shapes):
        raise InputError(
            f"{truth.name}: has no uid in common with {predicted.name} (the first uids are {truth.rows[0].uid} "
            f"and {shapes[0]}); use the same uids in both"
        )
    _require_same_origins(shapes, predicted, truth, rows)
    return rows


def _require_same_origins(
    shapes: list[str], predicted: VectorSet, other: VectorSet, rows: dict[str, int]
) -> None:
    """Check that predictions and the vectors with the uids of their shapes come from the same mesh files."""
    pairs = zip(shapes, predicted.rows, strict=True)
    require_same_origins(
        [(row, other.rows[rows[shape]]) for shape, row in pairs if shape in rows],
        f"the predictions of {predicted.name}", f"the vectors of {other.name}",
    )  # fmt: skip


def _read_row(vectors: VectorSet, row: int) -> Float[np.ndarray, " dim"]:
    vector: np.ndarray = vectors.vectors[row : row + 1][0]
    return vector
