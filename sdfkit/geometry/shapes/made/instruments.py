"""Musical instruments, upright, the strings at +z."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, union
from sdfkit.geometry.shapes.fields.primitives import (
    bar,
    box,
    capsule,
    ellipsoid,
    rod,
    round_cone,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import plate, polygon, spline

UP = (0.0, 1.0, 0.0)
AROUND_Z = (0.0, 0.0, 1.0)


def guitar(rng: np.random.Generator) -> Field:
    """An acoustic or electric guitar, or a ukulele."""
    lower, upper, waist = rng.uniform(0.38, 0.46), rng.uniform(0.28, 0.35), rng.uniform(0.2, 0.27)
    long = rng.uniform(0.85, 1.0)
    electric = rng.random() < 0.4
    neck = rng.uniform(0.7, 0.95)
    if electric:
        horn = rng.uniform(0.05, 0.2)
        outline = spline(
            (0, -0.45),
            (lower, -0.25),
            (waist, 0.1),
            (upper + 0.02, 0.35 + horn),
            (0.13, 0.3),
            (0, 0.2),
            (-0.13, 0.3),
            (-upper, 0.35 + 0.5 * horn),
            (-waist, 0.1),
            (-lower, -0.25),
            steps=5,
        )
        deep = rng.uniform(0.09, 0.12)
        body = plate([outline], deep, 0.02)
        parts = [
            body,
            box((0, -0.1, deep / 2), (0.26, 0.07, 0.06), 0.01),
            box((0, 0.08, deep / 2), (0.26, 0.07, 0.06), 0.01),
        ]
        parts += [rod((0.2, y, 0), (0.2, y, deep / 2 + 0.04), 0.035, 0.008) for y in (-0.25, -0.14)]
        shoulder = 0.25
    else:
        outline = spline(
            (0, -0.5 * long),
            (0.75 * lower, -0.44 * long),
            (lower, -0.2 * long),
            (waist, 0.1 * long),
            (upper, 0.32 * long),
            (0.5 * upper, 0.48 * long),
            (0, 0.5 * long),
            (-0.5 * upper, 0.48 * long),
            (-upper, 0.32 * long),
            (-waist, 0.1 * long),
            (-lower, -0.2 * long),
            (-0.75 * lower, -0.44 * long),
            steps=4,
        )
        deep = rng.uniform(0.18, 0.26)
        # A hollow box with a sound hole: the surface of the body has genus 0, because the hole leads only into the box.
        body = plate([outline], deep, 0.012)
        wall = 0.04
        inside = plate([outline], deep, 0.012).dilated(-wall)
        hole = rod((0, 0.12 * long, 0), (0, 0.12 * long, 1), rng.uniform(0.1, 0.13), 0)
        parts = [difference(body, inside, hole), box((0, -0.24 * long, deep / 2), (0.26, 0.06, 0.07), 0.01)]
        shoulder = 0.46 * long
    z = deep / 2
    top = shoulder + neck
    parts.append(bar((0, shoulder - 0.16, z), (0, top, z), 0.1, 0.065, (0, 0, 1), 0.015))
    parts.append(box((0, shoulder - 0.02, z - 0.05), (0.1, 0.1, 0.12), 0.01))
    flare = rng.uniform(0.08, 0.11)
    head = plate(
        [
            polygon(
                (-0.06, 0), (0.06, 0), (flare, 0.08), (0.8 * flare, 0.3), (-0.8 * flare, 0.3), (-flare, 0.08)
            )
        ],
        0.07,
        0.01,
    )
    parts.append(head.rotated("x", -rng.uniform(0.0, 0.25)).moved(0, top - 0.02, z))
    for y in np.linspace(0.1, 0.25, 3 if rng.random() < 0.7 else 2):
        parts.append(
            capsule((0.05, top + y, z - 0.02), (flare + 0.07, top + y, z - 0.02), 0.03).mirrored("x")
        )
    return union(*parts)


def violin(rng: np.random.Generator) -> Field:
    """A violin or cello with its bouts, neck, scroll and pegs; a cello also has its spike."""
    lower, upper, waist = rng.uniform(0.34, 0.4), rng.uniform(0.27, 0.32), rng.uniform(0.17, 0.22)
    deep = rng.uniform(0.14, 0.26)
    outline = spline(
        (0, -0.55),
        (0.7 * lower, -0.5),
        (lower, -0.28),
        (0.75 * lower, -0.1),
        (waist, 0.02),
        (0.75 * upper, 0.16),
        (upper, 0.28),
        (0.6 * upper, 0.45),
        (0, 0.48),
        (-0.6 * upper, 0.45),
        (-upper, 0.28),
        (-0.75 * upper, 0.16),
        (-waist, 0.02),
        (-0.75 * lower, -0.1),
        (-lower, -0.28),
        (-0.7 * lower, -0.5),
        steps=3,
    )
    z = deep / 2
    arch = ellipsoid((0, -0.05, 0), (0.8 * waist, 0.42, z + 0.06))
    parts = [union(plate([outline], deep, 0.025), arch)]
    top = rng.uniform(0.95, 1.1)
    parts.append(round_cone((0, 0.42, z - 0.03), (0, top, z), 0.06, 0.045))
    parts.append(bar((0, 0.05, z + 0.09), (0, top - 0.02, z + 0.05), 0.08, 0.045, (0, 0, 1), 0.01))
    parts.append(box((0, 0.25, z + 0.02), (0.05, 0.3, 0.1), 0))
    parts.append(
        torus((0, top + 0.14, z - 0.01), (1, 0, 0), 0.06, 0.035)
        | capsule((0, top, z), (0, top + 0.1, z), 0.042)
    )
    parts.append(rod((-0.05, top + 0.14, z - 0.01), (0.05, top + 0.14, z - 0.01), 0.04, 0))
    for row, y in enumerate((top - 0.04, top + 0.03)):
        parts.append(capsule((-0.13, y, z), (0.13, y + 0.02 * row, z), 0.03))
    parts.append(box((0, -0.08, z + 0.07), (0.2, 0.045, 0.15), 0.01))
    parts.append(bar((0, -0.1, z + 0.12), (0, -0.54, z - 0.01), 0.08, 0.05, (0, 0, 1), 0.01))
    if rng.random() < 0.4:
        parts.append(round_cone((0, -0.5, 0), (0, -0.9, 0), 0.04, 0.034))
    return union(*parts)


INSTRUMENTS = {
    "guitar": guitar,
    "violin": violin,
}
