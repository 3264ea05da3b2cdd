"""Fits latent codes to the shapes of a samples store, with a trained DeepSDF decoder."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError
from sdfkit.io.stores.reader import ArrayRow

if TYPE_CHECKING:
    from sdfkit.io.models import Decoder
    from sdfkit.io.stores.writer import StoreWriter
    from sdfkit.training.fitting import FitSettings

log = logging.getLogger(__name__)
ARRAYS = ("point", "distance")
# Number of shapes that are fitted at once; number of points that pass through the decoder at once, which fit in the
# cache of a CPU; number of samples of each shape on which the fitted code is evaluated.
BATCH, CHUNK, EVALUATED = 16, 8_192, 20_000


def fit_rows(
    trained: "Decoder",
    rows: Iterable[ArrayRow],
    store: "StoreWriter",
    settings: "FitSettings",
    half_space: str | None,
    points: int | None,
    advance: Callable[[int], Any],
) -> dict[str, float]:
    """Fit a latent code to the samples of each row and write it to an open codes store.

    Args:
        trained: The decoder and the latent codes of its training shapes.
        rows: Rows with the arrays `ARRAYS`.
        store: The codes store, with the arrays `code` and `sdf_l1`.
        settings: Settings of the fit.
        half_space: Fit only to the samples on one side of the centre, such as "+x" for x > 0; None for all samples.
        points: Number of samples of each shape that the code is fitted to; None for all.
        advance: Called with the number of rows that are done, for a progress bar.

    Returns:
        By uid, for each shape that did not fail, the mean absolute error of the decoded distances against the sampled
        ones, both clamped. It is measured on the first samples of the shape, whether the code was fitted to them or
        not.
    """
    errors: dict[str, float] = {}
    waiting: list[ArrayRow] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == BATCH:
            errors |= _fit_batch(trained, waiting, store, settings, half_space, points)
            advance(len(waiting))
            waiting = []
    errors |= _fit_batch(trained, waiting, store, settings, half_space, points)
    advance(len(waiting))
    return errors


def _fit_batch(
    trained: "Decoder",
    rows: list[ArrayRow],
    store: "StoreWriter",
    settings: "FitSettings",
    half_space: str | None,
    points: int | None,
) -> dict[str, float]:
    import torch

    from sdfkit.evaluation.field_errors import decoder_errors
    from sdfkit.training.fitting import fit_codes

    rows = [_select_known(row, half_space, points) for row in rows]
    usable = [row for row in rows if not row.error]
    found: dict[str, dict[str, Any]] = {}
    if usable:
        codes = torch.from_numpy(trained.codes)
        centre, std = codes.mean(dim=0), codes.std(dim=0, correction=0).clamp_min(1e-4)
        known_point, known_distance, point, distance = (
            torch.from_numpy(np.stack([row.arrays[name] for row in usable]))
            for name in ("known_point", "known_distance", *ARRAYS)
        )
        fitted = fit_codes(trained.network, known_point, known_distance, centre, std, settings)
        errors = decoder_errors(
            trained.network, fitted, point[:, :EVALUATED], distance[:, :EVALUATED], (settings.clamp,), CHUNK
        )[:, 0]
        for row, code, error in zip(usable, fitted.cpu().numpy(), errors.tolist(), strict=True):
            found[row.uid] = {"code": code, "sdf_l1": error}
    for row in rows:
        store.write(row, **found.get(row.uid, {}))
    return {uid: values["sdf_l1"] for uid, values in found.items()}


def _select_known(row: ArrayRow, half_space: str | None, count: int | None) -> ArrayRow:
    """Add the samples to which the code is fitted as the arrays known_point and known_distance.

    A row that has too few such samples is marked as failed.
    """
    from sdfkit.training.fitting import keep_known

    if row.error:
        return row
    point, distance = row.arrays["point"], row.arrays["distance"]
    known = np.ones(len(point), dtype=bool)
    if half_space is not None:
        known = (1 if half_space[0] == "+" else -1) * point[:, "xyz".index(half_space[1])] > 0
    try:
        points, distances = keep_known(point, distance, known, min(count or len(point), len(point)))
    except GeometryError as error:
        log.warning("%s: %s", row.uid, error)
        return replace(row, error=str(error))
    return replace(row, arrays={**row.arrays, "known_point": points, "known_distance": distances})
