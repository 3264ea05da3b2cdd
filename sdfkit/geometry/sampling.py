"""Points with their signed distance to a shape, as training data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

from sdfkit.errors import GeometryError
from sdfkit.geometry.defaults import NEAR_SHARE, NEAR_STD, SAMPLES, SURFACE_POINTS
from sdfkit.geometry.distance.tree import Sign, TriangleTree

Points = Float[np.ndarray, "point 3"]
Measure = Callable[[trimesh.Trimesh, Points], Float[np.ndarray, " point"]]

# For each sign method, a second method to compare its signs with, which fails on other meshes.
SECOND: dict[Sign, Sign] = {"normal": "winding", "winding": "normal", "scan": "winding"}


class SdfSamples(NamedTuple):
    """The samples of one shape. Floating-point arrays are float32; lengths are those of the unit frame.

    Attributes:
        point: Query points.
        distance: Signed distance of each query point, negative inside.
        near: Whether each query point was drawn near the surface.
        surface_point: Points on the surface.
        surface_normal: Outward unit normal at each point on the surface; zeros on faces without area.
        sign_agreement: Share of query points that have the same sign by the chosen method and by a second method
            (`SECOND`). It is 1 on a closed surface that does not intersect itself. A smaller share means holes, flipped
            faces or overlapping parts. With holes or flipped faces, every method gives some wrong signs.
    """

    point: Float[np.ndarray, "sample 3"]
    distance: Float[np.ndarray, " sample"]
    near: Bool[np.ndarray, " sample"]
    surface_point: Float[np.ndarray, "surface 3"]
    surface_normal: Float[np.ndarray, "surface 3"]
    sign_agreement: float


def sample_sdf(
    mesh: trimesh.Trimesh,
    *,
    points: int = SAMPLES,
    near_share: float = NEAR_SHARE,
    near_std: tuple[float, ...] = NEAR_STD,
    surface_points: int = SURFACE_POINTS,
    sign: Sign = "winding",
    measure: Measure | None = None,
    rng: np.random.Generator,
) -> SdfSamples:
    """Draw query points and compute their signed distances to a shape, negative inside.

    A point near the surface is drawn on the surface by area and moved by Gaussian noise along all three axes. Noise
    along the normal of the face alone would leave the wedges outside sharp edges empty, and the surroundings of thin
    parts consist mostly of such wedges. The point is clipped to the query cube, from -1 to 1 along each axis. The other
    points are distributed uniformly in this cube. Distances are computed from the points after rounding them to
    float32.

    The order is random, so that every contiguous part of the samples has the same distribution as the whole.

    Args:
        mesh: A shape in the unit frame.
        points: Number of query points.
        near_share: Share of the query points that are drawn near the surface, from 0 to 1.
        near_std: Standard deviations of the noise along each axis; each is used for an equal part of the points near
            the surface.
        surface_points: Number of points on the surface.
        sign: Method that determines the sign, as in `TriangleTree.signed`.
        measure: Function that computes the signed distances in place of `TriangleTree`, or None. Its signs are compared
            with those of the winding number.
        rng: Generator for all draws.

    Raises:
        GeometryError: The mesh is not in the unit frame or has no faces or no area, or no query point is inside.

    Reference: Park et al., DeepSDF (2019), for the mixture of points near the surface and uniform points. That paper
        gives the squares of the standard deviations 0.0707 and 0.0224, as variances.
    """
    reach = float(np.abs(mesh.bounds).max()) if len(mesh.faces) else 0.0
    if reach > 1 + 1e-6:
        raise GeometryError(
            f"is not in the unit frame: a vertex has the coordinate {reach:.4g}, beyond 1; run sdfkit watertight first"
        )
    surface_point, face = sample_surface(mesh, surface_points, rng)

    near_count = round(points * near_share)
    place, _ = sample_surface(mesh, near_count, rng)
    std = np.resize(np.asarray(near_std), near_count)[:, None]
    drawn = np.concatenate(
        [
            np.clip(place + std * rng.standard_normal(place.shape), -1, 1),
            rng.uniform(-1, 1, (points - near_count, 3)),
        ]
    )
    shuffled = rng.permutation(points)
    point = drawn.astype(np.float32)[shuffled]

    tree = TriangleTree(mesh.vertices, mesh.faces)
    if measure is None:
        distance, (inside, second) = tree.sides(point, (sign, SECOND[sign]))
    else:
        signed = measure(mesh, point)
        distance, inside, second = np.abs(signed), signed < 0, tree.winding(point) > 0.5
    if not inside.any():
        raise GeometryError(
            f"has no inside: all {points} query points are outside, so the surface is a sheet or inside out; "
            "run sdfkit watertight first"
        )
    return SdfSamples(
        point=point,
        distance=np.where(inside, -distance, distance).astype(np.float32),
        near=shuffled < near_count,
        surface_point=surface_point.astype(np.float32),
        surface_normal=face_normals(mesh)[face].astype(np.float32),
        sign_agreement=float(np.mean(inside == second)),
    )


def sample_surface(
    mesh: trimesh.Trimesh, count: int, rng: np.random.Generator
) -> tuple[Points, Int[np.ndarray, " point"]]:
    """Draw points on a surface, uniformly by area.

    Args:
        mesh: Any mesh with some area.
        count: Number of points.
        rng: Generator for the draws.

    Returns:
        The points (float64), and the face that each point lies on. No point lies on a face without area.

    Raises:
        GeometryError: The surface has no area.
    """
    corners = np.asarray(mesh.vertices)[mesh.faces]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    covered = np.cumsum(np.linalg.norm(np.cross(u, v), axis=1))
    if len(covered) == 0 or not covered[-1] > 0:
        raise GeometryError("has no area: there are no faces, or the corners of each lie on a line")
    face = np.searchsorted(covered, covered[-1] * rng.random(count), side="right")
    along_u, along_v = rng.random((2, count, 1))
    # Points in the other half of the parallelogram are mirrored into the triangle.
    beyond = along_u + along_v > 1
    along_u, along_v = np.where(beyond, 1 - along_u, along_u), np.where(beyond, 1 - along_v, along_v)
    return corners[face, 0] + along_u * u[face] + along_v * v[face], face


def face_normals(mesh: trimesh.Trimesh) -> Float[np.ndarray, "face 3"]:
    """Return the unit normal of each face; zeros for a face without area."""
    corners = np.asarray(mesh.vertices)[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: Float[np.ndarray, "face 3"] = np.divide(
        normals, length, out=np.zeros_like(normals), where=length > 0
    )
    return unit
