"""The paper's conversion to closed meshes, for comparison: particles on the surface, voxels, polygons.

A level set of the distance to particles lies on both sides of the surface that they are scattered on, so every wall is
doubled. Measured at 256 voxels with a million particles: a sphere becomes two shells with 7 % of its volume, and 49 %
of their area is hidden inside; four pieces of furniture become 2 to 60 pieces with up to 47 % hidden, at a Chamfer
distance of 0.010 to 0.012 from the result of `make_watertight`, which takes less than half of the time.
"""

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from sdfkit.geometry.defaults import PARTICLES, WATERTIGHT_RESOLUTION
from sdfkit.geometry.sampling import sample_surface

# In voxels. The paper does not state it; OpenVDB ignores smaller particles, which are lost between the nodes.
RADIUS = 1.5
# Smallest absolute value of the field. A value of 0 at a node would place several vertices at that node.
NEAREST_TO_ZERO = 1e-3


def polygonise_particles(
    mesh: trimesh.Trimesh,
    *,
    resolution: int = WATERTIGHT_RESOLUTION,
    points: int = PARTICLES,
    rng: np.random.Generator,
) -> trimesh.Trimesh:
    """Extract the surface around particles that are scattered on a mesh.

    Args:
        mesh: Any triangles, in the unit frame.
        resolution: Voxels along a side of the cube from -1 to 1. The paper aims at a million voxels in the band around
            the surface, which corresponds to about 256.
        points: Number of particles, which are scattered uniformly by area. With fewer than about ten for each face of
            a voxel the walls get holes.
        rng: Generator for the particles.

    Returns:
        A closed surface 1.5 voxels away from the particles on both sides of the walls. It exceeds the bounds of `mesh`
        by as much.

    Raises:
        GeometryError: The mesh has no triangle with an area.

    Reference:
        The paper's pipeline in Houdini: scatter, VDB from particles, convert VDB. Here the exact distance to the
        nearest particle is the level set function, and marching cubes extract the surface.
    """
    voxel = 2.0 / resolution
    particles, _ = sample_surface(mesh, points, rng)
    origin = particles.min(axis=0) - 4 * voxel
    places = (particles - origin) / voxel
    field = _particle_distances(places, np.ceil(places.max(axis=0)).astype(np.int64) + 5)
    near_zero = np.abs(field) < NEAREST_TO_ZERO
    field[near_zero] = np.where(field[near_zero] > 0, NEAREST_TO_ZERO, -NEAREST_TO_ZERO)
    vertices, faces = marching_cubes(field, 0.0, gradient_direction="descent")[:2]  # type: ignore[no-untyped-call]
    return trimesh.Trimesh(origin + vertices.astype(np.float64) * voxel, faces, process=False)


def _particle_distances(
    places: Float[np.ndarray, "particle 3"], shape: Int[np.ndarray, "3"]
) -> Float[np.ndarray, "x y z"]:
    """Compute the distance of each node to the nearest particle minus the radius, in voxels, clipped at 1."""
    reach = RADIUS + 1.0
    near = np.zeros(tuple(shape), dtype=bool)
    near[tuple(np.rint(places).astype(np.int64).T)] = True
    # A particle lies within sqrt(3)/2 of the node that it marks.
    near = ndimage.distance_transform_edt(~near) <= reach + 0.87
    distances, _ = cKDTree(places).query(np.argwhere(near), distance_upper_bound=reach)
    field = np.full(near.shape, reach, dtype=np.float32)
    field[near] = np.minimum(distances, reach)
    return field - np.float32(RADIUS)
