"""Results that are compared with stored arrays, to detect unintended changes.

Correctness is tested elsewhere. After an intended change run `python -m pytest tests/golden --rewrite-golden`, and look
at the differences. Tolerances allow for processors, compilers and versions of LAPACK that round the last digit
differently; a comparison with a threshold (whether a sample of a pixel is covered, on which side a corner lies) may
then have another result.
"""

import math

import numpy as np
import pytest
import trimesh

from sdfkit.geometry.distance.tree import TriangleTree
from sdfkit.geometry.shapes import generate, solid_mesh
from sdfkit.geometry.watertight.closing import make_watertight
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.models.diffusion import cosine_alphas


@pytest.fixture(scope="module")
def mug():
    """A generated shape with a handle, thin walls and an opening."""
    return solid_mesh(generate("mug", np.random.default_rng(0)), 48)


def describe(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.array([mesh.euler_number, mesh.area, mesh.volume, len(mesh.faces)])


def agree(found: np.ndarray, expected: np.ndarray) -> bool:
    """Compare the topology exactly, and measures with a tolerance for where the surface crosses the edges of cells."""
    return found[0] == expected[0] and np.allclose(found[1:], expected[1:], rtol=1e-3)


def test_cameras_equal_the_stored_values(golden):
    cameras = fibonacci_cameras(16, 2.5)
    assert np.allclose(cameras, golden("cameras", cameras), atol=1e-6)


def test_the_noise_schedule_equals_the_stored_values(golden):
    alphas = cosine_alphas(500)[[0, 50, 100, 200, 300, 450]].numpy()
    assert np.allclose(alphas, golden("schedule", alphas), rtol=1e-6, atol=0)


def test_a_generated_shape_equals_the_stored_values(golden, mug):
    found = describe(mug)
    assert agree(found, golden("shape", found))


def test_signed_distances_equal_the_stored_values(golden, mug):
    points = np.random.default_rng(0).uniform(-1, 1, (64, 3))
    distances = TriangleTree(mug.vertices, mug.faces).signed(points, "winding")
    # The mug's own vertices are within 1e-5 on every machine.
    assert np.allclose(distances, golden("distances", distances), atol=1e-4)


def test_a_closed_mesh_equals_the_stored_values(golden, mug):
    # Flip a third of the faces, and remove a piece of the handle.
    faces = mug.faces.copy()
    faces[::3] = faces[::3, ::-1]
    faces = faces[mug.triangles_center[:, 0] < np.quantile(mug.triangles_center[:, 0], 0.999)]
    broken = trimesh.Trimesh(mug.vertices, faces, process=False)
    found = describe(make_watertight(broken, resolution=48, gap=0.06, thickness=0.02, keep_parts=False))
    assert agree(found, golden("watertight", found))


def test_a_rendered_image_equals_the_stored_values(golden, mug):
    settings = {"yfov": math.radians(60), "size": 32, "crease": math.radians(45), "cull": False}
    views = render_views(
        mug, fibonacci_cameras(16, 2.5)[[5]], **settings, depth=False, normal=False, paint=None
    )
    picture = views.rgb[0]
    difference = np.abs(picture.astype(int) - golden("picture", picture)).max(axis=2)
    # Differences of one level, except at edges, where a sample of a pixel may be covered or not.
    assert (difference > 1).mean() < 0.01
