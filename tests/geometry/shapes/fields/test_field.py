"""Primitives and operators: exact fields where declared exact, and lower bounds everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.geometry.shapes.fields.field import Field, difference, intersection, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    arc,
    bar,
    box,
    capsule,
    cone,
    ellipsoid,
    rod,
    round_cone,
    smooth_path,
    sphere,
    taper,
    torus,
    tube,
)
from sdfkit.geometry.shapes.fields.profiles import (
    circle,
    curve,
    lathe,
    plate,
    polygon,
    rectangle,
    shell,
    spline,
)
from tests.properties import examples

PATH = smooth_path([(0, 0, 0, 0.2), (0.5, 0.4, 0.1, 0.1), (1, 0.2, 0.4, 0.15), (1.2, 0.6, 0.1, 0.05)], 21)
PRIMITIVES = {
    "sphere": sphere((0.1, 0.2, 0.3), 0.7),
    "ellipsoid": ellipsoid((0.1, 0, 0), (1.0, 0.3, 0.06)),
    "round ellipsoid": ellipsoid((0, 0, 0), (0.5, 0.5, 0.5)),
    "box": box((0.1, 0, 0), (1.0, 0.4, 0.2), 0.0),
    "rounded box": box((0, 0, 0), (1.0, 0.4, 0.2), 0.1),
    "capsule": capsule((0, 0, 0), (1, 0.5, 0.2), 0.2),
    "round cone": round_cone((0, 0, 0), (0.8, 0.5, 0), 0.4, 0.1),
    "swallowed round cone": round_cone((0, 0, 0), (0.1, 0, 0), 0.5, 0.1),
    "rod": rod((0, 0, 0), (0.5, 1, 0.3), 0.3, 0.0),
    "rounded rod": rod((0, 0, 0), (0.5, 1, 0.3), 0.3, 0.1),
    "cone": cone((0, 0, 0), (0.4, 1, 0.1), 0.6, 0.1),
    "torus": torus((0, 0.1, 0), (1, 1, 0), 0.7, 0.2),
    "arc": arc((0, 0, 0), (0, 0, 1), (1, 1, 0), 0.8, 4.0, 0.1),
    "bar": bar((0, 0, 0), (1, 0.6, 0.3), 0.1, 0.3, (0, 1, 0), 0.03),
    "plate": plate([polygon((0, 0), (1, 0), (0.4, 0.4), (0, 1)), circle(0.25, 0.25, 0.1, 12)], 0.3, 0.0),
    "spline plate": plate([spline((0, 0), (1, 0), (0.6, 1), steps=5)], 0.2, 0.0),
    "lathe": lathe(polygon((0, 0), (0.6, 0), (0.2, 0.5), (0.5, 1), (0, 0.8)), 0.0),
    "shell": shell(curve([(0.4, 0), (0.8, 0.5), (0.3, 1)], 12), 0.08),
}
# Unions and moves keep exactness outside.
EXACT_OUTSIDE = PRIMITIVES | {
    "rounded plate": plate([polygon((0, 0), (1, 0), (0.4, 0.4), (0, 1))], 0.3, 0.04),
    "rounded lathe": lathe(polygon((0, 0), (0.6, 0), (0.2, 0.5), (0.5, 1), (0, 0.8)), 0.05),
    "union": union(PRIMITIVES["box"], PRIMITIVES["torus"], PRIMITIVES["arc"]),
    "tube": tube(PATH[:, :3], 0.06),
    "taper": taper(PATH[:, :3], PATH[:, 3]),
    "moved": PRIMITIVES["cone"]
    .rotated("z", 1.0)
    .scaled(0.7)
    .moved(0.2, 0.3, -0.4)
    .reflected("x")
    .dilated(0.05),
    "mirrored": box((0.6, 0, 0), (0.5, 0.4, 0.3), 0.0).mirrored("x"),
    "spun": rod((0.2, 0, 0), (1, 0.3, 0), 0.06, 0.0).repeated(7),
}
BOUNDS = {
    "difference": difference(PRIMITIVES["box"], sphere((0.5, 0.2, 0), 0.25)),
    "intersection": intersection(PRIMITIVES["sphere"], PRIMITIVES["ellipsoid"]),
    "smooth union": smooth_union(0.2, PRIMITIVES["torus"], PRIMITIVES["capsule"], PRIMITIVES["box"]),
}
FIELDS = EXACT_OUTSIDE | BOUNDS


def around(field: Field, count: int, seed: int) -> np.ndarray:
    """Points in a box 1.5 times as large as the field's box, axis first."""
    middle, half = (field.low + field.high) / 2, (field.high - field.low) / 2
    spread = np.random.default_rng(seed).uniform(-1.5, 1.5, (3, count))
    return middle[:, None] + spread * half.max()


def slope(field: Field, points: np.ndarray) -> np.ndarray:
    """Return the gradient of the field by central differences."""
    step = 1e-6 * np.eye(3)[:, :, None]
    return np.stack([field.distance(points + s) - field.distance(points - s) for s in step]) / 2e-6


