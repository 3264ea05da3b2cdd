"""Colours of 3MF files: base materials, colour groups, textures and mixtures."""

import io
import zipfile

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.images.rendering.appearance import Material, Texture
from tests.io.meshes.formats.threemf.test_reader import (
    BOX,
    TRIANGLES,
    bounds,
    corners,
    mesh,
    model,
    moved,
    package,
    read,
    thing,
    use,
    volume,
)

LIGHT = 0.21586050011389926  # sRGB 128 / 255
BASES = (
    '<basematerials id="5"><base name="a" displaycolor="#FF0000"/><base name="b" displaycolor="#00800080"/>'
    "</basematerials>"
)
COLOURS = (
    '<m:colorgroup id="6"><m:color color="#0000FF"/><m:color color="#808080"/><m:color color="#ffffffff"/>'
    "</m:colorgroup>"
)
RED, GREEN, BLUE, GREY, WHITE = (
    (1.0, 0.0, 0.0),
    (0.0, LIGHT, 0.0),
    (0.0, 0.0, 1.0),
    (LIGHT,) * 3,
    (1.0, 1.0, 1.0),
)


def painted(properties, more=BASES + COLOURS, **attributes):
    """The parts of a box with properties for each triangle, with one `properties` for all others."""
    rows = [*properties, *[""] * (12 - len(properties))]
    parts, source = read(
        package(model(thing(1, mesh(properties=rows), **attributes), more=more)), colour=True
    )
    assert volume(parts) == pytest.approx(6)
    return parts, source


@pytest.mark.parametrize(
    ("group", "entry", "colour"), [(5, 0, RED), (5, 1, GREEN), (6, 0, BLUE), (6, 1, GREY), (6, 2, WHITE)]
)
def test_objects_have_a_colour(group, entry, colour):
    parts, _ = painted([], pid=group, pindex=entry)
    assert [part.material for part in parts] == [Material(colour)]


@pytest.mark.parametrize("group", [7, 99])
def test_unknown_groups_give_no_colour(group):
    parts, _ = painted([], pid=group, pindex=0, more='<m:other id="7"/>')
    assert [part.material for part in parts] == [Material()]


def test_triangles_have_colours_of_their_own():
    parts, _ = painted(['p1="1"', 'pid="6" p1="0"', 'pid="6" p1="2" p2="2" p3="2"'], pid=5, pindex=0)
    bases, colours = parts
    assert bases.face_tint[0].tolist() == list(GREEN)
    assert np.allclose(bases.face_tint[1:], RED)
    assert colours.face_tint.tolist() == [list(BLUE), list(WHITE)]
    assert colours.faces.tolist() == [list(TRIANGLES[1]), list(TRIANGLES[2])]


def test_objects_without_a_default_keep_plain_triangles():
    parts, _ = painted(['pid="5" p1="0"'])
    assert sorted((len(part.faces), part.material.base) for part in parts if part.material.base) == [(1, RED)]
    assert [len(part.faces) for part in parts if part.material == Material()] == [11]


@pytest.mark.parametrize("mirror", [1, -1])
def test_colours_run_across_triangles(mirror):
    """Corners at x = 0 are blue, and those at x = 1 white."""
    rows = [
        " ".join(f'p{k + 1}="{2 * BOX[corner][0]}"' for k, corner in enumerate(triangle))
        for triangle in TRIANGLES
    ]
    item = use(transform=f"{mirror} 0 0 0 1 0 0 0 1 0 0 0")
    content = package(model(thing(1, mesh(properties=rows), pid=6, pindex=0), [item], more=COLOURS))
    (part,), _ = read(content, colour=True)
    assert volume([part]) == pytest.approx(6)
    expected = np.where(corners([part])[:, :, :1] == 0, BLUE, WHITE)
    assert np.allclose(part.tint[part.faces], expected)


