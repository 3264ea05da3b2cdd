"""Colours of meshes: base colours, textures and tints, from the parts of a file to pixels."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from sdfkit.images.rendering.appearance import Material, Part, Texture
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.paint import (
    BASE_COLOR,
    WRAPS,
    decode_srgb,
    join_parts,
    keep_faces,
    load_textures,
)
from sdfkit.images.rendering.rasteriser import pixels_per_unit, render_views

YFOV = math.radians(55)
FRONT = np.array([np.eye(4)], dtype=np.float32)
FRONT[0, 2, 3] = 2.5
# A square that fills x and y from -1 to 1, and the corners of the texture on its corners.
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=float)
UV = (SQUARE[:, :2] + 1) / 2
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def encode(picture: np.ndarray | Image.Image, wrap=("repeat", "repeat")) -> Texture:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, "PNG")
    return Texture("picture.png", file.getvalue(), wrap)


def square(base=None, picture=None, plain=None, uv=UV, wrap=("repeat", "repeat")) -> Part:
    texture = None if picture is None else encode(picture, wrap)
    return Part(SQUARE, FACES, Material(base, texture, plain), uv)


def box(**colors) -> Part:
    mesh = trimesh.creation.box()
    return Part(np.array(mesh.vertices), np.array(mesh.faces), **colors)


def load(*parts, camera=FRONT, size=64):
    mesh, colors = join_parts(parts)
    scale = pixels_per_unit(camera, YFOV, size)
    return mesh, *load_textures(colors, np.array(mesh.vertices), np.array(mesh.faces), scale)


def draw(*parts, camera=FRONT, size=64):
    mesh, paint, _ = load(*parts, camera=camera, size=size)
    return render_views(
        mesh, camera, yfov=YFOV, size=size, crease=0.0, cull=False, depth=False, normal=False, paint=paint
    ).rgb[0]


def test_each_part_keeps_its_colour():
    faces = np.random.default_rng(0).random((12, 3))
    parts = [
        box(tint=np.tile([1.0, 0.5, 0.0], (8, 1))),
        box(face_tint=faces),
        box(),
        square(base=(0.2, 0.4, 1.0)),
        box(material=Material((0.5, 0.5, 1.0)), tint=np.tile([1.0, 0.5, 0.0], (8, 1))),
    ]
    mesh, paint, missing = load(*parts)
    assert missing == []
    assert mesh.faces.shape == (12 + 12 + 12 + 2 + 12, 3)
    color = paint.base[paint.material][:, None] * paint.tint[mesh.faces]
    assert np.allclose(color[:12], [1.0, 0.5, 0.0])
    assert np.allclose(color[12:24], faces[:, None])
    assert np.allclose(color[24:36], BASE_COLOR)
    assert np.allclose(color[36:38], [0.2, 0.4, 1.0])
    assert np.allclose(color[38:], [0.5, 0.25, 0.0]), "the tint multiplies the material"


def test_a_texture_is_upright_and_not_mirrored():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:2, :2] = [255, 0, 0]  # upper left
    picture[2:, 2:] = [0, 0, 255]  # lower right
    image = draw(square(picture=picture))
    upper_left, lower_right = image[20, 20].astype(int), image[43, 43].astype(int)
    assert upper_left[0] > 150 > 90 > upper_left[2]
    assert lower_right[2] > 150 > 90 > lower_right[0]


def test_a_texture_of_one_colour_is_multiplied_with_the_base_colour():
    picture = Image.new("RGB", (5, 3), (180, 90, 40))
    light = decode_srgb(np.array([180, 90, 40], np.uint8))
    for base in ((1.0, 1.0, 1.0), (1.0, 0.5, 0.25)):
        expected = draw(square(base=tuple(light * base))).astype(int)
        assert np.abs(draw(square(base=base, picture=picture)) - expected).max() <= 2


def test_textures_are_looked_up_in_perspective():
    """A floor seen at a slant: bands of equal width lie where rays meet them."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    turn = trimesh.transformations.rotation_matrix(math.radians(60), [0, 1, 0])[:3, :3]
    slanted = replace(square(picture=ramp, uv=UV * [0.5, 1] + [0.25, 0]), vertices=SQUARE @ turn.T)
    seen = draw(slanted, size=128)[64, :, 0].astype(int)
    across = ((np.arange(128) + 0.5) / 64 - 1) * math.tan(YFOV / 2)
    # The ray (across, 0, -1) from (0, 0, 2.5) meets (s cos 60°, 0, -s sin 60°).
    s = 2.5 * across / (0.5 - across * math.sin(math.radians(60)))
    inside = np.abs(s) < 0.95
    light = decode_srgb(np.round(np.clip((0.25 + (s + 1) / 4) * 256 - 0.5, 0, 255)).astype(np.uint8))
    # All on one plane, so light depends on the colour only: it must rise exactly as the ramp does.
    order = np.interp(light[inside], *_brightness_of_gray(slanted))
    assert np.abs(seen[inside] - order).max() <= 3


def _brightness_of_gray(part):
    """Return grays as light, and the bytes with which the middle of this part shows them."""
    grays = np.linspace(0, 255, 18).astype(np.uint8)
    parts = [
        replace(part, material=Material(None, encode(np.full((2, 2, 3), gray, np.uint8)))) for gray in grays
    ]
    return decode_srgb(grays), np.array([draw(part, size=128)[64, 64, 0] for part in parts], dtype=float)


