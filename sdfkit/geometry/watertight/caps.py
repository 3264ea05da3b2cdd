"""Caps: triangles that cover the holes of a mesh, to close openings exactly at their rims."""

import math
from collections import defaultdict
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from sdfkit.geometry.polygons import triangulate_faces
from sdfkit.geometry.topology import join_vertices
from sdfkit.geometry.watertight import closing_kernels as kernels
from sdfkit.geometry.watertight.flood import reached_from_border

# Least share of the positions of balls behind caps that belong to the cavity. The cap over the lip of an amphora would
# also fill the funnel of its lip, while a seam in its neck does not.
FILLED = 0.8
# Largest radius of a cap, relative to the radius of the balls that do not fit through the opening. Larger caps cover
# something else: without this limit, the space below a blanket and the wheel houses of a car were filled.
LARGEST = 2.0


class Caps:
    """The caps of all holes of a mesh, one for each loop of boundary edges.

    They are computed when they are first needed: most meshes have no opening that must be closed.

    Attributes:
        used: The triangles of the caps that `close` has added to the field, in grid coordinates.
    """

    def __init__(
        self,
        mesh: trimesh.Trimesh,
        origin: Float[np.ndarray, "3"],
        cell: float,
        field: Float[np.ndarray, "x y z"],
        band: float,
        offset: float,
    ) -> None:
        """Store what the caps are computed from.

        Args:
            mesh: Any triangles.
            origin: Position of the first node in the frame of `mesh`.
            cell: Distance between nodes.
            field: Distance of each node to `mesh` minus the offset, in cells, negative where it is solid. `close`
                changes it.
            band: Distance, in cells, up to which `close` writes distances to caps.
            offset: The offset, in cells.
        """
        self.mesh, self.origin, self.cell, self.field = mesh, origin, cell, field
        self.band, self.offset = band, offset
        self.used = np.zeros((0, 3, 3))

    @cached_property
    def _caps(
        self,
    ) -> tuple[
        Float[np.ndarray, "triangle corner xyz"], Int[np.ndarray, " triangle"], Float[np.ndarray, " cap"]
    ]:
        """The triangles of all caps, in grid coordinates; the cap of each triangle; and the radii of the caps.

        The radius is twice the area divided by the perimeter. For a disc it is the radius, for a slit the width.
        """
        joined = join_vertices(self.mesh)
        loops = boundary_loops(joined.faces)
        sizes = np.array([len(loop) for loop in loops], dtype=np.int64)
        corners = np.concatenate([np.zeros(0, dtype=np.int64), *loops])
        vertices = (joined.vertices - self.origin) / self.cell
        triangles, caps = triangulate_faces(vertices, sizes, corners)
        triangles = vertices[corners[triangles]]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        doubled = np.bincount(caps, weights=np.linalg.norm(normals, axis=1), minlength=len(loops))
        edges = [np.roll(vertices[loop], 1, axis=0) - vertices[loop] for loop in loops]
        perimeters = np.array([np.linalg.norm(edge, axis=1).sum() for edge in edges])
        return triangles, caps, doubled / perimeters

    def close(
        self,
        outside: Bool[np.ndarray, "x y z"],
        balls: Bool[np.ndarray, "i j k"],
        cavities: Bool[np.ndarray, "i j k"],
        step: int,
        radius: float,
    ) -> Bool[np.ndarray, "i j k"]:
        """Close cavities with caps, in place, where caps separate them from the outside and enclose little else.

        Args:
            outside: Nodes that are connected with the border.
            balls: Positions at which a ball fits into the free space, on a grid of every `step`-th node.
            cavities: Those of them that lie in cavities to be closed.
            step: Number of nodes from one position to the next along each axis.
            radius: Radius of the ball, in cells.

        Returns:
            The positions, of balls or not, in the regions that are now solid.
        """
        triangles, caps, radii = self._caps
        fitting = (radii <= LARGEST * radius)[caps]
        triangles, caps = triangles[fitting], caps[fitting]
        if not len(triangles):
            return np.zeros_like(cavities)
        shape = np.array(self.field.shape)
        squared, nearest = (grid.reshape(shape) for grid in kernels.splat(triangles, shape, self.band))
        # The border reaches hidden nodes only if there are no caps. Caps divide the hidden space into regions.
        free = (self.field > 0) & (squared > self.offset**2)
        hidden = outside & (self.field > 0) & ~reached_from_border(free)
        if not (hidden[::step, ::step, ::step] & cavities).any():
            return np.zeros_like(cavities)
        box = _box_around(hidden, math.ceil(self.band) + 1)
        regions = np.zeros(self.field.shape, dtype=np.int32)
        count = ndimage.label(hidden[box] & free[box], output=regions[box])
        places = regions[::step, ::step, ::step]
        filled = np.bincount(places[cavities], minlength=count + 1)
        fitting_balls = np.bincount(places[balls], minlength=count + 1)
        chosen = (filled > 0) & (filled >= FILLED * fitting_balls)
        chosen[0] = False
        # Regions too narrow for a ball, such as a leg that is a tube of its own, are the passage to the cavity.
        spaces, spaces_count = ndimage.label(hidden[box])
        space = np.zeros(count + 1, dtype=np.int64)
        space[regions[box]] = spaces
        closed = np.zeros(spaces_count + 1, dtype=bool)
        closed[space[chosen]] = True
        chosen |= closed[space] & (fitting_balls == 0)
        chosen[0] = False

        behind = chosen[regions[box]]
        field, squared, nearest = self.field[box], squared[box], nearest[box]
        covers = ndimage.binary_dilation(behind) & (field > 0) & (squared <= self.offset**2)
        used = np.isin(caps, caps[nearest[covers]])
        near = (nearest >= 0) & used[nearest]
        field[near] = np.minimum(field[near], np.sqrt(squared[near]) - np.float32(self.offset))
        field[behind & (field > 0)] = -self.offset
        self.used = np.concatenate([self.used, triangles[used]])
        return np.asarray(chosen[places])


