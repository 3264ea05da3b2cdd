import importlib.util
import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from sdfkit.errors import GeometryError, MissingError
from sdfkit.images.rendering import rasteriser
from sdfkit.images.rendering.appearance import Material, Part, Texture
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.paint import WRAPS, Paint, join_parts, load_textures
from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.runtime import opengl

SETTINGS = {
    "yfov": math.radians(55),
    "size": 224,
    "crease": 1.0,
    "cull": True,
    "depth": False,
    "normal": False,
    "paint": None,
}


def wheel() -> trimesh.Trimesh:
    """A rim with spokes one pixel thick."""
    rim = trimesh.creation.torus(0.98, 0.012, major_sections=96, minor_sections=8)
    spokes = [
        trimesh.creation.cylinder(0.008, segment=[[0, 0, 0], [math.cos(a), math.sin(a), 0]], sections=8)
        for a in np.linspace(0, 2 * math.pi, 13, endpoint=False)
    ]
    return trimesh.util.concatenate([rim, *spokes])


def half() -> trimesh.Trimesh:
    ball = trimesh.creation.icosphere(4)
    return trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 1] < 0.2], process=False)


SHAPES = {
    "sphere": (lambda: trimesh.creation.icosphere(4), {}),
    "box": (lambda: trimesh.creation.box([1.2, 0.8, 0.5]), {"crease": 0.0}),
    "torus": (lambda: trimesh.creation.torus(0.7, 0.3), {}),
    "icosahedron": (lambda: trimesh.creation.icosahedron(), {"crease": 0.0}),
    "wheel": (wheel, {}),
    "open": (half, {"cull": False}),
    "open, culled": (half, {"cull": True}),
}


@pytest.fixture
def driver():
    try:
        opengl._shared_renderer()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.gl
@pytest.mark.parametrize("name", SHAPES)
def test_both_renderers_draw_the_same_image(driver, name):
    build, changed = SHAPES[name]
    mesh, cameras = build(), fibonacci_cameras(6, 2.5)
    settings = SETTINGS | changed
    ours, theirs = render_views(mesh, cameras, **settings), opengl.render_views_gl(mesh, cameras, **settings)
    assert theirs.rgb.shape == ours.rgb.shape
    assert theirs.mask.any()
    error = np.square(ours.rgb.astype(float) - theirs.rgb).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / np.maximum(error, 1e-9))).min() > 60
    ours, theirs = ours.mask >= 128, theirs.mask >= 128
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9995


def colours(name: str) -> tuple[trimesh.Trimesh, Paint]:
    """A ball and a box, with colours of each kind."""
    ball, box = trimesh.creation.icosphere(3), trimesh.creation.box([1.6, 0.4, 0.4])
    rng = np.random.default_rng(5)
    points, faces = np.array(ball.vertices), np.array(ball.faces)
    if name == "vertices":
        part = Part(points, faces, tint=rng.random((len(points), 3)))
    elif name == "faces":
        part = Part(points, faces, face_tint=rng.random((len(faces), 3)))
    else:
        # Not a multiple of four texels wide, continued, and with a seam where it is squeezed into one face.
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (7, 13, 3), dtype=np.uint8)).resize((61, 33)).save(file, "PNG")
        along = np.arctan2(points[:, 0], points[:, 2]) / np.pi
        texture = Texture("picture.png", file.getvalue(), (name, name))
        uv = np.stack([2 * along, 1.3 * points[:, 1] - 0.2], axis=-1)
        part = Part(points, faces, Material((1.0, 1.0, 1.0), texture), uv)
    red = Part(np.array(box.vertices), np.array(box.faces), Material((0.8, 0.2, 0.35)))
    mesh, colors = join_parts([part, red])
    scale = rasteriser.pixels_per_unit(fibonacci_cameras(6, 2.5), SETTINGS["yfov"], SETTINGS["size"])
    paint, missing = load_textures(colors, np.array(mesh.vertices), np.array(mesh.faces), scale)
    assert not missing
    return mesh.apply_scale(0.9), paint


@pytest.mark.gl
@pytest.mark.parametrize("name", ["vertices", "faces", *WRAPS])
def test_both_renderers_draw_the_same_colours(driver, name):
    mesh, paint = colours(name)
    cameras, settings = fibonacci_cameras(6, 2.5), SETTINGS | {"paint": paint, "cull": False}
    ours, theirs = render_views(mesh, cameras, **settings), opengl.render_views_gl(mesh, cameras, **settings)
    error = np.square(ours.rgb.astype(float) - theirs.rgb).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / np.maximum(error, 1e-9))).min() > 45
    assert np.mean((ours.mask >= 128) != (theirs.mask >= 128)) < 1e-4, (
        "drivers may round an edge the other way"
    )
    assert ours.rgb.std(axis=(0, 1, 2)).min() > 10


