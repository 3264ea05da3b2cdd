"""Baselines without a model: the mean shape, the nearest shape and retrieval."""

import numpy as np
import pytest
import trimesh
from trimesh.creation import box, icosphere

from sdfkit.errors import GeometryError
from sdfkit.geometry.baselines import (
    CLOUD,
    MeanShape,
    NearestShapes,
    digest_geometry,
    grid_nodes,
    measure_grid,
    retrieve,
)
from sdfkit.geometry.metrics import point_tree
from sdfkit.geometry.sampling import sample_surface


def mean_of(*meshes: trimesh.Trimesh) -> tuple[trimesh.Trimesh, float]:
    mean = MeanShape()
    for mesh in meshes:
        mean.add(measure_grid(mesh))
    return mean.extract()


def test_the_mean_of_balls_is_a_ball_of_their_mean_volume():
    shape, level = mean_of(icosphere(4, 0.5), icosphere(4, 0.8))
    radius = np.cbrt((0.5**3 + 0.8**3) / 2)
    lengths = np.linalg.norm(shape.vertices, axis=1)
    assert np.ptp(lengths) < 0.01 and lengths.mean() == pytest.approx(radius, abs=0.005)
    assert level == pytest.approx(radius - 0.65, abs=0.005)  # the mean distance is |x| - 0.65
    assert shape.is_watertight and shape.volume > 0


def test_the_mean_shape_of_disjoint_shapes_is_not_empty():
    apart = [icosphere(3, 0.3).apply_translation([x, 0, 0]) for x in (-0.6, 0.6)]
    shape, level = mean_of(*apart)
    assert level > 0 and shape.volume == pytest.approx(apart[0].volume, rel=0.1)


def test_the_mean_shape_of_one_shape_is_the_shape():
    shape, level = mean_of(box((1, 0.8, 0.6)))
    assert shape.volume == pytest.approx(0.48, rel=0.05) and abs(level) < 0.03
    assert np.allclose(np.abs(shape.bounds), [0.5, 0.4, 0.3], atol=0.04)


def test_grid_nodes_fill_the_ball():
    kept, nodes = grid_nodes()
    assert len(nodes) == kept.sum() and np.linalg.norm(nodes, axis=1).max() <= 1
    assert kept.sum() == pytest.approx(np.pi / 6 * 48**3, rel=0.01)


def test_sheets_have_no_mean_shape():
    sheet = trimesh.Trimesh(np.eye(3), [[0, 1, 2]], process=False)
    with pytest.raises(GeometryError, match="no training shape has an inside; run sdfkit watertight first"):
        mean_of(sheet)


def test_a_training_shape_outside_the_unit_frame_is_refused():
    with pytest.raises(
        GeometryError, match="is not in the unit frame: a vertex is at distance 3 from the origin"
    ):
        measure_grid(icosphere(2, 3))


def random_shapes(count: int, rng: np.random.Generator) -> list[trimesh.Trimesh]:
    """Shapes of two boxes at random positions, some similar, some not."""
    return [
        trimesh.util.concatenate(
            [box(rng.uniform(0.1, 0.8, 3)).apply_translation(rng.uniform(-0.4, 0.4, 3)) for _ in range(2)]
        )
        for _ in range(count)
    ]


@pytest.mark.slow
def test_nearest_shape_agrees_with_exhaustive_search():
    rng = np.random.default_rng(0)
    clouds = np.array([sample_surface(mesh, CLOUD, rng)[0] for mesh in random_shapes(50, rng)], np.float32)
    trees = [point_tree(cloud.astype(np.float64)) for cloud in clouds]
    nearest = NearestShapes(clouds)
    for mesh in random_shapes(6, rng):
        points = sample_surface(mesh, CLOUD, rng)[0]
        tree = point_tree(points)
        chamfer = [
            known.closest(points)[0].mean() + tree.closest(cloud.astype(np.float64))[0].mean()
            for known, cloud in zip(trees, clouds, strict=True)
        ]
        assert nearest.find(points) == np.argmin(chamfer)


def test_retrieval_ignores_feature_length_and_view_order():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(7, 3, 16))
    order = rng.permutation(7)
    scaled = known[order][:, [2, 0, 1, 1, 0, 2]] * rng.uniform(0.1, 10, (7, 1, 1))
    assert retrieve(scaled, known).tolist() == order.tolist()


def test_each_view_is_compared_with_the_most_similar_view_of_a_shape():
    front, back, other = np.eye(3)
    known = np.stack([[front, -front, back], [front + back, front + back, front + back]])
    assert retrieve(front[None, None], known).tolist() == [0]
    assert retrieve(np.stack([[back + front, front + other]]), known).tolist() == [1]


def test_equal_geometry_has_an_equal_digest():
    ball, same, other = icosphere(2), icosphere(2), icosphere(2, 1.001)
    same.metadata["name"] = "another"
    assert digest_geometry(ball) == digest_geometry(same) != digest_geometry(other)
