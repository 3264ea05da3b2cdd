import io
import math

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.paint import BASE_COLOR, decode_srgb, fit_textures, join_painted
from sdfkit.images.rendering.rasteriser import render_views

YFOV = math.radians(55)
FRONT = np.array([np.eye(4)], dtype=np.float32)
FRONT[0, 2, 3] = 2.5
# A square that fills x and y from -1 to 1, and the corners of the texture on its corners.
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=float)
UV = (SQUARE[:, :2] + 1) / 2


def square(**material) -> trimesh.Trimesh:
    kind = PBRMaterial if any(name.startswith("base") for name in material) else SimpleMaterial
    mesh = trimesh.Trimesh(SQUARE, [[0, 1, 2], [0, 2, 3]], process=False)
    mesh.visual = TextureVisuals(uv=UV, material=kind(**material))
    return mesh


def draw(*parts, camera=FRONT, size=64):
    mesh, paint, _ = join_painted(parts)
    return render_views(
        mesh, camera, yfov=YFOV, size=size, crease=0.0, cull=False, depth=False, normal=False, paint=paint
    ).rgb[0]


def bytes_of(light: np.ndarray) -> np.ndarray:
    """RGBA bytes that stand for light, as a base colour of glTF's."""
    return np.append(np.round(255 * light), 255).astype(np.uint8)


def test_each_part_keeps_its_colour():
    tinted = trimesh.creation.box()
    tinted.visual.vertex_colors = np.tile([255, 128, 0, 7], (8, 1))
    faces = trimesh.creation.box()
    faces.visual.face_colors = np.arange(48).reshape(12, 4)
    plain, pbr = trimesh.creation.box(), square(baseColorFactor=[51, 102, 255, 255])
    obj = square(diffuse=[188, 0, 255, 255], kd=[0.7, 0, 1])
    mesh, paint, missing = join_painted([tinted, faces, plain, pbr, obj])
    assert missing == []
    assert np.array_equal(mesh.faces.shape, (12 + 12 + 12 + 2 + 2, 3))
    color = paint.base[paint.material][:, None] * paint.tint[mesh.faces]
    assert np.allclose(color[:12], decode_srgb(np.array([255, 128, 0], np.uint8)))
    assert np.allclose(color[12:24], decode_srgb(np.arange(48, dtype=np.uint8).reshape(12, 1, 4))[..., :3])
    assert np.allclose(color[24:36], BASE_COLOR)
    assert np.allclose(color[36:38], [0.2, 0.4, 1.0]), "glTF names light"
    assert np.allclose(color[38:], decode_srgb(np.array([188, 0, 255], np.uint8))), "OBJ names bytes"


def test_a_file_gives_back_the_colours_that_were_put_into_it(tmp_path):
    mesh = trimesh.creation.icosphere(1)
    mesh.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (42, 4))
    for kind in ("ply", "glb"):
        content = io.BytesIO(mesh.export(file_type=kind))
        parts = trimesh.load_scene(content, file_type=kind, process=False).dump()
        _, paint, _ = join_painted(parts)
        assert np.allclose(paint.tint, decode_srgb(mesh.visual.vertex_colors[:, :3]), atol=1e-6)


def test_a_picture_lies_upright_and_is_not_mirrored():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:2, :2] = [255, 0, 0]  # upper left
    picture[2:, 2:] = [0, 0, 255]  # lower right
    for material in ({"image": Image.fromarray(picture)}, {"baseColorTexture": Image.fromarray(picture)}):
        seen = draw(square(**material))
        upper_left, lower_right = seen[20, 20].astype(int), seen[43, 43].astype(int)
        assert upper_left[0] > 150 > 90 > upper_left[2]
        assert lower_right[2] > 150 > 90 > lower_right[0]


def test_a_texture_of_one_colour_is_that_colour_and_pbr_multiplies_it():
    picture = Image.new("RGB", (5, 3), (180, 90, 40))
    light = decode_srgb(np.array([180, 90, 40], np.uint8))
    factor = np.array([255, 128, 64, 255], np.uint8)
    plain = draw(square(baseColorFactor=bytes_of(light)))
    assert np.abs(draw(square(image=picture, diffuse=[9, 9, 9, 255])).astype(int) - plain).max() <= 2
    product = draw(square(baseColorFactor=bytes_of(light * factor[:3] / 255)))
    assert (
        np.abs(draw(square(baseColorTexture=picture, baseColorFactor=factor)).astype(int) - product).max()
        <= 3
    )


