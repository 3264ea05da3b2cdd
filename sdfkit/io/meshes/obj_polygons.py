"""Cuts the concave faces of an OBJ into triangles before trimesh reads it.

trimesh makes a fan of every polygon, which fills what a concave outline leaves open: 243 of the 820 models of
a furniture catalogue have such faces, and the band of its headphones came out as a harp.
"""

import re

import numpy as np

VERTEX = re.compile(rb"^[ \t]*v[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
POLYGON = re.compile(rb"^[ \t]*f((?:[ \t]+[^\s]+){4,})[ \t]*\r?$", re.MULTILINE)
# A corner that turns back by less than this share of the polygon's area is rounding, and harmless in a fan.
REFLEX = 1e-6


def cut_polygons(text: bytes) -> bytes:
    """The same OBJ, its concave faces as triangles with the same corners, in their places.

    Faces that name no vertex are left as they are, for the reader to complain about; so are those that cross
    themselves, or are so warped that no cut is better than the fan.
    """
    text = text.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    faces = list(POLYGON.finditer(text))
    if not faces:
        return text
    bodies = [face[1] for face in faces]
    sizes = np.array([len(body.split()) for body in bodies])
    try:
        points = np.array(VERTEX.findall(text)).astype(np.float64).reshape(-1, 3)
        named = np.array(re.sub(rb"/\S*", b"", b" ".join(bodies)).split()).astype(np.int64)
    except ValueError:
        return text
    if (named < 0).any():
        # A negative index counts back from the face's own line.
        lines = [vertex.start() for vertex in VERTEX.finditer(text)]
        before = np.repeat(np.searchsorted(lines, [face.start() for face in faces]), sizes)
        named = np.where(named < 0, named + before + 1, named)
    first = np.concatenate([[0], np.cumsum(sizes)])
    cuts = []
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        index = named[first[which, None] + np.arange(size)] - 1
        is_known = ((index >= 0) & (index < len(points))).all(axis=1)
        which, outlines = which[is_known], points[index[is_known]]
        is_concave = _has_reflex(outlines)
        for at, outline in zip(which[is_concave], flatten(outlines[is_concave]), strict=True):
            ears = clip_ears(outline)
            fan = np.array([(0, corner, corner + 1) for corner in range(1, size - 1)])
            if _area(outline, ears) < (1 - REFLEX) * _area(outline, fan):
                corners = bodies[at].split()
                lines_of_face = (b"f " + b" ".join(corners[corner] for corner in ear) for ear in ears)
                cuts.append((*faces[at].span(), b"\n".join(lines_of_face)))
    parts, end = [], 0
    for start, stop, triangles in sorted(cuts):
        parts += [text[end:start], triangles]
        end = stop
    return b"".join([*parts, text[end:]])


def _has_reflex(outlines: np.ndarray) -> np.ndarray:
    """Which polygons (polygon, corner, xyz) have a corner that turns against their sense."""
    normals = _normals(outlines)
    edges = np.roll(outlines, -1, axis=1) - outlines
    turns = (np.cross(np.roll(edges, 1, axis=1), edges) * normals[:, None]).sum(axis=-1)
    concave: np.ndarray = (turns < -REFLEX * np.square(normals).sum(axis=-1)[:, None]).any(axis=1)
    return concave


def _normals(outlines: np.ndarray) -> np.ndarray:
    """Newell's normals, as long as twice the polygon's area; corners need not be in one plane."""
    local = outlines - outlines[:, :1]
    normals: np.ndarray = np.cross(local, np.roll(local, -1, axis=1)).sum(axis=1)
    return normals


def flatten(outlines: np.ndarray) -> np.ndarray:
    """Polygons (polygon, corner, xyz) seen along their normals (polygon, corner, 2), counter-clockwise."""
    normals = _normals(outlines)
    # Leaving out the coordinate along which a polygon is flattest keeps its order, and the sign its sense.
    axis = np.abs(normals).argmax(axis=1)
    kept = np.stack([(axis + 1) % 3, (axis + 2) % 3], axis=-1)
    plane: np.ndarray = np.take_along_axis(outlines, kept[:, None], axis=2)
    plane[..., 0] *= np.sign(np.take_along_axis(normals, axis[:, None], axis=1))
    return plane


def clip_ears(outline: np.ndarray) -> np.ndarray:
    """Cut a counter-clockwise polygon (corner, 2) into triangles that cover it once.

    Two corners may lie in one place, as where a slit joins a hole to the outline. An outline that crosses
    itself has no such cut; its triangles are then as good as they can be.

    Returns:
        Corners of each triangle (triangle, 3), counter-clockwise; two triangles fewer than corners.

    Reference:
        Meisters, Polygons have ears (1975).
    """
    left = list(range(len(outline)))
    triangles = []
    while len(left) > 3:
        ring = outline[left]
        turns = _turn(np.roll(ring, 1, axis=0), ring, np.roll(ring, -1, axis=0))
        at = next((at for at in np.flatnonzero(turns > 0) if _is_ear(ring, at)), turns.argmax())
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return np.array([*triangles, left])


def _area(outline: np.ndarray, triangles: np.ndarray) -> float:
    """Area of triangles; more than the polygon's own where they cover a place twice, or lie outside."""
    a, b, c = np.moveaxis(outline[triangles], 1, 0)
    return float(np.abs(_turn(a, b, c)).sum() / 2)


def _is_ear(ring: np.ndarray, at: np.intp) -> bool:
    """Whether no other corner lies within the triangle at a corner, nor on its open side."""
    a, b, c = ring[at - 1], ring[at], ring[(at + 1) % len(ring)]
    others = ring[~((ring == a).all(axis=1) | (ring == b).all(axis=1) | (ring == c).all(axis=1))]
    return not ((_turn(a, b, others) > 0) & (_turn(b, c, others) > 0) & (_turn(c, a, others) >= 0)).any()


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of triangles, positive where they turn left."""
    first, second = b - a, c - a
    turn: np.ndarray = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return turn
