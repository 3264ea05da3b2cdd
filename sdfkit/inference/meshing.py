"""Meshes the distance functions that are stored as latent codes, network weights or grids of distances."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.inference.defaults import MESH_RESOLUTION, SPECK_AREA
from sdfkit.wording import counted

if TYPE_CHECKING:
    from trimesh import Trimesh

    from sdfkit.io.models.reader import CodeDecoder
    from sdfkit.io.stores.contents.outlines import ImagesByUid
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
    from sdfkit.models.fields import DistanceFunction, Fields
    from sdfkit.rows import Row

# Number of points at which a network is evaluated at once.
BATCH = 1 << 15
# The array of a row that is meshed, and what a message calls it, for kinds of stores that do not hold codes.
ARRAYS = {"weights": ("weights", "weights"), "grids": ("grid", "grids")}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeshOptions:
    """How a distance function is meshed.

    Attributes:
        resolution: Cells along a side of the query cube, from -1 to 1 along each axis.
        margin: Cells are skipped if interpolated distances show that they contain no surface, even if the interpolation
            error is `margin` times as large as measured.
        largest: Keep only the largest connected piece.
        speck_area: Leave out connected pieces with less than this share of the area; 0 keeps all.
        simplify: Approximate maximum number of faces; None to keep all faces.
        smooth_normals: Store vertex normals: the gradient of the distance function at each vertex.
    """

    resolution: int = MESH_RESOLUTION
    margin: float = 1.0
    largest: bool = False
    simplify: int | None = None
    smooth_normals: bool = False
    speck_area: float = SPECK_AREA


class MeshCounts(NamedTuple):
    """Counts about an extracted mesh.

    Attributes:
        evaluated: Number of points at which the distance function was evaluated.
        dropped: Number of specks that were left out.
    """

    evaluated: int
    dropped: int


def require_decoder(store: "StoreReader", *, has_decoder: bool) -> None:
    """Check that a decoder is given if the store holds latent codes, and none if it holds weights or grids.

    Raises:
        UsageError: The decoder of the codes is missing, or a decoder is given for weights or grids.
    """
    if store.kind == "codes" and not has_decoder:
        raise UsageError(f"{store.name}: holds latent codes without their decoder; add --decoder STORE")
    if store.kind in ARRAYS and has_decoder:
        what = "weights of whole networks" if store.kind == "weights" else "grids of distances"
        raise UsageError(f"{store.name}: holds {what}, which need no decoder; leave out --decoder")


def require_finite(store: "StoreReader", rows: "Sequence[Row]", vectors: np.ndarray) -> None:
    """Check that the vectors (shape, dim) of the rows of a store are finite.

    Raises:
        InputError: A vector has a number that is NaN or infinite.
    """
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if wrong.size:
        raise InputError(
            f"{store.name}: the vector of {rows[wrong[0]].uid} has numbers that are not finite; make it again"
        )


def mesh_field(
    field: "DistanceFunction", device: str, options: MeshOptions = MeshOptions()
) -> "tuple[Trimesh, MeshCounts]":
    """Extract the surface of a distance function.

    Args:
        field: The distance function.
        device: Name of the torch device on which the function is evaluated.
        options: How to mesh the function.

    Returns:
        The mesh, and counts about it.

    Raises:
        GeometryError: The function has no zero crossing in the query cube, from -1 to 1 along each axis.
    """
    import torch

    from sdfkit.geometry.isosurface.extraction import extract_surface
    from sdfkit.models.fields import evaluate_field, field_normals

    distance = partial(evaluate_field, field, device=device)
    surface, evaluated = extract_surface(
        distance, resolution=options.resolution, margin=options.margin, batch=BATCH
    )
    dropped = 0
    if options.largest:
        from sdfkit.geometry.pieces import largest_piece

        surface = largest_piece(surface)
    elif options.speck_area:
        from sdfkit.geometry.pieces import drop_small_pieces

        surface, dropped = drop_small_pieces(surface, options.speck_area)
    if options.simplify is not None:
        from sdfkit.geometry.simplify import simplify

        surface = simplify(surface, options.simplify)
    if options.smooth_normals:
        import trimesh

        vertices = torch.from_numpy(surface.vertices.astype(np.float32)).to(device)
        normals = field_normals(field, vertices, BATCH).cpu().numpy()
        surface = trimesh.Trimesh(surface.vertices, surface.faces, vertex_normals=normals, process=False)
    return surface, MeshCounts(evaluated, dropped)


@dataclass(frozen=True)
class Mesher:
    """Meshes the rows of a store of latent codes or network weights.

    Attributes:
        array: Name of the array of the store that is decoded: "code", "weights" or "grid".
        fields: The network that turns a code or a vector of weights into a distance function.
        device: Name of the torch device on which the distance functions are evaluated.
        options: How to mesh the distance functions.
        history: History of the decoder's store if the decoder is in another store; otherwise empty.
        views: Images whose visual hull cuts each shape; None for uncut shapes.
        network: Digest of the network if it is in the store of the rows; None if it is in another store.
        outcomes: For each row that was meshed, counts about its mesh, its number of pieces and its Euler number.
        empty: Uids of the rows without a surface.
    """

    array: str
    fields: "Fields"
    device: str
    options: MeshOptions
    history: Sequence[Mapping[str, Any]]
    views: "ImagesByUid | None" = None
    network: str | None = None
    outcomes: list[tuple[MeshCounts, int, int]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def rows(self, store: "StoreReader") -> "Iterator[ArrayRow]":
        """Yield the rows of the store. The history of the decoder precedes the row's own history.

        Raises:
            InputError: The images of a row are missing, or are those of another mesh file.
        """
        rows = store.rows(self.array)
        if self.views is not None:
            rows = self.views.join(rows, f"the shapes of {store.name}")
        for row in rows:
            yield replace(row, steps=[*(step for step in self.history if step not in row.steps), *row.steps])

    def mesh(self, row: "ArrayRow") -> "dict[str, Trimesh]":
        """Mesh one row.

        Raises:
            GeometryError: The row failed in an earlier step, holds NaN or infinity, or has no surface; or one of its
                masks is empty or full.
        """
        import torch

        from sdfkit.geometry.topology import describe_topology

        if row.error:
            raise GeometryError(row.error)
        if not np.isfinite(row.arrays[self.array]).all():
            raise GeometryError(f"its {self.array} holds numbers that are not finite")
        vector = torch.from_numpy(row.arrays[self.array]).to(self.device)
        field = self.fields.of(vector)
        if self.views is not None:
            from sdfkit.inference.hull_cut import cut_by_hull

            field = cut_by_hull(field, row.arrays)
        try:
            surface, counts = mesh_field(field, self.device, self.options)
        except GeometryError:
            self.empty.append(row.uid)
            raise
        pieces, euler = describe_topology(surface)
        self.outcomes.append((counts, pieces, euler))
        log.debug(
            "%s: pieces %d, Euler number %d, specks left out %d", row.uid, pieces, euler, counts.dropped
        )
        return {"mesh": surface}

    def log_outcomes(self) -> None:
        """Log whether the meshes are whole, and the share of the grid's points at which networks were evaluated."""
        pieces = [pieces for _, pieces, _ in self.outcomes]
        dropped = [counts.dropped for counts, *_ in self.outcomes]
        described = describe_meshes(pieces, dropped, len(self.empty))
        if described:
            log.info("%s", described)
        if self.outcomes and self.array != "grid":
            evaluated = [counts.evaluated for counts, *_ in self.outcomes]
            share = sum(evaluated) / (len(evaluated) * (self.options.resolution + 1) ** 3)
            log.info(
                "evaluated the network at %.1f %% of the grid's points, %.0f times fewer than the whole grid",
                100 * share,
                1 / share,
            )