def test_a_missing_second_property_is_the_first():
    (part,), _ = painted(['p1="1" p2="2"', 'p1="1"'], pid=6, pindex=0)
    assert np.allclose(part.tint[part.faces][0], [GREY, WHITE, GREY])
    assert np.allclose(part.tint[part.faces][1], GREY)


@pytest.mark.parametrize(
    ("values", "expected"), [("1 3", (0.25, 0.75 * LIGHT, 0)), ("2", RED), ("0 0", (0.5, LIGHT / 2, 0))]
)
def test_composites_mix_light(values, expected):
    mixture = (
        f'<m:compositematerials id="8" matid="5" matindices="0 1"><m:composite values="{values}"/>'
        "</m:compositematerials>"
    )
    parts, _ = painted([], more=BASES + mixture, pid=8, pindex=0)
    assert np.allclose(parts[0].material.base, expected)


PICTURE = b"any bytes: a reader does not decode pictures"


def textured(path="/3D/Textures/a.png", tiles=""):
    """A square in the plane z = 0 with a texture, and the part of the picture."""
    square = mesh([(0, 0, 0), (5, 0, 0), (5, 5, 0), (0, 5, 0)], [(0, 1, 2), (0, 2, 3)],
                  ['p1="0" p2="1" p3="2"', 'p1="0" p2="2" p3="3"'])  # fmt: skip
    coordinates = "".join(f'<m:tex2coord u="{u}" v="{v}"/>' for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)))
    more = (
        f'<m:texture2d id="3" path="{path}" contenttype="image/png" {tiles}/>'
        f'<m:texture2dgroup id="4" texid="3">{coordinates}</m:texture2dgroup>'
    )
    root = model(thing(1, square, pid=4, pindex=0), more=more)
    return package(root, {"3D/Textures/a.png": PICTURE})


def test_textures_are_in_the_package():
    (part,), source = read(textured(tiles='tilestyleu="mirror" tilestylev="clamp"'), colour=True)
    assert part.material == Material(texture=Texture("/3D/Textures/a.png", PICTURE, ("mirror", "clamp")))
    assert np.allclose(part.uv, part.vertices[:, :2] / 5)
    assert source.missing == []


def test_missing_textures_are_noted():
    (part,), source = read(textured("/b.png"), colour=True)
    assert part.material == Material(texture=Texture("/b.png", b""))
    assert source.missing == ["/b.png"]


def test_damaged_coordinates_are_refused():
    damaged = b'u="x"'
    content = textured()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = archive.read("3D/3dmodel.model").replace(b'u="1"', damaged, 1).decode()
    with pytest.raises(InputError, match="a texture coordinate is damaged"):
        read(package(root), colour=True)


def test_no_picture_is_unpacked_without_colour():
    (part,), source = read(textured("/b.png"))
    assert part.material == Material()
    assert source.missing == []


def test_each_part_has_its_own_resources():
    green = model(thing(1, pid=5, pindex=1), [], more=BASES)
    root = model(thing(1, pid=5, pindex=0), [use(), use(1, moved(10), "/b.model")], more=BASES)
    parts, _ = read(package(root, {"b.model": green}), colour=True)
    assert [(bounds([part])[0], part.material.base) for part in parts] == [(0, RED), (10, GREEN)]


@pytest.mark.parametrize(
    ("properties", "more", "message"),
    [
        (['p1="2"'], BASES, "refers to entry 2 of property group 5, which has 2"),
        (['p1="-1"'], BASES, "refers to entry"),
        ([f'p1="{10**30}"'], BASES, "a property that does not exist"),
        ([], BASES.replace("#FF0000", "red"), "a colour of basematerials is damaged"),
        ([], BASES.replace("#FF0000", "#FFF"), "a colour of basematerials is damaged"),
    ],
)
def test_damaged_colours_are_refused(properties, more, message):
    with pytest.raises(InputError) as caught:
        painted(properties, more=more, pid=5, pindex=0)
    assert message in str(caught.value)
