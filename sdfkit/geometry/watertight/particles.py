"""The paper's way to a closed mesh, kept for comparison: particles on the surface, voxels, polygons.

The level set of a distance to particles lies on both sides of what they were scattered on, and every wall is
doubled. Measured at 256 voxels with a million particles: a sphere comes out as two shells with 7 % of its volume and
49 % of their area hidden inside; four pieces of furniture as 2 to 60 pieces with up to 47 % hidden, at a Chamfer
distance of 0.010 to 0.012 from what `make_watertight` gives in less than half of the time.
"""

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from sdfkit.geometry.sampling import sample_surface

# In voxels. The paper does not say; smaller particles are lost between the nodes, so OpenVDB takes none.
RADIUS = 1.5
# A value of zero at a node would put several vertices onto that node.
NEAREST_TO_ZERO = 1e-3


def polygonise_particles(
    mesh: trimesh.Trimesh, *, resolution: int, points: int, rng: np.random.Generator
) -> trimesh.Trimesh:
    """The surface around particles that are scattered on a mesh.

    Args:
        mesh: Any triangles, in the unit frame.
        resolution: Voxels along a side of the cube from -1 to 1. The paper aims at a million voxels in the band
            around the surface, which is about 256.
        points: Particles, scattered evenly by area. Below about ten a voxel's face the walls get holes.
        rng: Where they are scattered.

    Returns:
        A closed surface at 1.5 voxels from the particles, on either side: twice the walls of the shape. It
        exceeds the frame of `mesh` by as much.

    Raises:
        GeometryError: The mesh has no triangle with an area.

    Reference:
        The paper's pipeline in Houdini: scatter, VDB from particles, convert VDB. Here by marching cubes, and
        with the exact distance to the nearest particle as the level set.
    """
    voxel = 2.0 / resolution
    particles, _ = sample_surface(mesh, points, rng)
    origin = particles.min(axis=0) - 4 * voxel
    places = (particles - origin) / voxel
    field = _measure(places, np.ceil(places.max(axis=0)).astype(np.int64) + 5)
    near_zero = np.abs(field) < NEAREST_TO_ZERO
    field[near_zero] = np.where(field[near_zero] > 0, NEAREST_TO_ZERO, -NEAREST_TO_ZERO)
    vertices, faces = marching_cubes(field, 0.0, gradient_direction="descent")[:2]  # type: ignore[no-untyped-call]
    return trimesh.Trimesh(origin + vertices.astype(np.float64) * voxel, faces, process=False)


def _measure(
    places: Float[np.ndarray, "particle 3"], shape: Int[np.ndarray, "3"]
) -> Float[np.ndarray, "x y z"]:
    """Distance of each node to the nearest particle less its radius, in voxels, as far as marching cubes reads."""
    reach = RADIUS + 1.0
    near = np.zeros(tuple(shape), dtype=bool)
    near[tuple(np.rint(places).astype(np.int64).T)] = True
    # A particle lies within sqrt(3)/2 of the node that it marks.
    near = ndimage.distance_transform_edt(~near) <= reach + 0.87
    distances, _ = cKDTree(places).query(np.argwhere(near), distance_upper_bound=reach)
    field = np.full(near.shape, reach, dtype=np.float32)
    field[near] = np.minimum(distances, reach)
    return field - np.float32(RADIUS)
