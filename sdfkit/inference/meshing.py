"""Meshes of the distance functions that codes and weights stand for."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.inference.defaults import MESH_RESOLUTION

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.io.models import Reader
    from sdfkit.io.stores.reader import ArrayRow, StoreReader
    from sdfkit.models.fields import DistanceFunction, Fields

# Points that a network evaluates at once.
BATCH = 1 << 15
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeshOptions:
    """How a distance function is meshed.

    Attributes:
        resolution: Cells along a side of the cube.
        margin: Safety factor on the measured interpolation error, by which cells without surface are skipped.
        largest: Keep only the largest piece.
        simplify: Number of faces, roughly, to reduce the mesh to at most; None leaves it.
        smooth_normals: Give the vertices the field's gradient as normals.
    """

    resolution: int = MESH_RESOLUTION
    margin: float = 1.0
    largest: bool = False
    simplify: int | None = None
    smooth_normals: bool = False


def require_decoder(store: "StoreReader", *, has_decoder: bool) -> None:
    """Check that codes come with a decoder and weights without one.

    Raises:
        UsageError: They do not.
    """
    if store.kind == "codes" and not has_decoder:
        raise UsageError(f"{store.name}: codes without their decoder; add --decoder STORE")
    if store.kind == "weights" and has_decoder:
        raise UsageError(f"{store.name}: weights are whole networks; leave out --decoder")


def mesh_field(
    field: "DistanceFunction", device: str, options: MeshOptions = MeshOptions()
) -> "tuple[Trimesh, int]":
    """Extract the surface of a distance function.

    Args:
        field: The distance function.
        device: Where it computes, as torch names it.
        options: How to mesh it.

    Returns:
        The mesh, and the number of points at which the function was evaluated.

    Raises:
        GeometryError: It has no surface in the cube from -1 to 1.
    """
    import torch

    from sdfkit.geometry.isosurface.extraction import extract_surface
    from sdfkit.models.fields import evaluate_field, field_normals

    distance = partial(evaluate_field, field, device=device)
    surface, count = extract_surface(
        distance, resolution=options.resolution, margin=options.margin, batch=BATCH
    )
    if options.largest:
        from sdfkit.geometry.pieces import largest_piece

        surface = largest_piece(surface)
    if options.simplify is not None:
        from sdfkit.geometry.simplify import simplify

        surface = simplify(surface, options.simplify)
    if options.smooth_normals:
        import trimesh

        vertices = torch.from_numpy(surface.vertices.astype(np.float32)).to(device)
        normals = field_normals(field, vertices, BATCH).cpu().numpy()
        surface = trimesh.Trimesh(surface.vertices, surface.faces, vertex_normals=normals, process=False)
    return surface, count


@dataclass(frozen=True)
class Mesher:
    """Meshes the rows of a store of codes or weights.

    Attributes:
        array: The array of the store that holds the vectors: code or weights.
        fields: The distance functions that the vectors stand for.
        device: Where these compute, as torch names it.
        options: How to mesh them.
        history: History of the decoder's store, if it is another one.
        evaluated: Number of points at which each function was evaluated.
    """

    array: str
    fields: "Fields"
    device: str
    options: MeshOptions
    history: Sequence[Mapping[str, Any]]
    evaluated: list[int] = field(default_factory=list)

    def rows(self, store: "StoreReader") -> "Iterator[ArrayRow]":
        """Yield the rows of the store, each with the decoder's history before its own."""
        for row in store.rows(self.array):
            yield replace(row, steps=[*(step for step in self.history if step not in row.steps), *row.steps])

    def mesh(self, row: "ArrayRow") -> "dict[str, Trimesh]":
        """Mesh one row.

        Raises:
            GeometryError: The row failed earlier, holds NaN or infinity, or has no surface.
        """
        import torch

        if row.error:
            raise GeometryError(row.error)
        if not np.isfinite(row.arrays[self.array]).all():
            raise GeometryError(f"its {self.array} holds numbers that are not finite")
        vector = torch.from_numpy(row.arrays[self.array]).to(self.device)
        surface, count = mesh_field(self.fields.of(vector), self.device, self.options)
        self.evaluated.append(count)
        return {"mesh": surface}

    def log_evaluations(self) -> None:
        """Log the share of the grid's points at which the functions were evaluated."""
        if self.evaluated:
            share = sum(self.evaluated) / (len(self.evaluated) * (self.options.resolution + 1) ** 3)
            log.info(
                "evaluated the network at %.1f %% of the grid's points: %.0f times fewer",
                100 * share,
                1 / share,
            )


def make_mesher(
    store: "StoreReader", decoder: "Reader | None", device: str, options: MeshOptions = MeshOptions()
) -> Mesher:
    """Make a mesher for the rows of a store.

    Args:
        store: A codes, weights, deepsdf, autoencoder or flow store.
        decoder: What reads the codes; None if the store holds it itself.
        device: Where to compute, as torch names it.
        options: How to mesh.

    Raises:
        UsageError: Codes without a decoder, or weights with one.
        InputError: Codes of another decoder or of another length, or no rows at all.
    """
    from sdfkit.io.models import check_codes, read_fields

    require_decoder(store, has_decoder=decoder is not None)
    if decoder is not None:
        check_codes(store, decoder)
    fields = read_fields(store, device) if decoder is None else decoder.fields
    array, what = ("weights", "weights") if store.kind == "weights" else ("code", "codes")
    width = store.array(array).shape[1]
    if width != fields.width:
        reader = store.name if decoder is None else decoder.name
        needed = "their network has" if array == "weights" else f"{reader} reads"
        raise InputError(f"{store.name}: {what} of {width} numbers, but {needed} {fields.width}")
    if not len(store):
        raise InputError(f"{store.name}: holds no shapes")
    return Mesher(array, fields, device, options, [] if decoder is None else decoder.history)
