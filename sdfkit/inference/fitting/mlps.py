"""Fits a small network to each shape of a samples store and writes its weights. Interrupted runs can be continued."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
from sdfkit.options import STANDARD
from sdfkit.rows import seed_shape

if TYPE_CHECKING:
    from torch import Tensor

    from sdfkit.io.stores.store_writer import StoreWriter
    from sdfkit.models.layers import MLPConfig
    from sdfkit.rows import Row
    from sdfkit.training.mlp.recipes import MLPFitSettings
    from sdfkit.training.run import DeviceContext

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


def find_anchor(anchor: str, samples: Sequence[str], config: "MLPConfig") -> Anchor | None:
    """Read the anchor that --anchor names if it is in a store; see `read_anchor`.

    Args:
        anchor: A weights store, the uid of a shape, "first" or "none".
        samples: Paths of the samples.
        config: Architecture of the networks.

    Raises:
        UsageError: The anchor is a shape of a samples store on standard input, which is read only once.
    """
    if "://" in anchor or anchor.endswith((".zarr", ".zip")):
        return read_anchor(anchor, config)
    if STANDARD in samples and anchor not in ("first", "none"):
        raise UsageError(
            f"--anchor {anchor}: if samples come from standard input, only the first shape can be the anchor; give the "
            "path of the samples store"
        )
    return None


def find_shape(store: StoreReader, uid: str) -> ArrayRow:
    """Read the samples of the shape that --anchor names.

    Raises:
        InputError: The store has no such shape.
    """
    for row in store.all_rows():
        if row.uid == uid:
            arrays = {} if row.error else {name: store.read_part(name, row.index) for name in ARRAYS}
            return ArrayRow(**vars(row), arrays=arrays)
    raise InputError(f"--anchor {uid}: is neither a shape of {store.name} nor a store (*.zarr, *.zip)")


def count_held_out(samples: int) -> int:
    """Return how many of the samples of a shape are held out from the fit."""
    return min(MAX_HELD_OUT, max(1, samples // 10))


def create_arrays(store: "StoreWriter", config: "MLPConfig", count: int) -> None:
    """Create the arrays of a weights store for the networks of `count` shapes."""
    from sdfkit.models.layers import count_parameters

    size = count_parameters(config)
    store.create_array("weights", shape=(count, size), dtype="f4", axes=("shape", "parameter"))
    store.create_array("loss", shape=(count,), dtype="f4", axes=("shape",))


class Batch:
    """Shapes that are fitted at once, and those between them that cannot be fitted, with the reasons by row."""

    def __init__(self) -> None:
        self.rows: list[ArrayRow] = []
        self.faults: dict[int, str] = {}

    def add(self, row: ArrayRow, fault: str) -> None:
        """Add a shape, with the reason why it cannot be fitted, or an empty string."""
        self.rows.append(row)
        if fault:
            self.faults[row.index] = fault

    @property
    def usable(self) -> list[ArrayRow]:
        """The shapes that can be fitted."""
        return [row for row in self.rows if row.index not in self.faults]


class MLPFitter:
    """Fits one small network to each shape, in batches of shapes, and writes the weights to an open weights store.

    All processes read all samples and form the same batches; process k of n fits batches k, k + n, … Process 0 fits the
    anchor, decides which shapes are to be fitted, and writes.

    Args:
        store: The weights store, with the arrays `weights` and `loss`; None in processes other than process 0.
        config: Architecture of the networks.
        settings: Settings of the fit.
        context: Device and processes.
        seed: Seed of the initial weights.
        stop: Raise an error for a shape that fails, instead of marking the shape as failed.

    Attributes:
        anchor: Weights from which all fits start; None if each fit starts from its own random weights.
        losses: The loss of each shape on its held-out samples, including the shapes of an interrupted run.
    """

    def __init__(
        self,
        store: "StoreWriter | None",
        config: "MLPConfig",
        settings: "MLPFitSettings",
        context: "DeviceContext",
        seed: int,
        *,
        stop: bool,
    ) -> None:
        self._store, self.config, self.settings, self.context = store, config, settings, context
        self.seed, self.stop = seed, stop
        self.anchor: Tensor | None = None
        self._is_anchored = False
        self.losses: list[tuple[float, Row]] = []

    @property
    def store(self) -> "StoreWriter":
        """The weights store, in process 0."""
        assert self._store is not None
        return self._store

    def load_anchor(self, given: Anchor | None) -> "Tensor | None":
        """Return the anchor of the interrupted run if there is one, otherwise the given anchor; in process 0."""
        import torch

        group = self.store.group
        if "anchor" in group:
            return torch.from_numpy(np.asarray(group["anchor/weights"]))
        return None if given is None else self._save_anchor(given.uid, given.weights, "")

    def prepare_anchor(self, anchor: str, given: Anchor | None, samples: StoreReader) -> None:
        """Load or fit the anchor that --anchor names. That of the first shape is fitted by `fit_rows`.

        Args:
            anchor: See `find_anchor`.
            given: The anchor in a store; None if `anchor` names no store.
            samples: The samples of all shapes.

        Raises:
            InputError: `anchor` names neither a shape nor a store.
            GeometryError: The shape cannot be fitted.
        """
        if anchor == "none":
            return
        self.anchor = self.context.from_first(lambda: self.load_anchor(given))
        if given is None and anchor != "first":
            self.require_anchor(find_shape(samples, anchor))

    def require_anchor(self, row: ArrayRow) -> None:
        """Fit the anchor to a shape, unless the interrupted run has fitted it to the same samples.

        Raises:
            GeometryError: The shape cannot be fitted.
        """
        if not self._is_anchored:
            self.anchor = self.context.from_first(lambda: self._anchor_at(row))
            self._is_anchored = True

    def _anchor_at(self, row: ArrayRow) -> "Tensor":
        if self.anchor is not None and self.store.group["anchor"].attrs["input"] != row.identity:
            log.warning(
                "%s: the samples of the anchor have changed since the earlier run, so all fits are made again",
                row.uid,
            )
            self.store.drop_all()
            del self.store.group["anchor"]
            self.anchor = None
        return self.fit_anchor(row) if self.anchor is None else self.anchor

    def fit_anchor(self, row: ArrayRow) -> "Tensor":
        """Fit a network to a shape, save the weights as the anchor, and return them; in process 0.

        Raises:
            GeometryError: The shape cannot be fitted.
        """
        error = self._find_fault(row)
        if error:
            raise GeometryError(f"{row.uid}: cannot be the anchor: {error}")
        weights, losses = self._fit([row], self._draw())
        if not losses.isfinite().all():
            raise GeometryError(f"{row.uid}: cannot be the anchor: {DIVERGED}")
        log.info("anchor %s: loss %.5f", row.uid, losses.item())
        return self._save_anchor(row.uid, weights[0], row.identity)

    def _save_anchor(self, uid: str, weights: "Tensor", identity: str) -> "Tensor":
        attributes = {"uid": uid, "input": identity}
        self.store.create_group("anchor", attributes=attributes, arrays={"weights": weights.numpy()})
        return weights

    def fit_rows(
        self, rows: Iterable[ArrayRow], batch: int, *, anchor_first: bool, advance: Callable[[int], Any]
    ) -> None:
        """Fit and write all rows that the store does not have yet.

        Shapes that are fitted at once change the last digits of each other's weights. A batch of which an interrupted
        run has written only some shapes is therefore fitted again as a whole.

        Args:
            rows: Rows with the arrays `ARRAYS`.
            batch: Number of shapes that are fitted at once.
            anchor_first: The weights of the first usable shape are the anchor; see `require_anchor`.
            advance: Called with the number of rows that are done, for a progress bar.

        Raises:
            GeometryError: A shape cannot be fitted although `stop` is set, or the shape for the anchor cannot.
        """
        batches = [Batch()]
        for row in rows:
            fault = self._find_fault(row)
            if not fault and anchor_first:
                self.require_anchor(row)
            batches[-1].add(row, fault)
            if len(batches[-1].usable) == batch:
                if len(batches) == self.context.processes:
                    self._fit_batches(batches, advance)
                    batches = []
                batches.append(Batch())
        self._fit_batches(batches, advance)

    def _fit_batches(self, batches: Sequence[Batch], advance: Callable[[int], Any]) -> None:
        """Fit one batch in each process, and write all batches."""
        missing = self.context.from_first(lambda: [self._find_missing(batch) for batch in batches])
        own = slice(self.context.process, self.context.process + 1)
        fits = [self._fit_batch(*pair) for pair in zip(batches[own], missing[own], strict=True)]
        # Processes may outnumber the last batches.
        for batch, wanted, (found,) in zip(
            batches, missing, filter(None, self.context.gather(fits)), strict=False
        ):
            self._write_batch(batch, wanted, found)
        advance(sum(len(batch.rows) for batch in batches))

    def _find_missing(self, batch: Batch) -> set[int]:
        """Return the indices of the rows that are to be written, and report their faults."""
        missing = [row for row in batch.rows if not self._is_done(row)]
        for row in missing:
            if row.index in batch.faults and not row.error:
                self._report(row, batch.faults[row.index])
        return {row.index for row in missing}

    def _is_done(self, row: ArrayRow) -> bool:
        """Return whether an interrupted run has written this row. If so, add the row's loss to `losses`."""
        if not self.store.has(row):
            return False
        if row.index not in self.store.failed:
            self.losses.append((float(self.store.group["loss"][row.index]), row))  # type: ignore[index, arg-type]
        return True

    def _find_fault(self, row: ArrayRow) -> str:
        """Return why the samples of a row cannot be used; empty if they can."""
        if row.error:
            return row.error
        point, distance, near = (row.arrays[name] for name in ARRAYS)
        count = len(near) - count_held_out(len(near))
        if not (np.isfinite(point).all() and np.isfinite(distance).all()):
            return "a sample has numbers that are not finite; sample the shape again"
        if self.settings.near > 0 and not near[:count].any():
            return "has no samples near its surface; sample it again, or fit with --near-focus 0"
        if self.settings.near < 1 and near[:count].all():
            return "all samples are near its surface; sample it again, or fit with --near-focus 1"
        return ""

    def _report(self, row: ArrayRow, fault: str) -> None:
        if self.stop:
            raise GeometryError(f"{row.uid}: {fault}")
        log.warning("%s: %s", row.uid, fault)

    def _fit_batch(self, batch: Batch, missing: set[int]) -> dict[int, dict[str, Any]]:
        """Fit a batch, unless all of it is written already, and return the arrays of each row by its index."""
        import torch

        usable = batch.usable
        if not any(row.index in missing for row in usable):
            return {}
        start = self.anchor
        if start is None:
            start = torch.cat([self._draw(row.uid) for row in usable])
        return {
            row.index: {"weights": weights.numpy(), "loss": np.float32(loss)}
            for row, weights, loss in zip(usable, *self._fit(usable, start), strict=True)
        }

    def _write_batch(self, batch: Batch, missing: set[int], found: dict[int, dict[str, Any]]) -> None:
        """Write the missing rows of a batch, those that failed included."""
        for row in [row for row in batch.rows if row.index in missing]:
            arrays, fault = found.get(row.index, {}), batch.faults.get(row.index, "")
            if arrays and not np.isfinite(arrays["loss"]):
                arrays, fault = {}, DIVERGED
                self._report(row, fault)
            self.store.write(replace(row, error=fault, arrays={}), **arrays)
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
        from sdfkit.training.mlp.fitting import fit_mlps

        point, distance, near = (
            torch.from_numpy(np.stack([row.arrays[name] for row in rows])) for name in ARRAYS
        )
        known = point.shape[1] - count_held_out(point.shape[1])
        start = start.to(self.context.device).expand(len(rows), -1)
        fits = fit_mlps(
            self.config, start, point[:, :known], distance[:, :known], near[:, :known], self.settings
        )
        losses = mlp_errors(
            self.config, fits.weights, point[:, known:], distance[:, known:], self.settings.clamp, CHUNK
        )
        return fits.weights.cpu(), losses.cpu()
