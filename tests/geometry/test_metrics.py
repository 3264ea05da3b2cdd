"""Scores against closed forms, and against a second implementation of the same definitions."""

from dataclasses import asdict

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sdfkit.errors import GeometryError
from sdfkit.geometry.metrics import (
    DEFINITIONS,
    SCORES,
    Comparison,
    SampledSurface,
    bootstrap_interval,
    compare_meshes,
    compare_pairwise,
    compare_surfaces,
    pairwise_chamfer,
    summarise,
)
from tests.properties import examples

FLAT = trimesh.Trimesh(np.eye(3), [[0, 1, 1]], process=False)


def compare(predicted, truth, points: int = 100_000, seed: int = 0) -> Comparison:
    return compare_meshes(predicted, truth, points=points, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("gap", [0.01, 0.05, 0.15])
def test_scores_of_concentric_spheres_agree_with_closed_forms(gap):
    inner = trimesh.creation.icosphere(subdivisions=5, radius=0.8)
    outer = trimesh.creation.icosphere(subdivisions=5, radius=0.8 + gap)
    scores = compare(inner, outer, points=30_000)
    # Points do not face each other. Sideways the nearest of N even ones on an area A is more than s away for
    # exp(-pi s^2 N / A) of them, which is A / (pi N) in the mean square.
    sideways = 4 * (0.8 + gap / 2) ** 2 / 30_000
    assert gap < scores.chamfer < 1.01 * np.hypot(gap, np.sqrt(sideways))
    assert scores.chamfer_deepsdf == pytest.approx(2000 * (gap**2 + sideways), rel=0.01)
    for score, near in ((scores.f_score_1, 0.02), (scores.f_score_5, 0.1)):
        assert score == pytest.approx(1 - np.exp(-max(near**2 - gap**2, 0) / sideways), abs=0.005)
    assert scores.iou == pytest.approx((0.8 / (0.8 + gap)) ** 3, abs=0.01)
    assert scores.normal_consistency > 0.99


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 1.5])
def test_iou_of_shifted_cubes_agrees_with_a_closed_form(shift):
    one, two = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 1))
    two.apply_translation([shift, 0, 0])
    overlap = max(1 - shift, 0) / (1 + min(shift, 1))
    assert compare(one, two, points=30_000).iou == pytest.approx(overlap, abs=0.01)


def test_the_chamfer_distance_of_equal_surfaces_is_the_spacing_of_points():
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.8)
    scores = compare(ball, ball)
    # Nearest of N even points on area A: sqrt(A / N) / 2 away in the mean, A / (pi N) in the mean square.
    assert scores.chamfer == pytest.approx(0.5 * np.sqrt(ball.area / 100_000), rel=0.01)
    assert scores.chamfer_deepsdf == pytest.approx(2000 * ball.area / (np.pi * 30_000), rel=0.03)
    assert scores.f_score_1 > 0.9999 and scores.f_score_5 == scores.iou == 1


def test_normal_consistency_of_perpendicular_planes_is_0():
    floor = trimesh.creation.box((1, 1e-6, 1))
    wall = trimesh.creation.box((1e-6, 1, 1))
    assert compare(floor, wall, points=5000).normal_consistency < 0.01
    assert compare(floor, floor, points=5000).normal_consistency > 0.99


