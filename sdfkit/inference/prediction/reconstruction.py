"""Predicts grids of signed distances from posed images, with a network that train-recon trained."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from sdfkit.errors import GeometryError, InputError
from sdfkit.geometry.isosurface.grid import interpolate_grid

if TYPE_CHECKING:
    import torch

    from sdfkit.inference.prediction.features import Features
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
    from sdfkit.models.recon.neighbours import Library, Neighbours
    from sdfkit.models.recon.network import Recon
    from sdfkit.models.recon.posed_views import PosedViews
    from sdfkit.rows import Row

# Cells of the predicted grid along a side.
CELLS = 64
# The coarsest grid is halved once for each of these bands: nodes at which the coarser grid has a larger absolute value
# keep the interpolated value. On a surface, true distances interpolated between nodes with the spacing h are at most
# h·√3/2, and h·√3/4 larger at the nearest nodes of the finer grid: together 0.16 for h = 1/8, and 0.08 for h = 1/16.
BANDS = (0.17, 0.09)
# The network's distance at the surface. It predicts about the median over all shapes that the images allow. A thin part
# whose place is uncertain is in less than half of them, so at 0 it is torn or missing (see examples/LOG.md).
LEVEL = 0.0025
# Number of points at which the network is evaluated at once.
BATCH = 1 << 14


@dataclass(frozen=True)
class Reconstructor:
    """A reconstruction network that `train-recon` trained; see `inference.prediction.predictors.Predictor`."""

    name: str
    network: "Recon"
    library: "Library"
    attributes: "dict[str, Any]"
    rows: "list[Row]"

    what: ClassVar = "is a reconstruction network"
    kind: ClassVar = "grids"
    array: ClassVar = ("grid", (CELLS + 1,) * 3, ("x", "y", "z"))
    condition: ClassVar = "posed"
    feature: ClassVar = 0
    patches: ClassVar = 1
    encoder: ClassVar[dict[str, Any]] = {}
    identity: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[dict[str, Any]] = {"cells": CELLS, "average": 1}

    def draw(
        self,
        arrays: "Mapping[str, np.ndarray]",
        generator: "torch.Generator",
        *,
        average: int = 1,
        **options: Any,
    ) -> "list[dict[str, np.ndarray]]":
        """Predict the grid of one shape, given the arrays of `ViewArrays` by name. Nothing is random.

        Args:
            arrays: The views.
            generator: Not used.
            average: Number of predictions to average: every second one from mirrored views, and each pair from views
                that are turned about the vertical axis. In training too, shapes are mirrored and turned.
            options: Not used.
        """
        import torch

        from sdfkit.io.stores.contents.posed_views import ViewArrays
        from sdfkit.models.recon.neighbours import Neighbours
        from sdfkit.models.recon.posed_views import PosedViews, turn_matrices, turn_views

        device = self.network.get_buffer("centres").device
        pictures, outlines, cameras, yfov = (
            torch.from_numpy(arrays[name])[None].to(device).float() for name in ViewArrays._fields
        )
        views = PosedViews(pictures / 255, outlines, cameras, yfov)
        numbers = torch.arange(average)
        mirrored, angles = numbers % 2 == 1, (numbers // 2) * (2 * math.pi / ((average + 1) // 2))
        turns = turn_matrices(mirrored, angles).to(device)
        with torch.inference_mode():
            # The features of the images are computed as in training; distances, whose differences matter, in fp32.
            with torch.autocast(device.type, torch.bfloat16, enabled=self._is_bf16):
                found = self.find_neighbours(views)
                repeated = PosedViews(*(part.expand(average, *part.shape[1:]) for part in views))
                turned = turn_views(repeated, mirrored.to(device), turns)
                neighbours = Neighbours(
                    found.grids.expand(average, *found.grids.shape[1:]),
                    found.overlaps.expand(average, -1),
                    turns,
                )
                scene = self.network.encode(turned, neighbours)

            def distance(points: np.ndarray) -> np.ndarray:
                parts = torch.split(torch.from_numpy(points).to(device), max(1, BATCH // average))
                means = [self.network(scene, part @ turns.mT).mean(dim=0) for part in parts]
                return torch.cat(means).cpu().numpy()

            return [{"grid": fill_grid(distance) - np.float32(LEVEL)}]

    @cached_property
    def _is_bf16(self) -> bool:
        from sdfkit.runtime.device import choose_precision

        return choose_precision("auto", str(self.network.get_buffer("centres").device)) == "bf16"

    def find_neighbours(self, views: "PosedViews") -> "Neighbours":
        """Find the training shapes whose silhouettes are most similar to those of one shape."""
        import torch

        from sdfkit.models.recon.neighbours import Neighbours, retrieve, shrink_silhouettes

        known = self.library.silhouettes(views.cameras[0], views.yfov[0])
        masks = shrink_silhouettes(views.pictures[0, :, 3])
        everyone = torch.arange(len(known), device=known.device)
        indices, overlaps = retrieve(masks, known, everyone, self.network.config.neighbours)
        turns = torch.eye(3, device=known.device)[None]
        return Neighbours(self.library.grids[indices][None], overlaps[None], turns)


def fill_grid(
    distance: Callable[[Float[np.ndarray, "point 3"]], Float[np.ndarray, " point"]],
) -> Float[np.ndarray, "x y z"]:
    """Evaluate a distance function at the nodes of a grid over the query cube, all of them only near the surface.

    Elsewhere, the values are interpolated from coarser grids.

    Returns:
        Signed distances at (CELLS + 1)³ nodes, from -1 to 1 along each axis.
    """
    count = CELLS >> len(BANDS)
    values = np.asarray(distance(_nodes(count).reshape(-1, 3))).reshape((count + 1,) * 3)
    for band in BANDS:
        values, count = interpolate_grid(values), 2 * count
        near = np.abs(values) < band
        near[::2, ::2, ::2] = False  # the nodes of the coarser grid are known
        values[near] = distance(_nodes(count)[near])
    return values


def _nodes(cells: int) -> Float[np.ndarray, "x y z 3"]:
    side = np.linspace(-1, 1, cells + 1, dtype=np.float32)
    return np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1)


def read_reconstructor(store: "StoreReader", device: str) -> Reconstructor:
    """Load the network of an open store that `train-recon` wrote.

    Raises:
        InputError: The network cannot be loaded, or the grid of a training shape is not finite.
    """
    import torch

    from sdfkit.io.models.reader import rebuild
    from sdfkit.models.recon.neighbours import Library
    from sdfkit.models.recon.network import Recon, ReconConfig

    network = rebuild(store, "recon", lambda config: Recon(ReconConfig(**config)), device)
    rows, grids = read_training_grids(store)
    library = Library(torch.from_numpy(grids).to(device))
    return Reconstructor(store.name, network, library, store.attributes, rows)


def read_training_grids(store: "StoreReader") -> "tuple[list[Row], Float[np.ndarray, 'shape x y z']]":
    """Read the training shapes of a reconstruction network and their coarse grids of distances.

    Raises:
        InputError: The grid of a training shape is not finite.
    """
    rows, arrays = store.read_rows("grid")
    broken = [row.uid for row, grid in zip(rows, arrays["grid"], strict=True) if not np.isfinite(grid).all()]
    if broken:
        raise InputError(
            f"{store.name}: the grid of {broken[0]} holds numbers that are not finite; train the network again"
        )
    return rows, arrays["grid"]


@contextmanager
def open_posed(inputs: Sequence[str], model: Reconstructor, *, manifest: Path | None) -> "Iterator[Features]":
    """Open views with masks and cameras for a reconstruction network.

    Args:
        inputs: One views store.
        model: The network.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The input is image files, which have no cameras, or the store has no masks.
    """
    from sdfkit.inference.prediction.features import IN_PROCESS, Features
    from sdfkit.io.image_files import holds_images
    from sdfkit.io.stores.contents.posed_views import ARRAYS, distinct_views, prepare_views, require_masks
    from sdfkit.io.streams import name_of
    from sdfkit.io.tables.joined import open_stores
    from sdfkit.runtime.pool import compute_rows

    def take(row: "ArrayRow") -> dict[str, Any]:
        if row.error:
            raise GeometryError(row.error)
        return prepare_views(distinct_views(row.arrays), model.network.config.size)._asdict()

    if holds_images(inputs):
        raise InputError(
            f"{name_of(inputs[0])}: holds no cameras, which {model.name} needs; give views of sdfkit render, a "
            "folder with transforms.json, or estimate the cameras of photos: sdfkit pose photo.jpg --model "
            f"{model.name}"
        )
    with open_stores(inputs, "views", manifest=manifest) as store:
        require_masks(store)
        rows, count = store.rows(*ARRAYS), len(store)
        yield Features(
            count, store.history, lambda writer: compute_rows(writer, rows, count, take, IN_PROCESS)
        )
