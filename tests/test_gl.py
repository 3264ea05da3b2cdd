import importlib
import math

import numpy as np
import pytest
import trimesh

from sdfkit import gl
from sdfkit.errors import GeometryError, MissingError
from sdfkit.images.cameras import fibonacci_cameras
from sdfkit.images.render import render_views

SETTINGS = {
    "yfov": math.radians(55),
    "size": 224,
    "smooth": True,
    "cull": True,
    "depth": False,
    "normal": False,
}


def wheel() -> trimesh.Trimesh:
    """A rim and spokes a pixel thick."""
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
    "box": (lambda: trimesh.creation.box([1.2, 0.8, 0.5]), {"smooth": False}),
    "torus": (lambda: trimesh.creation.torus(0.7, 0.3), {}),
    "icosahedron": (lambda: trimesh.creation.icosahedron(), {"smooth": False}),
    "wheel": (wheel, {}),
    "open": (half, {"cull": False}),
    "open, culled": (half, {"cull": True}),
}


@pytest.fixture
def driver():
    try:
        gl._renderer()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.gl
@pytest.mark.parametrize("name", SHAPES)
def test_both_renderers_draw_the_same_picture(driver, name):
    build, changed = SHAPES[name]
    mesh, cameras = build(), fibonacci_cameras(6, 2.5)
    settings = SETTINGS | changed
    ours, theirs = render_views(mesh, cameras, **settings), gl.render_views_gl(mesh, cameras, **settings)
    assert theirs.rgb.shape == ours.rgb.shape
    assert theirs.mask.any()
    error = np.square(ours.rgb.astype(float) - theirs.rgb).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / np.maximum(error, 1e-9))).min() > 60
    ours, theirs = ours.mask >= 128, theirs.mask >= 128
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9995


@pytest.mark.gl
def test_shapes_drawn_one_after_the_other_do_not_mix(driver):
    cameras = fibonacci_cameras(2, 2.5)
    ball, box = trimesh.creation.icosphere(3), trimesh.creation.box([0.5, 0.5, 0.5])
    first = gl.render_views_gl(ball, cameras, **SETTINGS)
    second = gl.render_views_gl(box, cameras, **SETTINGS)
    assert second.mask.sum() < first.mask.sum() / 2
    small = gl.render_views_gl(ball, cameras, **SETTINGS | {"size": 56})
    assert small.mask.mean() == pytest.approx(first.mask.mean(), rel=0.01)
    again = gl.render_views_gl(ball, cameras, **SETTINGS)
    assert np.array_equal(first.rgb, again.rgb)


@pytest.mark.gl
def test_depth_and_normals_are_those_of_the_other_renderer(driver):
    mesh, cameras = trimesh.creation.icosphere(2), fibonacci_cameras(2, 2.5)
    settings = SETTINGS | {"depth": True, "normal": True}
    ours, theirs = render_views(mesh, cameras, **settings), gl.render_views_gl(mesh, cameras, **settings)
    assert np.array_equal(ours.depth, theirs.depth)
    assert np.array_equal(ours.normal, theirs.normal)


@pytest.mark.gl
def test_nothing_to_draw_is_refused(driver):
    with pytest.raises(GeometryError, match="without faces cannot be drawn"):
        gl.render_views_gl(
            trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=int), process=False),
            fibonacci_cameras(1, 2.5),
            **SETTINGS,
        )


def test_a_machine_without_a_driver_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(gl, "find_library", lambda name: None)
    with pytest.raises(MissingError, match=r"no EGL driver is installed: apt-get install .* CPU renderer"):
        gl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)


def test_a_broken_pyrender_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(gl, "find_library", lambda name: f"lib{name}.so.1")
    monkeypatch.setitem(importlib.sys.modules, "pyrender", None)
    with pytest.raises(MissingError, match=r"pyrender cannot be imported \(import of pyrender.*apt-get"):
        gl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)


@pytest.mark.gl
def test_a_driver_that_gives_no_context_is_told_in_one_line(driver, monkeypatch):
    def refuse(width, height):
        raise AssertionError

    gl._renderer.cache_clear()
    monkeypatch.setattr(gl._import_pyrender(), "OffscreenRenderer", refuse)
    with pytest.raises(MissingError, match=r"EGL gives no context \(AssertionError\): apt-get install"):
        gl.render_views_gl(trimesh.creation.box(), fibonacci_cameras(1, 2.5), **SETTINGS)