def describe_meshes(pieces: Sequence[int], dropped: Sequence[int], empty: int) -> str:
    """Describe whether meshes are whole, in one line; empty without any shape.

    Args:
        pieces: Number of pieces of each mesh.
        dropped: Number of specks that were left out of each mesh.
        empty: Number of shapes without a surface.
    """
    parts = []
    most, whole = max(pieces, default=0), pieces.count(1)
    if len(pieces) == 1:
        parts.append("the mesh is one piece" if whole else f"the mesh has {counted(most, 'piece')}")
    elif pieces and whole == len(pieces):
        parts.append(f"all {len(pieces)} meshes are one piece")
    elif pieces:
        parts.append(f"{whole} of {len(pieces)} meshes are one piece, the others have up to {most}")
    if any(dropped):
        specks, meshes = sum(dropped), sum(count > 0 for count in dropped)
        parts.append(f"{counted(specks, 'speck')} left out" + (f" of {meshes} meshes" if meshes > 1 else ""))
    if empty:
        parts.append(f"{counted(empty, 'shape')} without surface")
    return "; ".join(parts)


def make_mesher(
    store: "StoreReader",
    decoder: "CodeDecoder | None",
    device: str,
    options: MeshOptions = MeshOptions(),
    views: "ImagesByUid | None" = None,
) -> Mesher:
    """Make a mesher for the rows of a store.

    Args:
        store: A codes, weights, grids, deepsdf, autoencoder or flow store.
        decoder: The network that decodes the codes; None if the store itself holds the network.
        device: Name of the torch device to compute on.
        options: How to mesh.
        views: Images whose visual hull cuts each shape; None for uncut shapes.

    Raises:
        UsageError: The decoder of codes is missing, or a decoder is given for weights.
        InputError: The codes belong to another decoder or have another length, or the store has no rows.
    """
    from sdfkit.io.models.reader import check_codes, digest_network, read_fields

    require_decoder(store, has_decoder=decoder is not None)
    if decoder is not None:
        check_codes(store, decoder)
    fields = read_fields(store, device) if decoder is None else decoder.fields
    array, what = ARRAYS.get(store.kind, ("code", "codes"))
    width = store.array(array).shape[1]
    if width != fields.width:
        reader = store.name if decoder is None else decoder.name
        needed = "their network has" if array == "weights" else f"the decoder of {reader} needs"
        raise InputError(
            f"{store.name}: its {what} have {counted(width, 'number')} each, but {needed} {fields.width}"
        )
    if not len(store):
        raise InputError(f"{store.name}: holds no shapes")
    if decoder is not None:
        return Mesher(array, fields, device, options, decoder.history, views)
    return Mesher(array, fields, device, options, [], views, digest_network(store))


