"""Fits latent codes to the shapes of a samples store, with a trained DeepSDF decoder."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.stores.store_reader import ArrayRow, StoreReader

if TYPE_CHECKING:
    from sdfkit.io.models.reader import Decoder
    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.training.deepsdf.code_fitting import FitSettings

log = logging.getLogger(__name__)
ARRAYS = ("point", "distance")
# Settings of a fit to samples, by the names of the options of fit-code.
DEFAULTS = {"steps": 800, "batch": 1024, "lr": 5e-3, "penalty": 1e-4, "clamp": 0.1}
# Number of shapes that are fitted at once; number of points that pass through the decoder at once, which fit in the
# cache of a CPU; number of samples of each shape on which the fitted code is evaluated.
BATCH, CHUNK, EVALUATED = 16, 8_192, 20_000


class Fit(NamedTuple):
    """How the codes of the shapes of a store are fitted.

    Attributes:
        settings: Settings to record.
        score: Name of the array that says how well each code fits.
        run: Function that fits all shapes and writes them to a codes store, given this store and a function to call
            with the number of rows that are done. It returns the scores by uid.
    """

    settings: dict[str, Any]
    score: str
    run: "Callable[[StoreWriter, Callable[[int], Any]], dict[str, float]]"


def load_fitted_decoder(path: str, device: str) -> "Decoder":
    """Load a decoder to which codes are fitted; see `load_decoder`.

    Raises:
        InputError: It was trained on one shape.
    """
    from sdfkit.io.models.reader import load_decoder

    trained = load_decoder(path, device)
    if len(trained.codes) == 1:
        raise InputError(
            f"{path}: was trained on one shape, so it cannot represent others; train a decoder on several shapes"
        )
    return trained


def choose_fit(
    store: "StoreReader",
    trained: "Decoder",
    given: Mapping[str, Any],
    *,
    points: int | None,
    half_space: str | None,
) -> Fit:
    """Choose how to fit codes to an open store: to the distances of samples, or to the outlines of views.

    Args:
        store: A samples or views store.
        trained: The decoder and the latent codes of its training shapes.
        given: Values of the options that `DEFAULTS` names; None for those that were not given.
        points, half_space: See `fit_rows`.

    Raises:
        UsageError: An option is given that does not apply to views.
        InputError: The views have no masks.
    """
    from sdfkit.training.deepsdf.code_fitting import FitSettings

    chosen = {name: value for name, value in given.items() if value is not None}
    own = {
        name: value for name, value in (("points", points), ("half_space", half_space)) if value is not None
    }
    if store.kind == "samples":
        options: dict[str, Any] = DEFAULTS | chosen
        recipe = FitSettings(**options, chunk=CHUNK)

        def fit_samples(fitted: "StoreWriter", advance: Callable[[int], Any]) -> dict[str, float]:
            return fit_rows(trained, store.rows(*ARRAYS), fitted, recipe, half_space, points, advance)

        return Fit({"points": points, "half_space": half_space} | options, "sdf_l1", fit_samples)

    import torch

    from sdfkit.inference.prediction.refinement import RefiningWriter
    from sdfkit.io.stores.contents.outlines import OUTLINES, require_outlines
    from sdfkit.training.refinement.refiner import SETTINGS, CodeRefiner

    unused = [f"--{name.replace('_', '-')}" for name in (*chosen, *own) if name != "steps"]
    if unused:
        raise UsageError(
            f"{store.name}: holds views, but only samples are fitted with {', '.join(unused)}; leave it out"
        )
    require_outlines(store)
    settings = replace(SETTINGS, **chosen)

    def fit_views(fitted: "StoreWriter", advance: Callable[[int], Any]) -> dict[str, float]:
        codes = torch.from_numpy(trained.codes).to(next(trained.network.parameters()).device)
        refiner = CodeRefiner(trained.network.decode, codes, settings, trained.network.prepare)
        writer = RefiningWriter(fitted, refiner, 0, advance=advance)
        for row in store.rows(*OUTLINES):
            writer.write(row, **row.arrays)
        writer.finish()
        return writer.overlaps

    return Fit({"steps": settings.steps}, "silhouette_iou", fit_views)


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
    from sdfkit.training.deepsdf.code_fitting import fit_codes

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
    from sdfkit.training.deepsdf.code_fitting import keep_known

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