def test_a_fine_texture_is_averaged_and_a_coarse_one_kept():
    fine = np.zeros((512, 512, 3), dtype=np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = 255
    image = draw(square(picture=fine))[20:44, 20:44].astype(int)
    assert np.ptp(image) < 20, "a chequered board of tiny fields is grey"
    _, paint, _ = load(square(picture=fine[:8, :8]))
    assert np.array_equal(paint.textures[0], fine[:8, :8])


@pytest.mark.parametrize("wrap", WRAPS)
def test_textures_continue_beyond_their_edges(wrap):
    """Left texel black, right texel white; u from -1.5 to 2.5 in x, v from -1.5 to 2.5 in y."""
    # Positions on the square, whose sides are at -1 and 1.
    place = ((np.arange(256) + 0.5) / 128 - 1) * 2.5 * math.tan(YFOV / 2)
    u = (place + 1) * 2 - 1.5
    folded = {
        "repeat": u % 1,
        "mirror": np.where(np.floor(u) % 2 == 0, u % 1, 1 - u % 1),
        "clamp": np.clip(u, 0, 1),
    }[wrap]
    sure = (np.abs(place) < 0.97) & (np.abs(folded - 0.5) > 0.1)
    if wrap == "repeat":  # filtering blends the last texel into the first
        sure &= np.abs(folded - 0.5) < 0.4
    picture = np.zeros((1, 2, 3), dtype=np.uint8)
    picture[0, 1] = 255
    along_u = draw(square(picture=picture, uv=UV * 4 - 1.5, wrap=(wrap, "repeat")), size=256)[128, :, 0]
    # Row 0 of a picture is its top, where v = 1.
    upright = picture.transpose(1, 0, 2)[::-1]
    along_v = draw(square(picture=upright, uv=UV * 4 - 1.5, wrap=("clamp", wrap)), size=256)[::-1, 128, 0]
    half = draw(square(picture=np.full((1, 1, 3), 128, np.uint8)), size=256)[128, 128, 0]
    for line in (along_u, along_v):
        assert np.array_equal((line > half)[sure], (folded > 0.5)[sure])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_named_and_the_plain_colour_used(kind):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, kind)
    texture = Texture("wood.picture", file.getvalue()[:2000])
    for plain, expected in (((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)), (None, BASE_COLOR)):
        part = Part(SQUARE, FACES, Material((1.0, 1.0, 1.0), texture, plain), UV)
        _, paint, missing = load(part)
        assert missing == ["wood.picture"]
        assert paint.textures == [None]
        assert np.allclose(paint.base, [expected])


def test_a_picture_with_16_bits_is_not_clipped():
    levels = np.full((4, 4), 180 << 8, np.uint16)
    expected = draw(square(picture=np.full((4, 4, 3), 180, np.uint8)))
    assert np.array_equal(draw(square(picture=Image.fromarray(levels))), expected)


def test_nonsense_coordinates_do_no_harm():
    uv = np.array([[np.nan, 0], [np.inf, 1], [1e30, -1e30], [0, 1]])
    for wrap in WRAPS:
        part = square(picture=Image.new("RGB", (4, 4), (255, 0, 0)), uv=uv, wrap=(wrap, wrap))
        assert draw(part)[32, 32, 0] > 100


def test_parts_that_share_a_picture_share_the_material():
    picture = Image.new("RGB", (8, 8), (1, 2, 3))
    _, paint, _ = load(square(picture=picture), square(picture=picture.copy()), box())
    assert len(paint.textures) == 2
    assert paint.material.tolist() == [0] * 4 + [1] * 12


def test_colours_change_no_silhouette():
    mesh = trimesh.creation.icosphere(2)
    settings = {"yfov": YFOV, "size": 64, "crease": 1.0, "cull": False, "depth": False, "normal": False}
    joined, paint, _ = load(Part(np.array(mesh.vertices), np.array(mesh.faces)))
    cameras = fibonacci_cameras(3, 2.5)
    bare, painted = (
        render_views(mesh, cameras, **settings, paint=None),
        render_views(joined, cameras, **settings, paint=paint),
    )
    assert np.array_equal(bare.rgb, painted.rgb), "no colours: gray-blue"
    assert np.array_equal(bare.mask, painted.mask)


def test_no_parts_make_an_empty_mesh():
    mesh, paint, missing = load()
    assert len(mesh.faces) == len(paint.material) == len(missing) == 0


def test_kept_faces_keep_their_colours():
    coloured = box(tint=np.random.default_rng(0).random((8, 3)))
    mesh, colors = join_parts([square((1.0, 0.0, 0.0)), coloured, square((0.0, 1.0, 0.0), uv=UV / 2)])
    kept = np.repeat([False, True, False, True], [2, 6, 6, 2])
    found = keep_faces(colors, np.array(mesh.faces), kept)
    used = np.unique(mesh.faces[kept])
    assert np.array_equal(found.material, colors.material[kept])
    assert np.array_equal(found.uv, colors.uv[used])
    assert np.array_equal(found.tint, colors.tint[used])
