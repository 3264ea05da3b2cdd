"""COLLADA files of a box and of other shapes, made as text, and what is measured of the parts that are read."""

import numpy as np

from sdfkit.io.meshes.formats.collada.reader import read_dae
from sdfkit.io.meshes.formats.source import Source

SCHEMA_1_4 = "http://www.collada.org/2005/11/COLLADASchema"
SCHEMA_1_5 = "http://www.collada.org/2008/03/COLLADASchema"
# A box from (0, 0, 0) to (1, 2, 3).
BOX = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = [triangle for a, b, c, d in QUADS for triangle in ((a, b, c), (a, c, d))]
SQUARE = [(0, 0, 0), (3, 0, 0), (3, 3, 0), (0, 3, 0)]
HOLE = [(1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 1, 0)]
# The fan around its corner 0 also covers the notch.
NOTCHED = [(0, 0, 0), (3, 0, 0), (3, 3, 0), (2, 3, 0), (2, 1, 0), (1, 1, 0), (1, 3, 0), (0, 3, 0)]


def words(rows):
    return " ".join(f"{number:g}" for number in np.ravel(rows))


def source(name, rows, parameters="XYZ", kind="float"):
    named = "".join(f'<param name="{letter}" type="{kind}"/>' for letter in parameters)
    return (
        f'<source id="{name}"><float_array id="{name}-array" count="{np.size(rows)}">{words(rows)}</float_array>'
        f'<technique_common><accessor source="#{name}-array" count="{len(rows)}" stride="{np.size(rows) // len(rows)}">'
        f"{named}</accessor></technique_common></source>"
    )


def names(name, items, kind="Name_array"):
    return (
        f'<source id="{name}"><{kind} id="{name}-array" count="{len(items)}">{" ".join(items)}</{kind}>'
        f'<technique_common><accessor source="#{name}-array" count="{len(items)}"><param name="JOINT" type="name"/>'
        "</accessor></technique_common></source>"
    )


def vertex(offset=0, name="g"):
    return f'<input semantic="VERTEX" source="#{name}-vertices" offset="{offset}"/>'


def box_faces(name="g", **attributes):
    extra = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<triangles count="12"{extra}>{vertex(0, name)}<p>{words(TRIANGLES)}</p></triangles>'


def geometry(primitives=None, points=BOX, name="g", more=""):
    primitives = box_faces(name) if primitives is None else primitives
    return (
        f'<geometry id="{name}"><mesh>{source(name + "-positions", points)}{more}<vertices id="{name}-vertices">'
        f'<input semantic="POSITION" source="#{name}-positions"/></vertices>{primitives}</mesh></geometry>'
    )


def collada(nodes='<node><instance_geometry url="#g"/></node>', geometries=None, up="Y_UP", more="", scene=None,
            version="1.4.1", schema=SCHEMA_1_4):  # fmt: skip
    geometries = geometry() if geometries is None else geometries
    if scene is None:
        scene = (
            f'<library_visual_scenes><visual_scene id="s">{nodes}</visual_scene></library_visual_scenes>'
            '<scene><instance_visual_scene url="#s"/></scene>'
        )
    return (
        f'<?xml version="1.0" encoding="utf-8"?><COLLADA xmlns="{schema}" version="{version}"><asset>'
        f'<unit name="inch" meter="0.0254"/><up_axis>{up}</up_axis></asset>{more}'
        f"<library_geometries>{geometries}</library_geometries>{scene}</COLLADA>"
    ).encode()


def read(content, *, colour=False, folder=None):
    file = Source("a.dae", folder, colour)
    return read_dae(content, file), file


def corners(parts):
    return np.concatenate([part.vertices[part.faces] for part in parts])


def volume(parts):
    a, b, c = np.moveaxis(corners(parts), 1, 0)
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def area_vector(parts):
    a, b, c = np.moveaxis(corners(parts), 1, 0)
    normals = np.cross(b - a, c - a) / 2
    return normals.sum(axis=0), np.linalg.norm(normals, axis=1).sum()


def bounds(parts):
    points = corners(parts).reshape(-1, 3)
    return [*points.min(axis=0), *points.max(axis=0)]


def broken(old, new, content=None):
    """A file in which the first `old` is replaced."""
    content = collada() if content is None else content
    assert old.encode() in content
    return content.replace(old.encode(), new.encode(), 1)