@dataclass(frozen=True)
class CodeMesher:
    """Meshes single latent codes, such as the steps of a trajectory.

    Attributes:
        decoder: The network that decodes the codes.
        device: Name of the torch device on which it is evaluated.
        options: How to mesh.
    """

    decoder: "CodeDecoder"
    device: str
    options: MeshOptions

    def check(self, store: "StoreReader") -> None:
        """Check that the decoder is that of the codes of a store.

        Raises:
            InputError: The codes belong to another decoder or have another length.
        """
        make_mesher(store, self.decoder, self.device)

    def mesh(self, code: np.ndarray) -> "Trimesh | None":
        """Mesh a code (dim) in the unit frame. None if it has no surface, as in the first steps from noise."""
        import torch

        field = self.decoder.fields.of(torch.from_numpy(code).to(self.device))
        try:
            return mesh_field(field, self.device, self.options)[0]
        except GeometryError:
            return None


def load_code_mesher(path: str, *, resolution: int) -> CodeMesher:
    """Load the decoder of a store for meshing single codes; see `CodeMesher`."""
    from sdfkit.io.models.reader import load_code_decoder
    from sdfkit.runtime.device import choose_device

    device = choose_device("auto")
    return CodeMesher(load_code_decoder(path, device), device, MeshOptions(resolution=resolution))
