"""Cutlery, about two units long."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, union
from sdfkit.geometry.shapes.fields.primitives import (
    bar,
    box,
    capsule,
    ellipsoid,
    rod,
    smooth_path,
    sphere,
    taper,
)
from sdfkit.geometry.shapes.fields.profiles import plate, polygon, spline
from sdfkit.geometry.shapes.made.tools import turned_handle

AROUND_Z = (0.0, 0.0, 1.0)
UP = (0.0, 1.0, 0.0)


def spoon(rng: np.random.Generator) -> Field:
    """A table spoon, ladle or wooden spoon: a hollow bowl on a bent handle."""
    wide, long, wall = rng.uniform(0.2, 0.3), rng.uniform(0.3, 0.42), 0.05
    deep = rng.uniform(0.16, 0.3)
    # The space between two ellipsoids, cut horizontally. The inner one is an offset of the outer, so the thickness is
    # constant.
    dish = ellipsoid((0, 0, 0), (wide, deep, long))
    lid = box((0, 0.5, 0), (2, 1.0, 2), 0)
    bowl = difference(dish, dish.dilated(-wall), lid)
    rise = rng.uniform(0.0, 0.25)
    knots = [
        (0, -0.05, long - 0.03, 0.04),
        (0, 0.06, long + 0.2, 0.036),
        (0, 0.1 + 0.5 * rise, long + 0.7, 0.04),
        (0, rise, long + rng.uniform(1.1, 1.4), rng.uniform(0.045, 0.08)),
    ]
    path = smooth_path(knots, 14)
    handle = difference(taper(path[:, :3], path[:, 3]), dish.dilated(-wall))
    return bowl | handle


def fork(rng: np.random.Generator) -> Field:
    """A fork with three to five tines, or a two-pronged carving fork."""
    count = int(rng.integers(2, 6))
    wide, long = (rng.uniform(0.18, 0.26) if count > 2 else 0.12), rng.uniform(0.45, 0.7)
    thin = 0.034
    parts = []
    bend = rng.uniform(0.05, 0.16)
    for x in np.linspace(-wide, wide, count):
        knots = [
            (x, 0.0, 0.0, thin),
            (x, -bend, -0.5 * long, thin),
            (x * 0.97, -0.3 * bend, -long, 0.75 * thin),
        ]
        path = smooth_path(knots, 7)
        parts.append(taper(path[:, :3], path[:, 3]))
    parts.append(capsule((-wide, 0, 0), (wide, 0, 0), 1.1 * thin))
    parts.append(capsule((wide, 0, 0), (0, 0.02, 0.25), 1.2 * thin).mirrored("x"))
    parts.append(
        plate([polygon((-wide, 0), (wide, 0), (0.03, 0.26), (-0.03, 0.26))], 1.9 * thin, 0.015).rotated(
            "x", np.pi / 2
        )
    )
    rise = rng.uniform(0.0, 0.2)
    handle = [
        (0, 0, 0.1, 0.05),
        (0, 0.08, 0.4, 0.036),
        (0, 0.1 + rise / 2, 0.8, 0.042),
        (0, rise, 1.3, rng.uniform(0.045, 0.08)),
    ]
    path = smooth_path(handle, 12)
    return union(*parts, taper(path[:, :3], path[:, 3]))


def knife(rng: np.random.Generator) -> Field:
    """A kitchen knife, dagger or cleaver."""
    thick, split = 0.05, 0.0
    kind = rng.choice(["chef", "cleaver", "dagger"])
    deep, long = rng.uniform(0.2, 0.3), rng.uniform(0.9, 1.25)
    if kind == "chef":
        outline = polygon(
            (-0.1, 0.1),
            (0.6 * long, 0.1),
            (long, -0.02),
            (0.8 * long, 0.02 - 0.7 * deep),
            (0.4 * long, 0.05 - deep),
            (0.05, 0.05 - deep),
            (0.0, -0.06),
            (-0.1, -0.06),
        )
    elif kind == "cleaver":
        outline = polygon(
            (-0.1, 0.1),
            (0.8 * long, 0.1),
            (0.82 * long, -1.6 * deep),
            (0.04, -1.6 * deep),
            (0.02, -0.06),
            (-0.1, -0.06),
        )
    else:
        outline = polygon((-0.1, 0.09), (0.7 * long, 0.12), (long, 0), (0.7 * long, -0.12), (-0.1, -0.09))
    blade = plate([outline], thick, 0.008)
    grip = rng.uniform(0.55, 0.75)
    parts = [blade]
    if rng.random() < 0.5:
        knots = [
            (0.02, 0.1),
            (-0.3, 0.07),
            (-grip, 0.11),
            (-grip - 0.05, -0.1),
            (-grip + 0.08, -0.13),
            (-0.3, -0.09),
            (0.02, -0.08),
        ]
        parts.append(plate([spline(*knots, steps=4)], 0.13, 0.03))
        parts += [rod((x, 0, -0.08), (x, 0, 0.08), 0.03, 0.008) for x in (-0.15, -0.32, -0.5)]
    else:
        parts.append(turned_handle(rng, 0.0, grip, 0.085).rotated("z", np.pi / 2).moved(split, 0, 0))
    if kind == "dagger":
        parts.append(bar((0, -0.26, 0), (0, 0.26, 0), 0.09, 0.11, (0, 0, 1), 0.03))
        parts.append(sphere((-grip, 0, 0), 0.11))
    return union(*parts)


CUTLERY = {
    "fork": fork,
    "knife": knife,
    "spoon": spoon,
}