def test_textures_are_looked_up_in_perspective():
    """A floor seen at a slant: bands of equal width lie where rays meet them."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    mesh = square(image=Image.fromarray(ramp))
    mesh.visual.uv = UV * [0.5, 1] + [0.25, 0]
    turn = trimesh.transformations.rotation_matrix(math.radians(60), [0, 1, 0])
    slanted = mesh.copy().apply_transform(turn)
    seen = draw(slanted, size=128)[64, :, 0].astype(int)
    across = ((np.arange(128) + 0.5) / 64 - 1) * math.tan(YFOV / 2)
    # The ray (across, 0, -1) from (0, 0, 2.5) meets (s cos 60°, 0, -s sin 60°).
    s = 2.5 * across / (0.5 - across * math.sin(math.radians(60)))
    inside = np.abs(s) < 0.95
    light = decode_srgb(np.round(np.clip((0.25 + (s + 1) / 4) * 256 - 0.5, 0, 255)).astype(np.uint8))
    # All on one plane, so light depends on the colour only: it must rise exactly as the ramp does.
    order = np.interp(light[inside], *_brightness_of_gray(slanted))
    assert np.abs(seen[inside] - order).max() <= 3


def _brightness_of_gray(mesh):
    """Bytes that the middle of this mesh shows for grays."""
    grays = np.linspace(0, 255, 18).astype(np.uint8)
    shown = []
    for gray in grays:
        bare = mesh.copy()
        bare.visual = TextureVisuals(
            uv=UV, material=SimpleMaterial(Image.new("RGB", (2, 2), (int(gray),) * 3))
        )
        shown.append(draw(bare, size=128)[64, 64, 0])
    return decode_srgb(grays), np.array(shown, dtype=float)


def test_a_fine_texture_is_averaged_and_a_coarse_one_kept():
    fine = np.zeros((512, 512, 3), dtype=np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = 255
    seen = draw(square(image=Image.fromarray(fine)))[20:44, 20:44].astype(int)
    assert np.ptp(seen) < 20, "a chequered board of tiny fields is gray"
    mesh, paint, _ = join_painted([square(image=Image.fromarray(fine[:8, :8]))])
    fitted = fit_textures(paint, np.array(mesh.vertices), np.array(mesh.faces), 60.0)
    assert np.array_equal(fitted.textures[0], fine[:8, :8])


def test_textures_repeat():
    picture = np.zeros((1, 2, 3), dtype=np.uint8)
    picture[0, 1] = 255
    mesh = square(image=Image.fromarray(picture))
    mesh.visual.uv = UV * 4 - 1.5
    row = draw(mesh, size=64)[32, 10:54, 0].astype(int)
    changes = np.count_nonzero(np.diff(row > 90))
    assert changes == 7


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_picture_is_named_and_plain_colour_stands_in(kind):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, kind)
    picture = Image.open(io.BytesIO(file.getvalue()[:2000]))
    picture.info["file_path"] = "wood.picture"
    _, paint, missing = join_painted([square(image=picture, diffuse=[255, 0, 0, 255], kd=[1, 0, 0])])
    assert missing == ["wood.picture"]
    assert paint.textures == [None]


def test_nonsense_coordinates_do_no_harm():
    mesh = square(image=Image.new("RGB", (4, 4), (255, 0, 0)))
    mesh.visual.uv = np.array([[np.nan, 0], [np.inf, 1], [1e30, -1e30], [0, 1]])
    assert draw(mesh)[32, 32, 0] > 100


def test_parts_that_share_a_picture_share_the_material():
    picture = Image.new("RGB", (8, 8), (1, 2, 3))
    _, paint, _ = join_painted([square(image=picture), square(image=picture.copy()), trimesh.creation.box()])
    assert len(paint.textures) == 2
    assert paint.material.tolist() == [0] * 4 + [1] * 12


def test_colours_change_no_silhouette():
    mesh = trimesh.creation.icosphere(2)
    settings = {"yfov": YFOV, "size": 64, "crease": 1.0, "cull": False, "depth": False, "normal": False}
    joined, paint, _ = join_painted([mesh])
    cameras = fibonacci_cameras(3, 2.5)
    bare, painted = (
        render_views(mesh, cameras, **settings, paint=None),
        render_views(joined, cameras, **settings, paint=paint),
    )
    assert np.array_equal(bare.rgb, painted.rgb), "no colours: gray-blue"
    assert np.array_equal(bare.mask, painted.mask)


def test_no_parts_make_an_empty_mesh():
    mesh, paint, missing = join_painted([])
    assert len(mesh.faces) == len(paint.material) == len(missing) == 0