@pytest.mark.gl
@pytest.mark.parametrize("crease", [0.0, 0.7, math.pi])
def test_both_renderers_show_the_front_of_a_sheet_with_a_coinciding_back(driver, crease):
    sheet = half()
    back = trimesh.Trimesh(sheet.vertices, np.roll(sheet.faces, 1, axis=0)[:, ::-1], process=False)
    cameras, settings = fibonacci_cameras(6, 2.5), SETTINGS | {"crease": crease, "cull": False}
    double = trimesh.util.concatenate([back, sheet])
    ours, theirs = (
        render_views(double, cameras, **settings),
        opengl.render_views_gl(double, cameras, **settings),
    )
    error = np.square(ours.rgb.astype(float) - theirs.rgb).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / np.maximum(error, 1e-9))).min() > 55


def test_pyrender_calls_the_private_methods_that_back_faces_override():
    """`Primitive._bind` and `_unbind` are not public: this test fails if a version of pyrender changes them."""
    advice = "pyrender has changed: adapt Back in sdfkit.runtime.opengl, or bound pyrender in pyproject"
    folder = Path(importlib.util.find_spec("pyrender").origin).parent
    primitive, renderer = ((folder / f"{name}.py").read_text() for name in ("primitive", "renderer"))
    body = renderer.partition("def _bind_and_draw_primitive(")[2].partition("\n    def ")[0]
    order = [
        body.find(text) for text in ("primitive._bind()", "glDrawElementsInstanced(", "primitive._unbind()")
    ]
    assert -1 < order[0] < order[1] < order[2], advice
    for name in ("_bind", "_unbind"):
        assert f"\n    def {name}(self):" in primitive, advice


@pytest.mark.gl
def test_consecutive_shapes_do_not_affect_each_other(driver):
    cameras = fibonacci_cameras(2, 2.5)
    ball, box = trimesh.creation.icosphere(3), trimesh.creation.box([0.5, 0.5, 0.5])
    first = opengl.render_views_gl(ball, cameras, **SETTINGS)
    second = opengl.render_views_gl(box, cameras, **SETTINGS)
    assert second.mask.sum() < first.mask.sum() / 2
    small = opengl.render_views_gl(ball, cameras, **SETTINGS | {"size": 56})
    assert small.mask.mean() == pytest.approx(first.mask.mean(), rel=0.01)
    again = opengl.render_views_gl(ball, cameras, **SETTINGS)
    assert np.array_equal(first.rgb, again.rgb)


@pytest.mark.gl
def test_depth_and_normals_agree_between_the_renderers(driver):
    mesh, cameras = trimesh.creation.icosphere(2), fibonacci_cameras(2, 2.5)
    settings = SETTINGS | {"depth": True, "normal": True}
    ours, theirs = render_views(mesh, cameras, **settings), opengl.render_views_gl(mesh, cameras, **settings)
    assert np.array_equal(ours.depth, theirs.depth)
    assert np.array_equal(ours.normal, theirs.normal)


@pytest.mark.gl
def test_a_mesh_without_faces_is_refused(driver):
    with pytest.raises(GeometryError, match="without faces cannot be drawn"):
        opengl.render_views_gl(
            trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=int), process=False),
            fibonacci_cameras(1, 2.5),
            **SETTINGS,
        )


def test_a_missing_driver_is_reported_with_the_package_to_install(monkeypatch):
    monkeypatch.setattr(opengl, "find_library", lambda name: None)
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    with pytest.raises(
        MissingError,
        match=r"no EGL driver is installed: install libegl1 .*Debian.*Fedora.*macOS.* CPU renderer",
    ):
        opengl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)


def test_osmesa_is_used_only_on_request(monkeypatch):
    monkeypatch.setattr(opengl, "find_library", lambda name: f"lib{name}.so")
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    assert opengl.choose_driver(opengl.REMEDY) == "EGL"
    monkeypatch.setenv("PYOPENGL_PLATFORM", "osmesa")
    assert opengl.choose_driver(opengl.REMEDY) == "OSMesa"
    monkeypatch.setattr(opengl, "find_library", lambda name: None)
    with pytest.raises(
        MissingError, match=r"PYOPENGL_PLATFORM is osmesa, but OSMesa is not installed: install libosmesa6"
    ):
        opengl.choose_driver(opengl.REMEDY)


def test_an_import_error_of_pyrender_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr(opengl, "find_library", lambda name: f"lib{name}.so.1")
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(
        MissingError, match=r"pyrender cannot be imported \(import of pyrender.*install libegl1"
    ):
        opengl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)


@pytest.mark.gl
def test_a_driver_without_context_is_reported_in_one_line(driver, monkeypatch):
    def refuse(width, height):
        raise AssertionError

    opengl._shared_renderer.cache_clear()
    monkeypatch.setattr(opengl._import_pyrender(), "OffscreenRenderer", refuse)
    with pytest.raises(
        MissingError, match=r"EGL cannot create a context \(AssertionError\): install libegl1"
    ):
        opengl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)