def share_landing(field: Field, points: np.ndarray) -> float:
    """Move each point by the distance against the gradient; return the share of points that then lie on the surface.

    A 1-Lipschitz field is never greater than the distance. If the moved point lies on the surface, there is a surface
    point at this distance, so the field is not less than the distance either. The test fails only for points with two
    equally near surface points.
    """
    values = field.distance(points)
    landed = points - values * slope(field, points)
    return float((np.abs(field.distance(landed)) < 1e-4).mean())


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_1_lipschitz(name: str) -> None:
    field = FIELDS[name]
    points = around(field, 4000, 0)
    rng = np.random.default_rng(1)
    moved = points + rng.normal(size=points.shape) * 10 ** rng.uniform(-4, 0, points.shape[1])
    change = np.abs(field.distance(points) - field.distance(moved))
    assert (change <= np.linalg.norm(points - moved, axis=0) * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("name", EXACT_OUTSIDE)
def test_exact_fields_equal_the_distance_outside(name: str) -> None:
    field = EXACT_OUTSIDE[name]
    assert field.exact
    points = around(field, 4000, 2)
    assert share_landing(field, points[:, field.distance(points) > 0.01]) > 0.99


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives_are_exact_inside(name: str) -> None:
    field = PRIMITIVES[name]
    points = around(field, 20000, 3)
    inside = points[:, field.distance(points) < -0.005]
    assert inside.shape[1] > 20
    assert share_landing(field, inside) > 0.97


@pytest.mark.parametrize("name", FIELDS)
def test_the_bounding_box_contains_the_solid(name: str) -> None:
    field = FIELDS[name]
    points = around(field, 20000, 4)
    inside = points[:, field.distance(points) <= 0]
    assert (inside >= field.low[:, None]).all()
    assert (inside <= field.high[:, None]).all()


@pytest.mark.parametrize("name", BOUNDS)
def test_fields_that_are_bounds_are_not_marked_exact(name: str) -> None:
    assert not BOUNDS[name].exact


def test_primitives_agree_with_closed_forms() -> None:
    origin = np.zeros((3, 1))
    assert sphere((0, 0, 0), 0.7).distance(origin) == pytest.approx(-0.7)
    assert box((0, 0, 0), (1.0, 0.4, 0.2), 0.0).distance(origin) == pytest.approx(-0.1)
    assert torus((0, 0, 0), (0, 1, 0), 0.7, 0.2).distance(origin) == pytest.approx(0.5)
    assert ellipsoid((0, 0, 0), (1.0, 0.3, 0.06)).distance(origin) == pytest.approx(-0.06)
    corner = np.array([[1.5], [1.2], [0.1]])
    assert box((0, 0, 0), (1.0, 0.4, 0.2), 0.0).distance(corner) == pytest.approx(np.hypot(1, 1))
    assert rectangle(0, 0, 2, 1).tolist() == [[-1, -0.5], [1, -0.5], [1, 0.5], [-1, 0.5]]


def test_boolean_operators_combine_the_insides_of_the_parts() -> None:
    one, two = sphere((0, 0, 0), 0.6), sphere((0.5, 0, 0), 0.5)
    points = around(one | two, 2000, 5)
    in_one, in_two = one.distance(points) < 0, two.distance(points) < 0
    assert np.array_equal((one | two).distance(points) < 0, in_one | in_two)
    assert np.array_equal((one & two).distance(points) < 0, in_one & in_two)
    assert np.array_equal((one - two).distance(points) < 0, in_one & ~in_two)


@examples(20)
@given(st.floats(0.01, 0.5), st.floats(-1.2, 1.2))
def test_a_smooth_union_lowers_the_distance_by_at_most_a_quarter_of_blend(blend: float, x: float) -> None:
    one, two = sphere((-0.5, 0, 0), 0.5), sphere((0.5, 0, 0), 0.4)
    points = np.array([[x], [0.2], [0.1]])
    hard, smooth = union(one, two).distance(points), smooth_union(blend, one, two).distance(points)
    assert (smooth <= hard + 1e-12).all()
    assert (smooth >= hard - blend / 4 - 1e-12).all()


@examples(20)
@given(st.integers(0, 2**32 - 1))
def test_a_value_does_not_depend_on_the_other_points(seed: int) -> None:
    field = smooth_union(0.1, *(PRIMITIVES[name] for name in ("taper", "box", "cone") if name in PRIMITIVES))
    points = around(field, 50, seed)
    alone = np.concatenate([field.distance(points[:, i : i + 1]) for i in range(50)])
    assert np.allclose(field.distance(points), alone, rtol=0, atol=1e-14)


def test_the_order_of_a_union_does_not_matter() -> None:
    parts = list(PRIMITIVES.values())
    points = around(union(*parts), 2000, 6)
    assert np.array_equal(union(*parts).distance(points), union(*parts[::-1]).distance(points))


def test_a_box_rounding_above_half_its_thickness_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rounding 0\.2 is more than half a side"):
        box((0, 0, 0), (1, 1, 0.3), 0.2)
