"""Fits a small network to each shape of a samples store and writes its weights. Interrupted runs can be continued."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError
from sdfkit.io.stores.reader import ArrayRow, StoreReader, open_store
from sdfkit.rows import seed_shape

if TYPE_CHECKING:
    from torch import Tensor

    from sdfkit.io.stores.writer import StoreWriter
    from sdfkit.models.layers import MLPConfig
    from sdfkit.rows import Row
    from sdfkit.training.mlp_recipes import MLPFitSettings

log = logging.getLogger(__name__)
ARRAYS = ("point", "distance", "near")
# The last tenth of each shape's samples is held out from the fit, but at most this number of samples.
MAX_HELD_OUT = 10_000
# Points that pass through a network at once when its loss is computed.
CHUNK = 2_000
DIVERGED = "the loss of its fit is not a finite number; lower --lr"


class Anchor(NamedTuple):
    """The anchor: weights from which all fits start, the uid of the shape that they fit, and their store's history."""

    uid: str
    weights: "Tensor"
    history: list[dict[str, Any]]


def read_anchor(path: str, config: "MLPConfig") -> Anchor:
    """Read the anchor (the weights from which all fits started) of an earlier weights store.

    Raises:
        InputError: The store has no anchor, or the anchor belongs to another architecture than `config`.
    """
    import torch

    with open_store(path, "weights", manifest=None) as store:
        if "anchor" not in store:
            raise InputError(
                f"{path}: has no anchor, because it was fitted with --anchor none; give another store"
            )
        if store.attributes["network"] != asdict(config):
            kind = store.attributes["network"].get("kind")
            raise InputError(
                f"{path}: its anchor has another architecture ({kind}); select that one with --network"
            )
        weights = torch.from_numpy(store.read_group("anchor")["weights"])
        return Anchor(store.attributes_of("anchor")["uid"], weights, store.history)


def find_shape(store: StoreReader, uid: str) -> ArrayRow:
    """Read the samples of the shape that --anchor names.

    Raises:
        InputError: The store has no such shape.
    """
    for row in store.all_rows():
        if row.uid == uid:
            arrays = {} if row.error else {name: np.asarray(store.array(name)[row.index]) for name in ARRAYS}
            return ArrayRow(**vars(row), arrays=arrays)
    raise InputError(f"--anchor {uid}: is neither a shape of {store.name} nor a store (*.zarr, *.zip)")


