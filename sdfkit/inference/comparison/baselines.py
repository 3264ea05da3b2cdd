"""Answers of baselines that need no training, or next to none: what a model must beat to be of use.

Mean shape: a level set of the mean signed distance of the training shapes. Oracle: the training shape nearest to the
true shape. Retrieval: the training shape whose images have the most similar features, or whose silhouettes agree best
with those of the images. Visual hull: the largest solid with the silhouettes of the images. Kernel ridge: the codes of
the training shapes, regressed on the features of their images.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from sdfkit.geometry.baselines import (
    CLOUD,
    MeanShape,
    NearestShapes,
    digest_geometry,
    measure_grid,
)
from sdfkit.geometry.isosurface.extraction import extract_surface
from sdfkit.geometry.sampling import sample_surface
from sdfkit.images.rendering.rasteriser import render_masks
from sdfkit.images.silhouettes import binarise_masks, shrink_masks, silhouette_overlap
from sdfkit.images.visual_hull import VisualHull
from sdfkit.inference.comparison.image_baselines import ImageBaselines
from sdfkit.io.meshes.reader import MeshRow
from sdfkit.rows import Row, seed_shape
from sdfkit.runtime.pool import PoolOptions, compute_rows
from sdfkit.wording import counted

if TYPE_CHECKING:
    import trimesh


R = TypeVar("R", bound=Row)
log = logging.getLogger(__name__)
# Cells along a side of the grid on which a visual hull is meshed, and the width of the silhouettes that are compared.
HULL_CELLS = 128
SILHOUETTE = 64


@dataclass(frozen=True)
class Baselines:
    """Data from which a worker process finds the answers of the baselines for a true shape.

    Attributes:
        folder: A temporary folder: the point clouds of the training shapes, the mean shape, the masks and cameras of
            the images, and the meshes of kernel ridge.
        rows: The training shapes; empty without them.
        digests: Digests of the vertices and faces of the training shapes, to recognise true shapes among them.
        choices: Index of the training shape that retrieval by features chooses, by the uid of the true shape; None
            without features.
        level: Value of the mean signed distance at which the surface of the mean shape is extracted; None without
            training shapes.
        pictured: Index of a shape in the arrays of masks and cameras, by uid; None without images.
        has_ridge: Whether the folder has meshes of kernel ridge.
    """

    folder: str
    rows: Sequence[MeshRow]
    digests: frozenset[str]
    choices: Mapping[str, int] | None
    level: float | None
    pictured: Mapping[str, int] | None
    has_ridge: bool

    def is_trained(self, uid: str, mesh: "trimesh.Trimesh") -> bool:
        """Return whether a true shape is also a training shape."""
        return any(row.uid == uid for row in self.rows) or digest_geometry(mesh) in self.digests

    def choose(self, uid: str, cloud: Float[np.ndarray, "point 3"]) -> dict[str, int]:
        """Return the training shapes that baselines answer with, as indices of `rows`, by the name of the baseline.

        Args:
            uid: The true shape.
            cloud: Points on its surface, see `NearestShapes.find`.
        """
        if not self.rows:
            return {}
        chosen = {}
        if self.choices is not None:
            chosen["retrieval"] = self.choices[uid]
        if self.pictured is not None:
            masks, cameras, yfov = self._pictures(uid)
            known = _known_silhouettes(
                tuple(row.path for row in self.rows), cameras.tobytes(), cameras.shape, float(yfov[0])
            )
            overlap = silhouette_overlap(shrink_masks(masks, SILHOUETTE), known)
            chosen["retrieval by silhouettes"] = int(overlap.argmax())
        return chosen | {"oracle": _nearest_shapes(self.folder).find(cloud)}

    def load(self, uid: str) -> "dict[str, trimesh.Trimesh | None]":
        """Return the meshes of the baselines that do not answer with a training shape; None for an empty answer."""
        meshes: dict[str, trimesh.Trimesh | None] = {}
        if self.rows:
            meshes["mean shape"] = _load_mesh(Path(self.folder, "mean.ply"))
        if self.pictured is not None:
            hull = VisualHull(*self._pictures(uid))
            surface = extract_surface(hull.distance, resolution=HULL_CELLS, margin=1.5, batch=1 << 15)[0]
            meshes["visual hull"] = surface
        if self.has_ridge:
            path = Path(self.folder, f"{_file_name(uid)}.ply")
            meshes["kernel ridge"] = _load_mesh(path) if path.exists() else None
        return meshes

    def _pictures(self, uid: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert self.pictured is not None
        row = self.pictured[uid]
        masks, cameras, yfov = (
            np.load(Path(self.folder, f"{name}.npy"), mmap_mode="r")[row]
            for name in ("masks", "cameras", "yfov")
        )
        return np.array(masks), np.array(cameras), np.array(yfov)


@contextmanager
def prepare_baselines(
    rows: Sequence[MeshRow],
    *,
    images: ImageBaselines,
    pool: PoolOptions,
    seed: int,
) -> Iterator[Baselines]:
    """Measure the training shapes once for all true shapes, and store what workers need in a temporary folder.

    Args:
        rows: The training shapes; empty for baselines that need none.
        images: The baselines that answer from images.
        pool: Number of processes and time limits.
        seed: Seed of the random numbers.

    Raises:
        GeometryError: A training shape has no surface, or cannot be read.
    """
    retrieval, pictures, ridge = images
    with tempfile.TemporaryDirectory(prefix="sdfkit-") as folder:
        digests, level = frozenset[str](), None
        if rows:
            log.info("preparing the baselines from %s", counted(len(rows), "training shape"))
            collected = _BaselineCollector(len(rows))
            compute_rows(collected, rows, len(rows), partial(_measure_training_shape, seed=seed), pool)
            mean, level = collected.mean.extract()
            np.save(Path(folder, "clouds.npy"), collected.clouds)
            mean.export(Path(folder, "mean.ply"))
            digests = frozenset(collected.digests)
        if pictures is not None:
            np.save(Path(folder, "masks.npy"), pictures.masks)
            np.save(Path(folder, "cameras.npy"), pictures.camera_to_world)
            np.save(Path(folder, "yfov.npy"), pictures.yfov)
        for uid, mesh in (ridge or {}).items():
            if mesh is not None:
                mesh.export(Path(folder, f"{_file_name(uid)}.ply"))
        yield Baselines(
            folder,
            # Without `info`, which workers do not need to load a mesh.
            [replace(row, info={}) for row in rows],
            digests,
            None if retrieval is None else retrieval.choices,
            level,
            None if pictures is None else pictures.rows,
            ridge is not None,
        )


def _file_name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:24]


def _load_mesh(path: Path) -> "trimesh.Trimesh":
    return MeshRow(0, "", path=str(path)).load()


class _BaselineCollector:
    """A writer that collects the measurements of training shapes that the baselines need."""

    def __init__(self, count: int) -> None:
        self.failed: set[int] = set()
        self.digests: list[str] = []
        self.clouds = np.empty((count, CLOUD, 3), np.float32)
        self.mean = MeanShape()

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **values: Any) -> None:
        self.clouds[row.index] = values["cloud"]
        self.digests.append(values["digest"])
        self.mean.add(values["distances"])


def _measure_training_shape(row: MeshRow, *, seed: int) -> dict[str, Any]:
    mesh = row.load()
    rng = np.random.default_rng(seed_shape(seed, row.uid, 3))
    return {
        "cloud": sample_surface(mesh, CLOUD, rng)[0].astype(np.float32),
        "distances": measure_grid(mesh),
        "digest": digest_geometry(mesh),
    }


@lru_cache(maxsize=1)
def _nearest_shapes(folder: str) -> NearestShapes:
    return NearestShapes(np.load(Path(folder, "clouds.npy"), mmap_mode="r"))


@lru_cache(maxsize=1)
def _known_silhouettes(
    paths: tuple[str, ...], cameras: bytes, shape: tuple[int, ...], yfov: float
) -> Bool[np.ndarray, "shape view row column"]:
    """Return the silhouettes of all training shapes. True shapes that are seen by the same cameras share them."""
    poses = np.frombuffer(cameras, np.float32).reshape(shape)
    masks = [render_masks(_load_mesh(Path(path)), poses, yfov=yfov, size=SILHOUETTE) for path in paths]
    return np.stack([binarise_masks(mask) for mask in masks])
