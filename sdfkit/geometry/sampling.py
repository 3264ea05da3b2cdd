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

# The sign method that each one is compared with: one that fails on other meshes.
SECOND: dict[Sign, Sign] = {"normal": "winding", "winding": "normal", "scan": "winding"}


class SdfSamples(NamedTuple):
    """The samples of one shape. Floating-point arrays are float32, lengths in the unit frame.

    Attributes:
        point: Query points.
        distance: Their signed distances, negative inside.
        near: Which of them were drawn near the surface.
        surface_point: Points on the surface.
        surface_normal: The unit normals there, outward; zeros on faces without area.
        sign_agreement: Share of query points whose sign is the same by the method asked for and by a second one
            (`SECOND`). It is 1 on a closed surface that does not intersect itself. Less means holes, flipped faces or
            overlapping parts; with holes or flipped faces no method gets every sign right.
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

    A point near the surface is a point on it, drawn by area, plus Gaussian noise in all three directions. Noise along
    the face's normal alone would leave the wedges outside sharp edges empty, and thin parts consist of edges. The
    point is clipped to the cube from -1 to 1. The other points are distributed uniformly in this cube. Distances are
    computed from the points as rounded to float32.

    The order is random, so that every contiguous part of the samples has the same distribution as the whole.

    Args:
        mesh: A shape in the unit frame.
        points: Number of query points.
        near_share: Share of them near the surface, from 0 to 1.
        near_std: Standard deviations of the noise for each axis; each applies to an equal part of the near points.
        surface_points: Number of points on the surface.
        sign: Method that determines the sign, as in `TriangleTree.signed`.
        measure: Computes the signed distances instead of `TriangleTree`, if given. Its signs are compared with those
            by the winding number.
        rng: Generator for all draws.

    Raises:
        GeometryError: The mesh is not in the unit frame or has no faces or no area, or no query point is inside.

    Reference: Park et al., DeepSDF (2019), for the mixture; the paper states the standard deviations 0.0707 and 0.0224
        as variances.
    """
    reach = float(np.abs(mesh.bounds).max()) if len(mesh.faces) else 0.0
    if reach > 1 + 1e-6:
        raise GeometryError(f"not in the unit frame: a vertex lies at {reach:.4g}: normalise the shape first")
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
            f"no inside: all {points} points are outside, so the surface is a sheet or inside out: "
            "make it watertight first"
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
        The points (float64), and the face that each lies on. Faces without area are never drawn.

    Raises:
        GeometryError: The surface has no area.
    """
    corners = np.asarray(mesh.vertices)[mesh.faces]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    covered = np.cumsum(np.linalg.norm(np.cross(u, v), axis=1))
    if len(covered) == 0 or not covered[-1] > 0:
        raise GeometryError("no area: the shape has no faces, or all of them are flat lines")
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