def _box_around(nodes: Bool[np.ndarray, "x y z"], margin: int) -> tuple[slice, slice, slice]:
    """Return the slices of a grid that contain all of some nodes and, within the grid, a margin around them."""
    spans = [np.flatnonzero(nodes.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    x, y, z = (slice(max(int(span[0]) - margin, 0), int(span[-1]) + margin + 1) for span in spans)
    return x, y, z


def boundary_loops(faces: Int[np.ndarray, "face 3"]) -> list[Int[np.ndarray, " corner"]]:
    """Return closed loops of edges that contain each edge with an odd number of faces exactly once.

    Args:
        faces: Triangles; equal ones count once, however they are oriented. The orientation of others does not matter.

    Returns:
        The vertices of each loop, in order, none of them twice. Where several loops share vertices, there are several
        ways to separate them; one of these is returned.
    """
    faces = np.unique(np.sort(faces, axis=1), axis=0)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])]
    size = faces.max(initial=0) + 1
    low, high = faces[:, [0, 1, 0]].ravel(), faces[:, [1, 2, 2]].ravel()
    edges, count = np.unique(low * size + high, return_counts=True)
    edges = edges[count % 2 == 1]
    around = defaultdict(list)
    for start, end in zip((edges // size).tolist(), (edges % size).tolist(), strict=True):
        around[start].append(end)
        around[end].append(start)
    loops = []
    for first in around:
        # At every vertex an even number of these edges meet, so the path can only end where it started.
        path, place = [first], {first: 0}
        while around[path[-1]]:
            vertex = around[path[-1]].pop()
            around[vertex].remove(path[-1])
            if vertex in place:
                loop = path[place[vertex] :]
                loops.append(np.array(loop))
                del path[place[vertex] + 1 :]
                for passed in loop[1:]:
                    del place[passed]
            else:
                place[vertex] = len(path)
                path.append(vertex)
    return loops
