"""Swimming and crawling creatures. The head is at +z."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    box,
    ellipsoid,
    round_cone,
    smooth_path,
    sphere,
    taper,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import plate, polygon

AROUND_X = (1.0, 0.0, 0.0)
AROUND_Z = (0.0, 0.0, 1.0)


def fish(rng: np.random.Generator) -> Field:
    """A fish: slender or deep, flat fins, a forked or fan tail."""
    deep, wide = rng.uniform(0.22, 0.5), rng.uniform(0.13, 0.2)
    long = 0.75
    body = smooth_union(
        0.12, ellipsoid((0, 0, 0.1), (wide, deep, long)), round_cone((0, 0, -0.4), (0, 0, -0.8), 0.11, 0.06)
    )
    thick, fork = 0.065, rng.uniform(-0.05, 0.2)
    spread = rng.uniform(0.26, 0.4)
    tail = polygon((-0.7, 0.05), (-1.05, spread), (-1.05 + fork, 0.0), (-1.05, -spread), (-0.7, -0.05))
    crest = rng.uniform(0.12, 0.3)
    top = polygon((0.25, deep * 0.8), (0.05, deep + crest), (-0.3, deep + 0.5 * crest), (-0.45, 0.3 * deep))
    below = polygon((-0.1, -0.85 * deep), (-0.35, -deep - 0.6 * crest), (-0.5, -0.3 * deep))
    fins = [plate([outline], thick, 0.02).rotated("y", -np.pi / 2) for outline in (tail, top, below)]
    side = plate([polygon((0, 0.06), (0.26, -0.02), (0.3, -0.16), (0, -0.08))], 0.055, 0.015)
    side = side.rotated("y", rng.uniform(0.3, 1.0)).moved(0.7 * wide, -0.2 * deep, 0.3)
    eye = sphere((0.62 * wide, 0.2 * deep, 0.55), 0.055)
    mouth = torus((0, 0, 0.1 + long - 0.02), AROUND_Z, 0.05, 0.03)
    return union(body, *fins, side.mirrored("x"), eye.mirrored("x"), mouth)


def turtle(rng: np.random.Generator) -> Field:
    """A tortoise on legs or a turtle with flippers."""
    wide, tall, long = rng.uniform(0.5, 0.6), rng.uniform(0.28, 0.45), rng.uniform(0.6, 0.72)
    shield = ellipsoid((0, 0.16, 0), (wide, tall, long)) & box((0, 0.66, 0), (4, 1.0, 4), 0)
    rim = ellipsoid((0, 0.17, 0), (wide * 1.08, 0.07, long * 1.06))
    belly = ellipsoid((0, 0.15, 0), (0.9 * wide, 0.12, 0.9 * long))
    z = long + rng.uniform(0.14, 0.28)
    y = rng.uniform(0.2, 0.36)
    head = smooth_union(
        0.06,
        round_cone((0, 0.16, 0.5 * long), (0, y, z), 0.12, 0.09),
        ellipsoid((0, y + 0.02, z + 0.05), (0.12, 0.11, 0.16)),
    )
    parts = [shield, rim, belly, head, round_cone((0, 0.13, -0.8 * long), (0, 0.08, -long - 0.2), 0.08, 0.02)]
    if rng.random() < 0.5:
        for sz in (-1, 1):
            top = (0.7 * wide, 0.13, sz * 0.58 * long)
            parts.append(round_cone(top, (0.86 * wide, -0.1, sz * 0.72 * long), 0.13, 0.1).mirrored("x"))
    else:
        sweep = rng.uniform(0.0, 0.4)
        front = (
            ellipsoid((0.3, 0, 0), (0.42, 0.055, 0.13))
            .rotated("y", 0.3 + sweep)
            .moved(0.75 * wide, 0.12, 0.55 * long)
        )
        back = (
            ellipsoid((0.16, 0, 0), (0.26, 0.05, 0.1)).rotated("y", 0.7).moved(0.7 * wide, 0.12, -0.65 * long)
        )
        parts += [front.mirrored("x"), back.mirrored("x")]
    return union(*parts)


def octopus(rng: np.random.Generator) -> Field:
    """An octopus with eight curling arms."""
    head = ellipsoid((0, 0.5, 0), (0.3, rng.uniform(0.34, 0.46), 0.3))
    base = ellipsoid((0, 0.16, 0), (0.3, 0.14, 0.3))
    parts = [head, base]
    lift = rng.uniform(0.1, 0.4)
    for row in range(8):
        turn = 2 * np.pi * (row + rng.uniform(-0.15, 0.15)) / 8
        reach, curl = rng.uniform(0.75, 1.0), rng.uniform(-0.35, 0.35)
        heights = (0.14, 0.06, 0.07, 0.08 + rng.uniform(0, lift))
        widths = (0.12, 0.095, 0.065, 0.036)
        knots = [
            (
                share * reach * np.cos(turn + curl * share**2),
                y,
                share * reach * np.sin(turn + curl * share**2),
                w,
            )
            for share, y, w in zip((0.15, 0.45, 0.75, 1.0), heights, widths, strict=True)
        ]
        path = smooth_path(knots, 12)
        parts.append(taper(path[:, :3], path[:, 3]))
    eye = sphere((0.16, 0.36, 0.25), 0.07)
    return union(smooth_union(0.08, *parts), eye.mirrored("x"))


def spider(rng: np.random.Generator) -> Field:
    """A spider: two-part body and eight jointed legs."""
    y, thin = rng.uniform(0.2, 0.35), 0.034
    rear = rng.uniform(0.22, 0.34)
    body = smooth_union(
        0.05,
        ellipsoid((0, y, 0.12), (0.17, 0.13, 0.2)),
        ellipsoid((0, y + 0.06, -0.12 - rear), (0.85 * rear, 0.8 * rear, rear)),
        round_cone((0, y, 0), (0, y, -0.25), 0.08, 0.08),
    )
    parts = [body, round_cone((0.06, y - 0.03, 0.28), (0.07, y - 0.1, 0.36), 0.045, 0.034).mirrored("x")]
    rise, reach = rng.uniform(0.2, 0.45), rng.uniform(0.8, 1.0)
    for turn in np.array([-0.95, -0.35, 0.3, 0.95]) + rng.uniform(-0.08, 0.08, 4):
        c, s = np.cos(turn), np.sin(turn)
        knots = np.array(
            [
                (0.1 * c, y, 0.1 + 0.12 * s),
                (0.45 * reach * c, y + rise, 0.1 + 0.5 * reach * s),
                (0.8 * reach * c, 0.5 * y, 0.1 + 0.85 * reach * s),
                (reach * c, 0.0, 0.1 + reach * s),
            ]
        )
        parts.append(taper(knots, np.array([0.05, 0.042, thin, thin])).mirrored("x"))
    return union(*parts)


CREATURES = {
    "fish": fish,
    "octopus": octopus,
    "spider": spider,
    "turtle": turtle,
}
