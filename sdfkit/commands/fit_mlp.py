from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from sdfkit.options import STANDARD, Device, FailFast, Input, Manifest, Output, Overwrite, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from sdfkit.io.stores.reader import ArrayRow, StoreReader
    from sdfkit.io.stores.writer import StoreWriter
    from sdfkit.models.mlp import MLPConfig
    from sdfkit.rows import Row
    from sdfkit.training.mlp import MLPFitSettings


SAMPLE = ("point", "distance", "near")
# Of each shape's samples the last tenth, but no more than this, are held back for its loss.
HELD = 10_000
# The fast recipe, by network: above a rate of 0.0003 a SIREN does not settle.
FAST = {
    "relu-pe": {"points": 128, "near": 0.75, "lr": 4e-3},
    "siren": {"points": 128, "near": 0.75, "lr": 3e-4},
}
PAPER_EPOCHS = 200
# Points that pass through a network at a time when its loss is told.
CHUNK = 2_000
# Losses above this are told by name, as the paper counts them.
OUTLIER = 0.01
RAN_AWAY = "its loss is not a finite number; lower --lr"


def fit_mlp(
    samples: Input = STANDARD,
    *,
    network: Annotated[
        Literal["relu-pe", "siren"], typer.Option(help="The network of each shape.")
    ] = "relu-pe",
    preset: Annotated[
        Literal["fast", "paper"],
        typer.Option(help="fast: 2,000 steps of 128 points; paper: 200 epochs of 8,192 points, rate 0.0001."),
    ] = "fast",
    anchor: Annotated[
        str,
        typer.Option(
            metavar="first|none|UID|STORE",
            help="Where all fits begin: at the network of one shape, or at that of an earlier store; "
            "none: each at its own draw.",
        ),
    ] = "first",
    epochs: Annotated[
        float | None, typer.Option(min=0, help="Passes over the samples, in place of --steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each shape; the preset's.")] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Samples of each shape a step; the preset's.")
    ] = None,
    near_focus: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of them near the surface; the preset's.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate, falling to 0 as a cosine; the preset's.")
    ] = None,
    clamp: Annotated[float, typer.Option(min=0, help="Distances count up to this.")] = 0.1,
    stop: Annotated[
        float | None, typer.Option(min=0, metavar="LOSS", help="End a shape early once its error is below.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, show_default="8, on a GPU 256", help="Shapes fitted side by side.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    fail_fast: FailFast = False,
    overwrite: Overwrite = False,
) -> None:
    """Fit one small network to each shape.

    Each network learns the signed distances of its shape; its parameters, as one vector, are the shape's weights. By
    default all begin at one anchor, the network of the first shape, and stay near each other; --anchor none fits each
    from its own random draw. The store keeps its anchor, so that --anchor STORE fits later shapes from the very same.

    The loss that is told is the mean difference of distances, which count up to --clamp, on the last tenth of each
    shape's samples (10,000 at most), which no step sees. It says little about shapes: look at the meshes.
    The same command again goes on after the last shape that was written.

    \b
    Examples:
      sdfkit fit-mlp samples.zarr -o weights.zarr
      sdfkit mesh weights.zarr -o meshes/ && sdfkit compare meshes/ closed/
      sdfkit fit-mlp more.zarr --anchor weights.zarr -o more_weights.zarr
      sdfkit fit-mlp samples.zarr --anchor none --network siren -o independent.zarr
    """
    from sdfkit.errors import UsageError
    from sdfkit.io.stores.reader import open_store
    from sdfkit.io.stores.writer import create_store
    from sdfkit.models.mlp import PRESETS, count_parameters
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import conclude, progress

    if steps is not None and epochs is not None:
        raise UsageError("--steps and --epochs both say how long to fit; give one of them")
    config, place = PRESETS[network], choose_device(device)
    together = batch or (8 if place == "cpu" else 256)
    is_store = "://" in anchor or anchor.endswith((".zarr", ".zip"))
    origin = _read_anchor(anchor, config) if is_store else None
    if samples == STANDARD and not is_store and anchor not in ("first", "none"):
        raise UsageError(
            f"--anchor {anchor}: on a pipe only the first shape can be the anchor; name the store"
        )
    with open_store(samples, "samples", manifest=manifest) as store:
        count, sample = len(store), store.array("point").shape[1]
        recipe = _recipe(
            network, preset, sample - _held(sample), epochs,
            {"steps": steps, "points": points, "near": near_focus, "lr": lr, "clamp": clamp, "stop": stop},
        )  # fmt: skip
        # What stands on disk is known beforehand, and may be continued.
        rows = None if samples == STANDARD else store.all_rows()
        earlier = [step for step in (origin.history if origin else []) if step not in store.history]
        settings = {"network": network, "preset": preset, "anchor": anchor, "seed": seed, **asdict(recipe)}
        with create_store(
            output, "weights", rows=rows, count=count, history=[*store.history, *earlier], settings=settings, seed=seed,
            attributes={"network": asdict(config)}, overwrite=overwrite, resumable=True,
        ) as fitted, progress(count, "shape") as bar:  # fmt: skip
            fitted.create_array(
                "weights", shape=(count, count_parameters(config)), dtype="f4", axes=("shape", "parameter")
            )
            fitted.create_array("loss", shape=(count,), dtype="f4", axes=("shape",))
            fits = _Fits(fitted, config, recipe, place, seed, fail_fast or count == 1)
            if anchor != "none":
                fits.take_anchor(origin)
                if anchor != "first" and fits.anchor is None:
                    fits.fit_anchor(_find(store, anchor))
            waiting: list[ArrayRow] = []
            for row in store.rows(*SAMPLE):
                if fits.is_kept(row):
                    bar.update()
                    continue
                waiting.append(fits.check(row))
                good = [row for row in waiting if not row.error]
                if good and anchor == "first" and fits.anchor is None:
                    fits.fit_anchor(good[0])
                if len(good) == together:
                    fits.fit(waiting)
                    bar.update(len(waiting))
                    waiting = []
            fits.fit(waiting)
            bar.update(len(waiting))
    fits.tell()
    conclude(output, "weights", count, fitted.failed)


class _Anchor(NamedTuple):
    """Weights that fits begin at, those of which shape, and how they were made."""

    uid: str
    weights: "Tensor"
    history: list[dict[str, Any]]


def _read_anchor(path: str, config: "MLPConfig") -> _Anchor:
    """The anchor of an earlier store."""
    import torch

    from sdfkit.errors import InputError
    from sdfkit.io.stores.reader import open_store

    with open_store(path, "weights", manifest=None) as store:
        if "anchor" not in store:
            raise InputError(f"{path}: has no anchor; name a store that was not fitted with --anchor none")
        if store.attributes["network"] != asdict(config):
            kind = store.attributes["network"].get("kind")
            raise InputError(f"{path}: an anchor of another network ({kind}); name its --network")
        weights = torch.from_numpy(store.read_group("anchor")["weights"])
        return _Anchor(store.attributes_of("anchor")["uid"], weights, store.history)


def _recipe(
    network: str, preset: str, samples: int, epochs: float | None, asked: Mapping[str, Any]
) -> "MLPFitSettings":
    """The preset's settings, but for those that were asked for."""
    import math

    from sdfkit.training.mlp import MLPFitSettings

    recipe: dict[str, Any] = {"steps": 2_000, **FAST[network]}
    if preset == "paper":
        recipe = {"steps": None, "points": 8_192, "near": 0.5, "lr": 1e-4}
    recipe |= {name: value for name, value in asked.items() if value is not None}
    if epochs is not None or recipe["steps"] is None:
        recipe["steps"] = max(1, math.ceil((epochs or PAPER_EPOCHS) * samples / recipe["points"]))
    return MLPFitSettings(**{"stop": None, **recipe})


def _held(samples: int) -> int:
    """How many samples of a shape are held back."""
    return min(HELD, max(1, samples // 10))


def _find(store: "StoreReader", uid: str) -> "ArrayRow":
    """The row of a shape."""
    import numpy as np

    from sdfkit.errors import InputError
    from sdfkit.io.stores.reader import ArrayRow

    for row in store.all_rows():
        if row.uid == uid:
            parts = {} if row.error else {name: np.asarray(store.array(name)[row.index]) for name in SAMPLE}
            return ArrayRow(**vars(row), arrays=parts)
    raise InputError(f"--anchor {uid}: no shape of that name in {store.name}, and no store (*.zarr, *.zip)")


class _Fits:
    """Fits rows, and writes them."""

    def __init__(
        self,
        fitted: "StoreWriter",
        config: "MLPConfig",
        recipe: "MLPFitSettings",
        place: str,
        seed: int,
        stops: bool,
    ) -> None:
        self.fitted, self.config, self.recipe, self.place = fitted, config, recipe, place
        self.seed, self.stops = seed, stops
        self.anchor: Tensor | None = None
        self.losses: list[tuple[float, Row]] = []

    def take_anchor(self, origin: _Anchor | None) -> None:
        """Begin at the anchor of the run that is continued, or else at that of another store."""
        import numpy as np
        import torch

        group = self.fitted.group
        if "anchor" in group and self.fitted.done:
            self.anchor = torch.from_numpy(np.asarray(group["anchor/weights"]))
        elif "anchor" in group:
            # Interrupted before its first row: the anchor may be half written.
            del group["anchor"]
        if self.anchor is None and origin is not None:
            self._keep_anchor(origin.uid, origin.weights)

    def fit_anchor(self, row: "ArrayRow") -> None:
        """Fit the network of a shape, which all others will begin at."""
        import logging

        from sdfkit.errors import GeometryError

        row = self.check(row)
        if row.error:
            raise GeometryError(f"{row.uid}: cannot be the anchor: {row.error}")
        weights, losses = self._fit([row], self._draw())
        if not losses.isfinite().all():
            raise GeometryError(f"{row.uid}: cannot be the anchor: {RAN_AWAY}")
        logging.getLogger(__name__).info("anchor %s: loss %.5f", row.uid, losses.item())
        self._keep_anchor(row.uid, weights[0])

    def _keep_anchor(self, uid: str, weights: "Tensor") -> None:
        self.fitted.create_group("anchor", attributes={"uid": uid}, arrays={"weights": weights.numpy()})
        self.anchor = weights

    def is_kept(self, row: "ArrayRow") -> bool:
        """Whether an earlier run has fitted this shape."""
        if not self.fitted.has(row):
            return False
        if row.index not in self.fitted.failed:
            self.losses.append((float(self.fitted.group["loss"][row.index]), row))  # type: ignore[index, arg-type]
        return True

    def check(self, row: "ArrayRow") -> "ArrayRow":
        """The row, or without its arrays if it cannot be fitted."""
        import numpy as np

        if row.error:
            return row
        point, distance, near = (row.arrays[name] for name in SAMPLE)
        count = len(near) - _held(len(near))
        error = ""
        if not (np.isfinite(point).all() and np.isfinite(distance).all()):
            error = "a sample is not a finite number; sample it again"
        elif self.recipe.near > 0 and not near[:count].any():
            error = "no samples near its surface; sample it again, or fit with --near-focus 0"
        elif self.recipe.near < 1 and near[:count].all():
            error = "all samples are near its surface; sample it again, or fit with --near-focus 1"
        return self._mark(row, error) if error else row

    def fit(self, rows: "list[ArrayRow]") -> None:
        """Fit those rows that are good, and write all of them."""
        import numpy as np
        import torch

        good = [row for row in rows if not row.error]
        found: dict[int, dict[str, Any]] = {}
        if good:
            start = self.anchor
            if start is None:
                start = torch.cat([self._draw(row.index) for row in good])
            for row, weights, loss in zip(good, *self._fit(good, start), strict=True):
                found[row.index] = {"weights": weights.numpy(), "loss": np.float32(loss)}
        for row in rows:
            parts = found.get(row.index, {})
            if parts and not np.isfinite(parts["loss"]):
                row, parts = self._mark(row, RAN_AWAY), {}
            self.fitted.write(row, **parts)
            if parts:
                self.losses.append((float(parts["loss"]), replace(row, arrays={})))

    def _mark(self, row: "ArrayRow", error: str) -> "ArrayRow":
        import logging

        from sdfkit.errors import GeometryError

        if self.stops:
            raise GeometryError(f"{row.uid}: {error}")
        logging.getLogger(__name__).warning("%s: %s", row.uid, error)
        return replace(row, error=error, arrays={})

    def _draw(self, *key: int) -> "Tensor":
        """Weights to begin with, of a row or of the anchor."""
        import numpy as np
        import torch

        from sdfkit.models.mlp import draw_weights

        state = np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1)
        return draw_weights(self.config, 1, torch.Generator().manual_seed(int(state[0])))

    def _fit(self, rows: "list[ArrayRow]", start: "Tensor") -> "tuple[Tensor, Tensor]":
        """Weights of rows and their losses."""
        import numpy as np
        import torch

        from sdfkit.training.mlp import field_errors, fit_mlps

        point, distance, near = (
            torch.from_numpy(np.stack([row.arrays[name] for row in rows])) for name in SAMPLE
        )
        known = point.shape[1] - _held(point.shape[1])
        start = start.to(self.place).expand(len(rows), -1)
        fits = fit_mlps(
            self.config, start, point[:, :known], distance[:, :known], near[:, :known], self.recipe
        )
        losses = field_errors(
            self.config, fits.weights, point[:, known:], distance[:, known:], self.recipe.clamp, CHUNK
        )
        return fits.weights.cpu(), losses.cpu()

    def tell(self) -> None:
        """Say how well the shapes are fitted, and which are not."""
        import logging

        import numpy as np

        if not self.losses:
            return
        log = logging.getLogger(__name__)
        values = np.array([loss for loss, _ in self.losses])
        middle, high = np.percentile(values, [50, 95])
        log.info(
            "loss (distances up to %g, samples held back): median %.5f, p95 %.5f, max %.5f; %d of %d above %g",
            self.recipe.clamp, middle, high, values.max(), (values > OUTLIER).sum(), len(values), OUTLIER,
        )  # fmt: skip
        worst = sorted(self.losses, key=lambda told: -told[0])[:5]
        names = (" ".join(f"{row.uid} {row.category} {loss:.5f}".split()) for loss, row in worst)
        log.info("worst: %s", "; ".join(names))
