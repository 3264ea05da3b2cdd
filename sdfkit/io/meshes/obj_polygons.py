"""Cuts the concave faces of an OBJ into triangles before trimesh reads it.

trimesh itself cuts every polygon into a fan of triangles around its first corner, which is wrong for concave faces.
"""

import re

import numpy as np

from sdfkit.geometry.polygons import fan_covers, make_fan, triangulate

VERTEX = re.compile(rb"^[ \t]*v[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
POLYGON = re.compile(rb"^[ \t]*f((?:[ \t]+[^\s]+){4,})[ \t]*\r?$", re.MULTILINE)


def cut_polygons(text: bytes) -> bytes:
    """Replace the concave faces of an OBJ by triangles with the same corners.

    Faces for which `triangulate` returns a fan are not changed. Neither are faces that refer to a vertex that does not
    exist; the reader reports these.

    Args:
        text: Content of the OBJ file.

    Returns:
        The content in which each concave face is replaced by lines with one triangle each.
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
        # A negative index counts back from the last vertex that precedes the line of the face.
        lines = [vertex.start() for vertex in VERTEX.finditer(text)]
        before = np.repeat(np.searchsorted(lines, [face.start() for face in faces]), sizes)
        named = np.where(named < 0, named + before + 1, named)
    first = np.concatenate([[0], np.cumsum(sizes)])
    cuts = []
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        index = named[first[which, None] + np.arange(size)] - 1
        exist = ((index >= 0) & (index < len(points))).all(axis=1)
        which, polygons = which[exist], points[index[exist]]
        to_cut = ~fan_covers(polygons)
        for at, polygon in zip(which[to_cut], polygons[to_cut], strict=True):
            triangles = triangulate(polygon)
            if np.array_equal(triangles, make_fan(len(polygon))):  # as trimesh makes it
                continue
            corners = bodies[at].split()
            lines_of_face = (
                b"f " + b" ".join(corners[corner] for corner in triangle) for triangle in triangles
            )
            cuts.append((*faces[at].span(), b"\n".join(lines_of_face)))
    parts, end = [], 0
    for start, stop, triangles in sorted(cuts):
        parts += [text[end:start], triangles]
        end = stop
    return b"".join([*parts, text[end:]])