def search(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and index of the nearest point of `there` for each point of `here`, by exhaustive search."""
    parts = [cdist(part, there) for part in np.array_split(here, 20)]
    return np.concatenate([p.min(axis=1) for p in parts]), np.concatenate([p.argmin(axis=1) for p in parts])


@pytest.mark.slow
def test_scores_agree_with_an_independent_implementation_to_one_percent():
    predicted = trimesh.creation.torus(0.65, 0.25, major_sections=64, minor_sections=32)
    truth = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    scores = compare(predicted, truth, points=10_000)
    a, face_a = trimesh.sample.sample_surface(predicted, 10_000, seed=1)
    b, face_b = trimesh.sample.sample_surface(truth, 10_000, seed=2)
    (to_b, in_b), (to_a, in_a) = search(a, b), search(b, a)
    normal_a, normal_b = predicted.face_normals[face_a], truth.face_normals[face_b]
    consistency = np.abs([(normal_a * normal_b[in_b]).sum(1), (normal_b * normal_a[in_a]).sum(1)]).mean()
    assert scores.chamfer == pytest.approx((to_b.mean() + to_a.mean()) / 2, rel=0.01)
    assert scores.chamfer_deepsdf == pytest.approx(1000 * ((to_b**2).mean() + (to_a**2).mean()), rel=0.02)
    assert scores.normal_consistency == pytest.approx(consistency, rel=0.01)
    for score, near in ((scores.f_score_1, 0.02), (scores.f_score_5, 0.1)):
        precision, recall = (to_b < near).mean(), (to_a < near).mean()
        assert score == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01)


@pytest.mark.parametrize("shift", [0.02, 0.2, 0.6])
def test_iou_of_shifted_spheres_agrees_with_a_closed_form(shift):
    one, two = (trimesh.creation.icosphere(5, 0.5) for _ in range(2))
    two.apply_translation([0, shift, 0])
    lens = np.pi * (1 - shift) ** 2 * (shift**2 + 2 * shift) / (12 * shift)  # of two balls of radius 1/2
    scores = compare(one, two, points=30_000)
    assert scores.iou == pytest.approx(lens / (2 * np.pi / 6 - lens), abs=0.01)
    assert scores.volume_ratio == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gap", "one", "five"), [(0.01, 1, 1), (0.05, 0, 1), (0.2, 0, 0)])
def test_f_scores_of_parallel_squares_depend_on_the_threshold(gap, one, five):
    floor = trimesh.Trimesh(
        [[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], [[0, 1, 2], [0, 2, 3]], process=False
    )
    floor.apply_scale(0.5)
    lifted = floor.copy()
    lifted.apply_translation([0, gap, 0])
    scores = compare(lifted, floor, points=50_000)
    assert scores.f_score_1 == pytest.approx(one, abs=0.001) and scores.f_score_5 == pytest.approx(
        five, abs=0.001
    )
    assert scores.chamfer == pytest.approx(gap, rel=0.05) and scores.normal_consistency == pytest.approx(1)


def test_pairwise_chamfer_of_parallel_squares_is_their_distance_and_0_if_equal():
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    draw = np.random.default_rng(0)
    heights = (0, 0, 0.25, 1)
    samples = [
        SampledSurface(square.copy().apply_translation([0, 0, height]), points=500, rng=draw)
        for height in heights
    ]
    assert np.allclose(pairwise_chamfer(samples), [0, 0.25, 1, 0.25, 1, 0.75], atol=1e-6)
    assert pairwise_chamfer(samples[:1]) == []


def test_rotating_both_meshes_does_not_change_the_scores():
    one, two = trimesh.creation.box((1, 0.6, 0.3)), trimesh.creation.torus(0.5, 0.2)
    turn = trimesh.transformations.random_rotation_matrix(np.array([0.1, 0.7, 0.4]))
    here = compare(one, two, 10_000)
    there = compare(one.apply_transform(turn), two.apply_transform(turn), 10_000)
    # The cube around both meshes does not rotate with them, so the IoU uses other points.
    assert there.iou == pytest.approx(here.iou, abs=0.03)
    volume = {"iou", "volume_ratio"}
    assert asdict(there) == pytest.approx({**asdict(here), **{name: asdict(there)[name] for name in volume}})


def test_a_mesh_with_inward_faces_has_iou_0():
    ball, turned = trimesh.creation.icosphere(3), trimesh.creation.icosphere(3)
    turned.invert()
    scores = compare(turned, ball, points=5000)
    assert scores.iou == scores.volume_ratio == 0 and scores.normal_consistency > 0.98


def test_open_meshes_and_several_pieces_are_scored():
    ball = trimesh.creation.icosphere(3)
    half = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 1] > 0], process=False)
    sheet = compare(half, ball, points=5000)
    assert 0.3 < sheet.iou < 0.9  # the winding number closes the bowl with a membrane
    assert compare(ball, half, points=5000).volume_ratio == pytest.approx(1 / sheet.volume_ratio, rel=0.1)
    parts = [trimesh.creation.icosphere(2, 0.3).apply_translation([x, 0, 0]) for x in (-0.6, 0, 0.6)]
    many = compare(trimesh.util.concatenate(parts), parts[1], points=20_000)
    assert many.iou == pytest.approx(1 / 3, abs=0.02) and many.volume_ratio == pytest.approx(3, abs=0.2)


def test_one_sampled_surface_can_be_compared_with_several():
    one, two = trimesh.creation.box(), trimesh.creation.icosphere(3, 0.6)
    truth = SampledSurface(one, points=2000, rng=np.random.default_rng(0))
    guess = SampledSurface(two, points=2000, rng=np.random.default_rng(1))
    first = compare_surfaces(guess, truth, np.random.default_rng(2))
    compare_surfaces(truth, truth, np.random.default_rng(3))
    assert compare_surfaces(guess, truth, np.random.default_rng(2)) == first


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8), st.randoms())
@examples(5)
def test_methods_are_compared_on_each_shape(pairs, random):
    ours, theirs = ([dict.fromkeys(SCORES, value) for value in side] for side in zip(*pairs, strict=True))
    duel = compare_pairwise(ours, theirs, np.random.default_rng(0))
    for name, line in duel.items():
        wins = [a < b if name.startswith("chamfer") else a > b for a, b in pairs]
        assert line["better"] == pytest.approx(np.mean(wins))
        assert line["difference"] == pytest.approx(np.mean([a - b for a, b in pairs]))
        assert line["low"] - 1e-12 <= line["difference"] <= line["high"] + 1e-12
    random.shuffle(pairs)
    shuffled = compare_pairwise(
        [dict.fromkeys(SCORES, a) for a, _ in pairs],
        [dict.fromkeys(SCORES, b) for _, b in pairs],
        np.random.default_rng(0),
    )
    assert all(shuffled[name]["difference"] == pytest.approx(duel[name]["difference"]) for name in SCORES)
    assert compare_pairwise([], [], np.random.default_rng(0)) == {}


@pytest.mark.slow
@examples(10)
@given(st.floats(0.2, 1), st.floats(0.2, 1), st.integers(0, 1000))
def test_metrics_are_symmetric_in_prediction_and_truth(a, b, seed):
    one, two = trimesh.creation.box((a, 0.5, 0.5)), trimesh.creation.box((0.5, b, 0.5))
    here, there = compare(one, two, 5000, seed), compare(two, one, 5000, seed + 1)
    assert here.chamfer == pytest.approx(there.chamfer, rel=0.1)
    assert here.iou == pytest.approx(there.iou, abs=0.08)
    assert compare(one, two, 5000, seed) == here


@pytest.mark.parametrize("nothing", [None, trimesh.Trimesh(), FLAT])
def test_an_empty_prediction_scores_the_worst(nothing):
    diagonal = np.sqrt(12)
    assert compare(nothing, trimesh.creation.box()) == Comparison(diagonal, 24_000.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert f"{diagonal:.3f}" in DEFINITIONS


def test_iou_of_two_open_sheets_is_0():
    sheet = trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False)
    assert compare(sheet, sheet, points=1000).iou == 0


@pytest.mark.parametrize("truth", [trimesh.Trimesh(), FLAT])
def test_a_truth_without_area_is_refused(truth):
    with pytest.raises(GeometryError, match="has no area, so there is no surface to compare with"):
        compare(trimesh.creation.box(), truth)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_vertex_is_refused(bad):
    broken = trimesh.Trimesh(np.diag([1, 1, bad]), [[0, 1, 2]], process=False)
    for pair in ((broken, trimesh.creation.box()), (trimesh.creation.box(), broken)):
        with pytest.raises(GeometryError, match="vertices are NaN or infinite, so there is no distance"):
            compare(*pair)


def test_every_score_is_defined_in_the_text():
    assert all(f"\n{name} " in DEFINITIONS for name in SCORES)


@pytest.mark.slow
def test_the_confidence_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(50):
        low, high = bootstrap_interval(rng.normal(3, 1, 50), rng)
        hits += low < 3 < high
    assert 42 <= hits <= 50
    assert bootstrap_interval(np.array([2.0, 2.0]), rng) == (2.0, 2.0)


def test_a_summary_names_the_worst_shape_for_each_score():
    box, half = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 0.5))
    scores = [asdict(compare(mesh, box, points=2000)) for mesh in (box, half, None)]
    summary = summarise(scores, np.random.default_rng(0))
    assert tuple(summary) == SCORES and summarise([], np.random.default_rng(0)) == {}
    for name, line in summary.items():
        values = [score[name] for score in scores]
        assert line["worst"] == values[2] and line["worst_row"] == 2 and line["median"] == values[1]
        assert line["mean"] == pytest.approx(np.mean(values)) and line["low"] <= line["mean"] <= line["high"]


def test_no_values_have_no_interval():
    with pytest.raises(ValueError, match="there are no values, but an interval needs at least one"):
        bootstrap_interval(np.zeros(0), np.random.default_rng(0))