def count_held_out(samples: int) -> int:
    """Return how many of the samples of a shape are held out from the fit."""
    return min(MAX_HELD_OUT, max(1, samples // 10))


class MLPFitter:
    """Fits one small network to each shape, in batches of shapes, and writes the weights to an open weights store.

    Args:
        store: The weights store, with the arrays `weights` and `loss`.
        config: Architecture of the networks.
        settings: Settings of the fit.
        device: Name of the torch device.
        seed: Seed of the initial weights.
        stop: Raise an error for a shape that fails, instead of marking the shape as failed.

    Attributes:
        anchor: Weights from which all fits start; None if each fit starts from its own random weights.
        losses: The loss of each shape on its held-out samples, including the shapes of an interrupted run.
    """

    def __init__(
        self,
        store: "StoreWriter",
        config: "MLPConfig",
        settings: "MLPFitSettings",
        device: str,
        seed: int,
        *,
        stop: bool,
    ) -> None:
        self.store, self.config, self.settings, self.device = store, config, settings, device
        self.seed, self.stop = seed, stop
        self.anchor: Tensor | None = None
        self.losses: list[tuple[float, Row]] = []

    def load_anchor(self, given: Anchor | None) -> None:
        """Use the anchor of the interrupted run if there is one, otherwise the given anchor."""
        import torch

        group = self.store.group
        if "anchor" in group and self.store.done:
            self.anchor = torch.from_numpy(np.asarray(group["anchor/weights"]))
        elif "anchor" in group:
            # The run was interrupted before its first row, so the anchor may be incomplete.
            del group["anchor"]
        if self.anchor is None and given is not None:
            self._save_anchor(given.uid, given.weights)

    def fit_anchor(self, row: ArrayRow) -> None:
        """Fit a network to a shape and use the weights as the anchor.

        Raises:
            GeometryError: The shape cannot be fitted.
        """
        row = self._check(row)
        if row.error:
            raise GeometryError(f"{row.uid}: cannot be the anchor: {row.error}")
        weights, losses = self._fit([row], self._draw())
        if not losses.isfinite().all():
            raise GeometryError(f"{row.uid}: cannot be the anchor: {DIVERGED}")
        log.info("anchor %s: loss %.5f", row.uid, losses.item())
        self._save_anchor(row.uid, weights[0])

    def _save_anchor(self, uid: str, weights: "Tensor") -> None:
        self.store.create_group("anchor", attributes={"uid": uid}, arrays={"weights": weights.numpy()})
        self.anchor = weights

    def fit_rows(
        self, rows: Iterable[ArrayRow], batch: int, *, anchor_first: bool, advance: Callable[[int], Any]
    ) -> None:
        """Fit and write all rows that the store does not have yet.

        Args:
            rows: Rows with the arrays `ARRAYS`.
            batch: Number of shapes that are fitted at once.
            anchor_first: If there is no anchor yet, fit the first usable shape first and use its weights as the anchor.
            advance: Called with the number of rows that are done, for a progress bar.

        Raises:
            GeometryError: A shape cannot be fitted although `stop` is set, or the shape for the anchor cannot.
        """
        waiting: list[ArrayRow] = []
        for row in rows:
            if self._is_done(row):
                advance(1)
                continue
            waiting.append(self._check(row))
            usable = [row for row in waiting if not row.error]
            if usable and anchor_first and self.anchor is None:
                self.fit_anchor(usable[0])
            if len(usable) == batch:
                self._fit_batch(waiting)
                advance(len(waiting))
                waiting = []
        self._fit_batch(waiting)
        advance(len(waiting))

    def _is_done(self, row: ArrayRow) -> bool:
        """Return whether an interrupted run has written this row. If so, add the row's loss to `losses`."""
        if not self.store.has(row):
            return False
        if row.index not in self.store.failed:
            self.losses.append((float(self.store.group["loss"][row.index]), row))  # type: ignore[index, arg-type]
        return True

    def _check(self, row: ArrayRow) -> ArrayRow:
        """Mark a row as failed if its samples cannot be used."""
        if row.error:
            return row
        point, distance, near = (row.arrays[name] for name in ARRAYS)
        count = len(near) - count_held_out(len(near))
        error = ""
        if not (np.isfinite(point).all() and np.isfinite(distance).all()):
            error = "a sample has numbers that are not finite; sample the shape again"
        elif self.settings.near > 0 and not near[:count].any():
            error = "has no samples near its surface; sample it again, or fit with --near-focus 0"
        elif self.settings.near < 1 and near[:count].all():
            error = "all samples are near its surface; sample it again, or fit with --near-focus 1"
        return self._mark(row, error) if error else row

    def _mark(self, row: ArrayRow, error: str) -> ArrayRow:
        if self.stop:
            raise GeometryError(f"{row.uid}: {error}")
        log.warning("%s: %s", row.uid, error)
        return replace(row, error=error, arrays={})

    def _fit_batch(self, rows: list[ArrayRow]) -> None:
        """Fit the rows that did not fail, and write all rows, failed ones included."""
        import torch

        usable = [row for row in rows if not row.error]
        found: dict[int, dict[str, Any]] = {}
        if usable:
            start = self.anchor
            if start is None:
                start = torch.cat([self._draw(row.uid) for row in usable])
            for row, weights, loss in zip(usable, *self._fit(usable, start), strict=True):
                found[row.index] = {"weights": weights.numpy(), "loss": np.float32(loss)}
        for row in rows:
            arrays = found.get(row.index, {})
            if arrays and not np.isfinite(arrays["loss"]):
                row, arrays = self._mark(row, DIVERGED), {}
            self.store.write(row, **arrays)
            if arrays:
                self.losses.append((float(arrays["loss"]), replace(row, arrays={})))

    def _draw(self, uid: str | None = None) -> "Tensor":
        """Draw random initial weights for a shape, or without a uid for the anchor."""
        import torch

        from sdfkit.models.mlp import draw_weights

        seed = np.random.SeedSequence(self.seed) if uid is None else seed_shape(self.seed, uid)
        return draw_weights(self.config, 1, torch.Generator().manual_seed(int(seed.generate_state(1)[0])))

    def _fit(self, rows: list[ArrayRow], start: "Tensor") -> "tuple[Tensor, Tensor]":
        """Fit the rows from the weights `start`; return the fitted weights and the losses on held-out samples."""
        import torch

        from sdfkit.evaluation.field_errors import mlp_errors
        from sdfkit.training.mlp import fit_mlps

        point, distance, near = (
            torch.from_numpy(np.stack([row.arrays[name] for row in rows])) for name in ARRAYS
        )
        known = point.shape[1] - count_held_out(point.shape[1])
        start = start.to(self.device).expand(len(rows), -1)
        fits = fit_mlps(
            self.config, start, point[:, :known], distance[:, :known], near[:, :known], self.settings
        )
        losses = mlp_errors(
            self.config, fits.weights, point[:, known:], distance[:, known:], self.settings.clamp, CHUNK
        )
        return fits.weights.cpu(), losses.cpu()
