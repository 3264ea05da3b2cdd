"""Cut polygons in space into triangles.

Most readers of meshes cut every polygon into a fan of triangles around its first corner. The fan of a concave polygon
also covers points outside the polygon. Of the 820 models of a furniture catalogue, 243 have concave faces; fans closed
the ring of its headphones.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from mapbox_earcut import triangulate_float64

from sdfkit.geometry.topology import edges_cancel

# Differences of areas below this share of the polygon's area count as rounding errors.
TOLERANCE = 1e-6


def triangulate(points: Float[np.ndarray, "corner 3"]) -> Int[np.ndarray, "triangle 3"]:
    """Cut a polygon in space into triangles that cover it once.

    The polygon is projected along the axis nearest to its Newell normal. If the fan around the first corner covers the
    polygon once, which is the case for every convex polygon, the result is this fan. Otherwise the polygon is cut by
    ear clipping. Every edge of the polygon is then an edge of exactly one triangle, so that a closed mesh stays closed.
    The only exception is an edge that another corner touches; it may be cut in two at this corner.

    Polygons that ear clipping cannot cut also become fans: those that cross themselves, that have no area, or whose
    coordinates are not finite. If two consecutive corners lie on a line with the first corner, the fan has a triangle
    without area. Such triangles are kept, because a mesh without them would have cracks there.

    Args:
        points: Corners in order, at least 3. They need not lie in one plane. Two of them may lie at the same
            position, for example where a slit joins a hole to the outline.

    Returns:
        The corners of each triangle, as rows of `points`, in the orientation of the polygon. There are `corner - 2`
        triangles. Ear clipping gives fewer if it leaves out corners that lie at the position of another corner or at
        the tip of a spike without area.

    Reference: Held, FIST: Fast Industrial-Strength Triangulation of Polygons (2001), as implemented by Mapbox.
    """
    fan = make_fan(len(points))
    if fan_covers(points[None])[0]:
        return fan
    outline = _project(points)
    ears = (
        triangulate_float64(outline, np.array([len(outline)], dtype=np.uint32))
        .astype(np.int64)
        .reshape(-1, 3)
    )
    covered, exact = _area(outline, ears), _polygon_area(outline)
    is_cut = abs(covered - exact) <= TOLERANCE * exact or _has_outline(outline, ears)
    return ears if is_cut and covered < (1 - TOLERANCE) * _area(outline, fan) else fan


def triangulate_faces(
    vertices: Float[np.ndarray, "vertex 3"],
    sizes: Int[np.ndarray, " face"],
    corners: Int[np.ndarray, " corner"],
) -> tuple[Int[np.ndarray, "triangle 3"], Int[np.ndarray, " triangle"]]:
    """Cut the faces of a mesh into triangles, each as `triangulate` cuts it.

    Args:
        vertices: Positions.
        sizes: Number of corners of each face. Faces with fewer than 3 corners have no triangles.
        corners: The vertices of all faces, one face after another. All of them exist.

    Returns:
        triangles: For each triangle, three indices into `corners`. (Take `corners[triangles]` for the vertices; texture
            coordinates and normals of corners can be taken in the same way.)
        faces: The face of each triangle. Triangles are in the order of their faces.
    """
    first = np.concatenate([[0], np.cumsum(sizes)])
    triangles, faces = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for size in np.unique(sizes[sizes >= 3]):
        which = np.flatnonzero(sizes == size)
        fan = make_fan(int(size))
        if size > 3:
            polygons = vertices[corners[first[which, None] + np.arange(size)]]
            covered = fan_covers(polygons)
            if size == 4:  # The fan around the next corner covers the other quadrilaterals, nearly always.
                turned = ~covered & fan_covers(np.roll(polygons, -1, axis=1))
                triangles.append((first[which[turned], None, None] + (fan + 1) % 4).reshape(-1, 3))
                faces.append(np.repeat(which[turned], 2))
                covered, which = covered[~turned], which[~turned]
            for face in which[~covered]:
                cut = triangulate(vertices[corners[first[face] : first[face + 1]]])
                triangles.append(first[face] + cut)
                faces.append(np.full(len(cut), face))
            which = which[covered]
        triangles.append((first[which, None, None] + fan).reshape(-1, 3))
        faces.append(np.repeat(which, len(fan)))
    face_of_triangle = np.concatenate(faces)
    order = np.argsort(face_of_triangle, kind="stable")
    return np.concatenate(triangles)[order], face_of_triangle[order]


def make_fan(count: int) -> Int[np.ndarray, "triangle 3"]:
    """Return the triangles of a fan around the first of `count` corners."""
    corner = np.arange(1, count - 1)
    return np.stack([np.zeros_like(corner), corner, corner + 1], axis=1)


def fan_covers(polygons: Float[np.ndarray, "polygon corner 3"]) -> Bool[np.ndarray, " polygon"]:
    """Return which polygons are covered once by the fan around their first corner, as seen along their normal.

    All convex polygons are covered once. Polygons without area or with coordinates that are not finite count as
    covered, because no other cut is better.

    Args:
        polygons: Corners in order, the same number for each polygon.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        normals = _fan_normals(polygons)
        normal = normals.sum(axis=1)  # Newell's
        shares = (normals * normal[:, None]).sum(axis=-1)
        turned: Bool[np.ndarray, " polygon"] = (shares < -TOLERANCE * shares.sum(axis=1)[:, None]).any(axis=1)
    return ~turned


def _fan_normals(polygons: Float[np.ndarray, "polygon corner 3"]) -> Float[np.ndarray, "polygon triangle 3"]:
    """Return the normals of the triangles of each polygon's fan, with twice their area as length."""
    local = polygons - polygons[:, :1]
    return np.cross(local[:, 1:-1], local[:, 2:])


def _project(points: Float[np.ndarray, "corner 3"]) -> Float[np.ndarray, "corner 2"]:
    """Project a polygon along the axis nearest to its normal, so that it is counter-clockwise."""
    normal = _fan_normals(points[None])[0].sum(axis=0)
    axis = int(np.abs(normal).argmax())
    # Leaving out a coordinate, instead of rotating, keeps corners that lie on a line exactly on the line.
    outline = np.ascontiguousarray(points[:, [(axis + 1) % 3, (axis + 2) % 3]], dtype=np.float64)
    outline[:, 0] *= np.sign(normal[axis])
    return outline


def _has_outline(outline: Float[np.ndarray, "corner 2"], triangles: Int[np.ndarray, "triangle 3"]) -> bool:
    """Return whether the outer edges of the triangles are exactly the edges of the polygon."""
    _, place = np.unique(outline, axis=0, return_inverse=True)
    ring = np.stack([np.roll(place, -1), place], axis=1)  # backwards
    return edges_cancel(np.concatenate([ring, *(place[triangles[:, [k, (k + 1) % 3]]] for k in range(3))]))


def _polygon_area(outline: Float[np.ndarray, "corner 2"]) -> float:
    """Return the area of a counter-clockwise polygon by the shoelace formula."""
    x, y = (outline - outline[0]).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _area(outline: Float[np.ndarray, "corner 2"], triangles: Int[np.ndarray, "triangle 3"]) -> float:
    """Return the sum of the areas of triangles; it exceeds the polygon's area if triangles overlap or leave it."""
    a, b, c = np.moveaxis(outline[triangles], 1, 0)
    first, second = b - a, c - a
    return float(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2)
