"""Points with their distance to a shape, to learn it from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

from sdfkit.errors import GeometryError
from sdfkit.geometry.distance.tree import Sign, TriangleTree

Points = Float[np.ndarray, "point 3"]
Measure = Callable[[trimesh.Trimesh, Points], Float[np.ndarray, " point"]]

# What each way to tell the inside is compared with: one that errs elsewhere.
SECOND: dict[Sign, Sign] = {"normal": "winding", "winding": "normal", "scan": "winding"}


class Samples(NamedTuple):
    """What `sample_sdf` draws from one shape. Arrays are float32, lengths in the unit frame.

    `sign_agreement` is the share of points whose side is the same by the way asked for and by a second one
    (`SECOND`). It is 1 on a closed surface that does not cut itself. Less means holes, flipped faces or
    overlapping parts; with the first two no rule gets every sign right.
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
    points: int,
    near_share: float,
    near_std: tuple[float, ...],
    surface_points: int,
    sign: Sign,
    measure: Measure | None,
    rng: np.random.Generator,
) -> Samples:
    """Draw query points and measure how far from the shape they are, negative inside.

    A point near the surface is a place on it, drawn by area, moved by a normal draw in all three directions:
    along the face's normal alone the wedges outside sharp edges would stay empty, and thin parts are made of
    edges. It is kept in the cube from -1 to 1. The other points fill that cube evenly. Distances are measured
    from the points as float32 stores them.

    The order is random: any run of samples is as fair as the whole.

    Args:
        mesh: A shape in the unit frame.
        points: Samples to draw.
        near_share: The share of them near the surface, 0 to 1.
        near_std: Standard deviations per axis, each for an equal part of the near points.
        surface_points: Places to draw on the surface itself, with their normals.
        sign: How to tell the inside, as in `TriangleTree.signed`.
        measure: Gives the signed distances of points instead, by that sign or its own idea of it. Its signs
            are compared with the winding number.
        rng: Where the draws come from.

    Raises:
        GeometryError: Not in the unit frame, no faces, no area, or no point is inside.

    Reference: Park et al., DeepSDF (2019), for the mixture; it gives the stds 0.0707 and 0.0224 as variances.
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
    return Samples(
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
    """Draw places on a surface, each as likely as any other.

    Args:
        mesh: Any mesh with some area.
        count: Places to draw.
        rng: Where the draws come from.

    Returns:
        The places (float64) and the face each lies on. Faces without area are never drawn.

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
    # A parallelogram's far half is folded back onto the triangle.
    beyond = along_u + along_v > 1
    along_u, along_v = np.where(beyond, 1 - along_u, along_u), np.where(beyond, 1 - along_v, along_v)
    return corners[face, 0] + along_u * u[face] + along_v * v[face], face


def face_normals(mesh: trimesh.Trimesh) -> Float[np.ndarray, "face 3"]:
    """The direction that each face looks in, at length 1; zeros where a face has no area."""
    corners = np.asarray(mesh.vertices)[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: Float[np.ndarray, "face 3"] = np.divide(
        normals, length, out=np.zeros_like(normals), where=length > 0
    )
    return unit
