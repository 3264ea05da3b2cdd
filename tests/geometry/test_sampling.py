"""Samples of shapes whose distance is known exactly."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import GeometryError
from sdfkit.geometry.sampling import SdfSamples, face_normals, sample_sdf, sample_surface
from tests.properties import examples

SIDES = np.array([1.0, 0.8, 0.3])
BOX = trimesh.creation.box(SIDES)


def box_distance(points: np.ndarray) -> np.ndarray:
    q = np.abs(points.astype(np.float64)) - SIDES / 2
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def draw(mesh: trimesh.Trimesh, seed: int = 0, **settings: object) -> SdfSamples:
    plain = {"points": 20_000, "near_share": 0.5, "near_std": (0.05, 0.01), "surface_points": 5000}
    plain |= {"sign": "normal", "measure": None}
    return sample_sdf(mesh, **(plain | settings), rng=np.random.default_rng(seed))


@examples(20)
@given(
    st.integers(0, 2000), st.floats(0, 1), st.sampled_from(["normal", "winding"]), st.integers(0, 2**32 - 1)
)
def test_sampled_distances_equal_the_closed_form_of_a_box(points, near_share, sign, seed):
    try:
        samples = draw(BOX, seed, points=points + 50, near_share=near_share, sign=sign)
    except GeometryError as error:  # 50 points may all miss a box that fills 3 % of the cube
        assert "has no inside" in str(error) and points < 400
        return
    assert samples.near.sum() == round((points + 50) * near_share)
    assert np.abs(samples.point).max() <= 1
    assert np.allclose(samples.distance, box_distance(samples.point), rtol=0, atol=1e-7)
    assert samples.sign_agreement == 1


def test_near_points_are_normally_distributed_and_others_uniform():
    # Above the middle of a slab that extends to the sides of the cube, the distance depends only on the height.
    slab = trimesh.creation.box((2, 1e-3, 2))
    samples = draw(slab, points=100_000, near_std=(0.08, 0.02), surface_points=0)
    height = samples.point[samples.near, 1]
    for moment, truth in ((2, np.mean([0.08**2, 0.02**2])), (4, 3 * np.mean([0.08**4, 0.02**4]))):
        assert np.mean(height**moment) == pytest.approx(truth, rel=0.05)
    for axis in range(3):
        counts, _ = np.histogram(samples.point[~samples.near, axis], bins=10, range=(-1, 1))
        assert np.abs(counts - 5000).max() < 5 * np.sqrt(5000)


def test_every_prefix_has_the_same_distribution():
    samples = draw(BOX, points=40_000, near_share=0.3)
    for start in range(0, 40_000, 4000):
        part = slice(start, start + 4000)
        assert abs(samples.near[part].mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)
        assert abs((samples.distance[part] < 0).mean() - (samples.distance < 0).mean()) < 5 * np.sqrt(
            0.25 / 4000
        )


def test_surface_points_are_uniform_by_area_with_correct_normals():
    samples = draw(BOX, surface_points=50_000)
    assert np.abs(box_distance(samples.surface_point)).max() < 1e-7
    onto = np.abs(samples.surface_point) / (SIDES / 2)
    axis = onto.argmax(axis=1)
    outward = np.eye(3)[axis] * np.sign(samples.surface_point)
    assert np.array_equal(samples.surface_normal, outward)
    area = np.prod(SIDES) / SIDES
    expected = 50_000 * area / area.sum()
    assert (np.abs(np.bincount(axis) - expected) < 5 * np.sqrt(expected)).all()
    # Uniform within a face: an eighth of the large face contains an eighth of its points.
    top = samples.surface_point[axis == 2]
    quarter = ((top[:, 0] > 0.25) & (top[:, 1] > 0)).mean()
    assert abs(quarter - 1 / 8) < 5 * np.sqrt(1 / 8 * 7 / 8 / len(top))


def test_the_seed_determines_every_byte():
    one, same, other = draw(BOX, 7), draw(BOX, 7), draw(BOX, 8)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one[:5], same[:5], strict=True))
    assert not np.array_equal(one.point, other.point)
    assert all(array.dtype == np.float32 for array in (*one[:2], *one[3:5])) and one.near.dtype == bool


def test_an_open_sphere_keeps_its_winding_signs_and_lowers_the_agreement():
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.7)
    torn = trimesh.Trimesh(ball.vertices, ball.faces[rng.random(len(ball.faces)) > 0.02], process=False)
    samples = draw(torn, sign="winding")
    truth = np.linalg.norm(samples.point, axis=1) - 0.7
    clear = np.abs(truth) > 0.02
    assert np.mean((samples.distance < 0)[clear] != (truth < 0)[clear]) < 1e-3
    assert samples.sign_agreement > 0.999

    flipped = ball.faces.copy()
    half = rng.random(len(flipped)) < 0.3
    flipped[half] = flipped[half, ::-1]
    assert draw(trimesh.Trimesh(ball.vertices, flipped, process=False)).sign_agreement < 0.9


def test_faces_without_area_are_never_drawn_and_have_no_normal():
    mesh = trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 1, 2], [1, 2, 1]], process=False
    )
    _, face = sample_surface(mesh, 1000, np.random.default_rng(0))
    assert (face == 1).all()
    assert np.array_equal(face_normals(mesh), [[0, 0, 0], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (
            trimesh.creation.box((3, 1, 1)),
            r"is not in the unit frame: a vertex has the coordinate 1\.5, beyond 1; run",
        ),
        (trimesh.Trimesh(), "has no area: there are no faces, or the corners of each lie on a line"),
        (trimesh.Trimesh(np.eye(3), [[0, 1, 1]], process=False), "has no area: there are no faces"),
        (
            trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False),
            "has no inside: all 20000 query points are outside",
        ),
        (trimesh.Trimesh(BOX.vertices, BOX.faces[:, ::-1], process=False), "a sheet or inside out; run"),
    ],
)
def test_meshes_that_cannot_be_sampled_are_refused(mesh, message):
    with pytest.raises(GeometryError, match=message):
        draw(mesh, sign="winding")
