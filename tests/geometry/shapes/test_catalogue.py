"""Topology, extent and accuracy of the objects of every category."""

import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import InputError
from sdfkit.geometry.shapes import CATEGORIES, Solid, choose_categories, generate, solid_mesh
from tests.properties import examples

RESOLUTION = 72
# Tests of one category run one after the other, so that its example is made once, not in each of the test processes.
by_category = pytest.mark.parametrize("category", CATEGORIES, scope="module")


def stream(seed: int, row: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row,)))


@cache
def example(category: str) -> tuple[Solid, trimesh.Trimesh]:
    solid = generate(category, stream(1, 0))
    return solid, solid_mesh(solid, RESOLUTION)


def winding(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Winding numbers of points (van Oosterom and Strackee, 1983): 1 inside, 0 outside."""
    a, b, c = np.moveaxis(mesh.triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=2) for corner in (a, b, c))
    volume = (a * np.cross(b, c)).sum(axis=2)
    rest = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.arctan2(volume, rest).sum(axis=1) / (2 * np.pi)


@pytest.mark.slow
@by_category
def test_the_field_is_a_signed_distance_in_the_unit_frame(category: str) -> None:
    solid, mesh = example(category)
    rng = np.random.default_rng(0)

    # 1-Lipschitz, for pairs of near points and of distant ones.
    points = rng.uniform(-1, 1, (3000, 3))
    moved = points + rng.normal(size=points.shape) * 10 ** rng.uniform(-4, 0, (3000, 1))
    values = solid.distance(points)
    assert (np.abs(values - solid.distance(moved)) <= np.linalg.norm(points - moved, axis=1) + 1e-9).all()

    # The unit frame: nothing beyond the unit ball or the bounding box, and the mesh reaches both up to its
    # cells.
    far = np.linalg.norm(mesh.vertices, axis=1)
    assert far.max() <= 1 + 1e-3
    assert far.max() >= 1 - 3 / RESOLUTION
    assert (np.abs(mesh.vertices) <= solid.half_extents + 1e-3).all()

    # The sign is that of the mesh, away from the surface by half a cell.
    clear = np.flatnonzero(np.abs(values) > 1 / RESOLUTION)
    inside = clear[values[clear] < 0][:6]
    outside = clear[values[clear] > 0][:6]
    assert np.allclose(winding(mesh, points[inside]), 1, atol=1e-3)
    assert np.allclose(winding(mesh, points[outside]), 0, atol=1e-3)


@pytest.mark.slow
@by_category
def test_the_mesh_is_closed_with_the_declared_topology(category: str) -> None:
    solid, mesh = example(category)
    promise = CATEGORIES[category]
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert np.abs(solid.distance(mesh.vertices)).max() < 1e-5
    if promise.pieces:
        assert mesh.body_count == promise.pieces
    if promise.euler is not None:
        assert mesh.euler_number == promise.euler


@pytest.mark.slow
@by_category
def test_the_value_is_near_the_true_distance(category: str) -> None:
    """Near the surface, the value is at least half of the distance; outside exact fields, it equals the distance.

    Points are projected onto the surface. The distance is at least the value and at most the length of the projection,
    so value / length is at most value / distance. This needs neither a mesh nor a tolerance for one.
    """
    solid, mesh = example(category)
    rng = np.random.default_rng(2)
    points = mesh.vertices[rng.integers(len(mesh.vertices), size=500)] + rng.normal(size=(500, 3)) * 0.03
    values = solid.distance(points)
    walked = solid.project(points)
    landed = np.abs(solid.distance(walked)) < 1e-5
    assert landed.mean() > 0.95
    ratio = np.abs(values) / np.maximum(np.linalg.norm(walked - points, axis=1), 1e-12)
    outside, inside = (landed & (sign * values > 0.002) & (np.abs(values) < 0.05) for sign in (1, -1))
    if solid.exact:
        assert np.quantile(ratio[outside], 0.03) > 0.999
    assert np.quantile(ratio[outside], 0.05) > 0.5
    assert np.quantile(ratio[inside], 0.1) > 0.5
    assert ratio[inside].mean() > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("category", ["wagon_wheel", "tunnel", "torus_knot"])
@pytest.mark.parametrize("seed", range(2))
def test_the_declared_topology_holds_for_every_seed(category: str, seed: int) -> None:
    mesh = solid_mesh(generate(category, stream(seed, 7)), 112)
    assert mesh.euler_number == {"wagon_wheel": -24, "tunnel": 0, "torus_knot": 0}[category]
    assert mesh.body_count == 1


@pytest.mark.parametrize("seed", [1003, 1004])
def test_the_farthest_point_is_found_among_two_nearly_equal_ones(seed: int) -> None:
    """The foot and the seat of these stools extend equally far, up to the accuracy of the first search.

    The mesh bevels the sharp rim of the foot by about a cell; with twice as many cells, by half as much. Hence the
    extrapolation.
    """
    solid = generate("stool", stream(seed, 5))
    coarse, fine = (
        float(np.linalg.norm(solid_mesh(solid, cells).vertices, axis=1).max()) for cells in (96, 192)
    )
    assert fine <= 1 + 1e-4
    assert 2 * fine - coarse == pytest.approx(1, abs=1e-3)


def test_a_chain_consists_of_interlocked_rings() -> None:
    links = solid_mesh(generate("chain", stream(0, 0)), 112).split()
    assert 3 <= len(links) <= 6
    assert {link.euler_number for link in links} == {0}
    # The bounding boxes of neighbouring links overlap, so the links are interlocked.
    order = sorted(links, key=lambda link: link.centroid[0])
    for left, right in itertools.pairwise(order):
        assert left.bounds[1, 0] > right.bounds[0, 0]


def test_there_are_forty_categories_in_groups() -> None:
    assert len(CATEGORIES) >= 40
    groups = [category.group for category in CATEGORIES.values()]
    assert groups == sorted(groups)
    assert len(set(groups)) >= 6
    for name, category in CATEGORIES.items():
        assert category.name == name
        assert category.summary.endswith(".")


@pytest.mark.slow
@examples(3)
@given(st.sampled_from(sorted(CATEGORIES)), st.integers(0, 2**32 - 1))
def test_equal_seeds_give_equal_bytes_and_different_seeds_differ(category: str, seed: int) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    one, same, other = (generate(category, stream(s, 3)) for s in (seed, seed, seed + 1))
    assert one.distance(points).tobytes() == same.distance(points).tobytes()
    assert one.distance(points).tobytes() != other.distance(points).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("category", ["chair", "teapot", "horse"])
def test_objects_of_a_category_differ(category: str) -> None:
    grid = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    filled = [generate(category, stream(seed, 0)).distance(grid) < 0 for seed in range(4)]
    for i in range(4):
        for j in range(i):
            assert (filled[i] & filled[j]).sum() / (filled[i] | filled[j]).sum() < 0.95


def test_values_do_not_depend_on_the_other_points() -> None:
    solid, _ = example("bicycle")
    points = np.random.default_rng(4).uniform(-1, 1, (300, 3))
    together = solid.distance(points)
    assert np.allclose(solid.distance(points[::-1])[::-1], together, rtol=0, atol=1e-13)
    assert np.allclose(solid.distance(points[17:18]), together[17], rtol=0, atol=1e-13)


def test_float32_points_give_float64_distances() -> None:
    solid, _ = example("mug")
    points = np.zeros((3, 3), dtype=np.float32)
    assert solid.distance(points).dtype == np.float64
    assert solid.distance(points[:0]).shape == (0,)


@given(st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_no_category_is_repeated_before_all_were_drawn(count: int, seed: int) -> None:
    chosen = choose_categories(count, np.random.default_rng(seed))
    assert len(chosen) == count
    assert set(chosen) <= set(CATEGORIES)
    times = Counter(chosen)
    assert max(times.values(), default=0) <= -(-count // len(CATEGORIES))
    assert chosen == choose_categories(count + 50, np.random.default_rng(seed))[:count]


def test_different_seeds_draw_categories_in_different_orders() -> None:
    one, two = (choose_categories(20, np.random.default_rng(seed)) for seed in (0, 1))
    assert one != two


def test_an_unknown_category_is_answered_with_similar_names() -> None:
    with pytest.raises(InputError, match=r"category 'chiar': does not exist; did you mean .*chair"):
        generate("chiar", np.random.default_rng(0))
    with pytest.raises(InputError, match=r"category 'qqqq': does not exist; --list prints all names"):
        generate("qqqq", np.random.default_rng(0))
