"""Distances by mesh_to_sdf, which must be imported before pyrender, so tests run it in a separate process."""

import subprocess
import sys

import numpy as np
import pytest
import trimesh

from sdfkit.errors import MissingError
from sdfkit.runtime import mesh_to_sdf, opengl

SCRIPT = """
import sys
import numpy as np, trimesh
import mesh_to_sdf as library  # only to render fewer and smaller images: 20 of 100 pixels
from sdfkit.runtime import mesh_to_sdf
from sdfkit.errors import GeometryError

full = library.get_surface_point_cloud
library.get_surface_point_cloud = lambda mesh, **options: (
    print("a library speaks") or full(mesh, scan_count=20, scan_resolution=100, **options)
)
ball = trimesh.creation.icosphere(3, 0.8)
ball.visual.vertex_colors = np.full((len(ball.vertices), 4), 200, np.uint8)
points = np.random.default_rng(0).uniform(-1, 1, (2000, 3)).astype(np.float32)
truth = np.linalg.norm(points, axis=1) - 0.8
for sign in ("normal", "scan"):
    distance = mesh_to_sdf.scan_distances(ball, points, sign=sign)
    assert distance.dtype == np.float32
    assert np.abs(np.abs(distance) - np.abs(truth)).max() < 0.03
    assert np.mean((distance < 0) != (truth < 0)) < 0.05
speck = trimesh.Trimesh([[0, 0, 0], [0, 0, 0], [0, 0, 1]], [[0, 1, 2]], process=False)
try:
    mesh_to_sdf.scan_distances(speck, points, sign="normal")
except GeometryError as error:
    assert str(error) == "no surface: the shape is visible in no depth image; check that its faces have an area", error
else:
    raise AssertionError("a line was seen")
"""


@pytest.mark.slow
@pytest.mark.gl
def test_a_ball_is_measured_and_an_invisible_mesh_is_refused():
    try:
        mesh_to_sdf.check_driver()
    except MissingError as error:
        pytest.skip(str(error))
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True)
    if "cannot create a context" in result.stderr:
        pytest.skip(result.stderr.splitlines()[-1])
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "a library speaks" in result.stderr


def test_without_a_driver_the_error_suggests_the_exact_method(monkeypatch):
    monkeypatch.setattr(opengl, "find_library", lambda name: None)
    with pytest.raises(MissingError, match="libegl1 .*, or use --method exact, which needs no"):
        mesh_to_sdf.check_driver()


def test_an_import_error_of_mesh_to_sdf_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr(mesh_to_sdf, "check_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "mesh_to_sdf", None)
    with pytest.raises(
        MissingError, match=r"mesh_to_sdf cannot be imported \(import of mesh_to_sdf.*libegl1"
    ):
        mesh_to_sdf.scan_distances(trimesh.creation.box(), np.zeros((1, 3), np.float32), sign="normal")


def test_a_driver_without_context_is_reported_in_one_line(monkeypatch):
    class Library:
        @staticmethod
        def get_surface_point_cloud(mesh, **options):
            raise AssertionError("eglInitialize")

    monkeypatch.setattr(mesh_to_sdf, "check_driver", lambda: None)
    monkeypatch.setitem(sys.modules, "mesh_to_sdf", Library)
    with pytest.raises(MissingError, match=r"EGL cannot create a context \(eglInitialize\): .*libegl1"):
        mesh_to_sdf.scan_distances(trimesh.creation.box(), np.zeros((1, 3), np.float32), sign="normal")
