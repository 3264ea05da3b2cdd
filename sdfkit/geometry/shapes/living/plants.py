"""Plants. They grow along +y, about two units high."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    cone,
    ellipsoid,
    rod,
    round_cone,
    smooth_path,
    sphere,
    taper,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import curve, lathe, plate, polygon, shell, spline

UP = (0.0, 1.0, 0.0)


def _pot(rng: np.random.Generator, radius: float, tall: float) -> Field:
    """A flower pot full of earth, its top at y = 0."""
    foot = radius * rng.uniform(0.65, 0.85)
    body = cone((0, -tall, 0), (0, 0, 0), foot, radius)
    return union(body, torus((0, -0.05, 0), UP, radius, 0.055))


def tree(rng: np.random.Generator) -> Field:
    """A broad-leaved tree, conifer, palm or bare winter tree."""
    kind = rng.choice(["broad", "conifer", "palm", "bare"])
    if kind == "conifer":
        tiers = int(rng.integers(3, 6))
        parts = [cone((0, 0, 0), (0, 0.5, 0), 0.11, 0.09)]
        wide, low = rng.uniform(0.5, 0.75), 0.3
        step = 1.7 / (tiers + 0.6)
        for tier in range(tiers):
            size = wide * (1 - 0.75 * tier / tiers)
            y = low + tier * step
            parts.append(cone((0, y, 0), (0, y + 1.6 * step, 0), size, 0.025).dilated(0.015))
        return union(*parts)
    if kind == "palm":
        bend = rng.uniform(-0.4, 0.4)
        path = smooth_path([(0, 0, 0, 0.12), (0.3 * bend, 0.7, 0, 0.085), (bend, 1.5, 0, 0.07)], 12)
        parts = [taper(path[:, :3], path[:, 3])]
        count = int(rng.integers(6, 10))
        for row in range(count):
            turn = 2 * np.pi * (row + rng.uniform(-0.2, 0.2)) / count
            c, s = np.cos(turn), np.sin(turn)
            long, drop = rng.uniform(0.55, 0.75), rng.uniform(0.2, 0.6)
            knots = [
                (bend + r * long * c, 1.5 + h, r * long * s, w)
                for r, h, w in (
                    (0.0, 0.0, 0.06),
                    (0.45, 0.22, 0.07),
                    (0.8, 0.1 - 0.4 * drop, 0.07),
                    (1.0, -drop, 0.035),
                )
            ]
            leaf = smooth_path(knots, 9)
            parts.append(taper(leaf[:, :3], leaf[:, 3]))
        parts += [sphere((bend + 0.1 * np.cos(a), 1.42, 0.1 * np.sin(a)), 0.08) for a in (0.3, 2.4, 4.5)]
        return union(*parts)
    trunk = rng.uniform(0.5, 0.9)
    thick = rng.uniform(0.09, 0.14)
    parts = [round_cone((0, 0.02, 0), (0, trunk, 0), 1.35 * thick, thick)]
    tips = []
    count = int(rng.integers(4, 7))
    for row in range(count):
        turn = 2 * np.pi * (row + rng.uniform(-0.25, 0.25)) / count
        out, up = rng.uniform(0.3, 0.5), rng.uniform(0.35, 0.7)
        tip = np.array([out * np.cos(turn), trunk + up, out * np.sin(turn)])
        parts.append(round_cone((0, trunk - 0.05, 0), tip, 0.75 * thick, 0.5 * thick))
        tips.append(tip)
    if kind == "broad":
        leaves = [sphere(tip + (0, 0.1, 0), rng.uniform(0.28, 0.4)) for tip in tips]
        leaves.append(sphere((0, trunk + rng.uniform(0.6, 0.85), 0), rng.uniform(0.38, 0.5)))
        return union(union(*parts), smooth_union(0.1, *leaves))
    for tip in tips:
        for _ in range(2):
            shoot = tip + np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.25, 0.5), rng.uniform(-0.3, 0.3)])
            parts.append(round_cone(tip, shoot, max(0.45 * thick, 0.045), 0.036))
    return smooth_union(0.05, *parts)


def cactus(rng: np.random.Generator) -> Field:
    """A saguaro with arms, a ribbed barrel or a prickly pear, in a pot or on the ground."""
    kind = rng.choice(["saguaro", "barrel", "pear"])
    parts = []
    if kind == "saguaro":
        tall, thick = rng.uniform(1.3, 1.8), rng.uniform(0.16, 0.22)
        parts.append(round_cone((0, 0.1, 0), (0, tall, 0), thick, 0.9 * thick))
        for row in range(int(rng.integers(1, 4))):
            turn = rng.uniform(-0.5, 0.5) + (np.pi if row % 2 else 0.0)
            y, out, up = rng.uniform(0.3, 0.6) * tall, rng.uniform(0.4, 0.55), rng.uniform(0.3, 0.6)
            c, s = np.cos(turn), np.sin(turn)
            knots = [
                (0, y, 0),
                (0.75 * out * c, y, 0.75 * out * s),
                (out * c, y + 0.15, out * s),
                (out * c, y + up, out * s),
            ]
            arm = smooth_path(knots, 10)
            parts.append(taper(arm, np.full(10, rng.uniform(0.1, 0.14))))
        body = smooth_union(0.06, *parts)
    elif kind == "barrel":
        radius, tall = rng.uniform(0.4, 0.55), rng.uniform(0.5, 1.1)
        count = int(rng.integers(8, 14))
        bend = np.linspace(0.25, np.pi - 0.05, 12)
        rib = np.stack([radius * np.sin(bend), tall / 2 * (1 - np.cos(bend)), 0 * bend], axis=1)
        ribs = taper(rib, np.full(12, 0.055)).repeated(count)
        core = ellipsoid((0, tall / 2, 0), (radius, tall / 2, radius))
        flower = ellipsoid((0, tall + 0.04, 0), (0.12, 0.1, 0.12))
        body = union(core, ribs, flower)
    else:

        def pad(x: float, y: float, tilt: float, size: float, depth: int) -> None:
            outline = ellipsoid((0, 0.9 * size, 0), (0.62 * size, size, 0.13)).rotated(
                "y", rng.uniform(-0.5, 0.5)
            )
            parts.append(outline.rotated("z", tilt).moved(x, y, 0))
            if depth:
                top = np.array([x - np.sin(tilt) * 1.5 * size, y + np.cos(tilt) * 1.5 * size])
                for side in rng.permutation([-0.65, 0.0, 0.65])[: int(rng.integers(1, 4))]:
                    pad(top[0], top[1], tilt * 0.5 + side, size * rng.uniform(0.6, 0.8), depth - 1)

        pad(0.0, -0.02, rng.uniform(-0.1, 0.1), rng.uniform(0.38, 0.46), 2)
        body = union(*parts)
    if rng.random() < 0.7:
        return union(
            body,
            _pot(rng, rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.6)),
            rod((0, -0.1, 0), (0, 0.1, 0), 0.12, 0),
        )
    return union(body, ellipsoid((0, 0, 0), (0.6, 0.12, 0.6)))


def mushroom(rng: np.random.Generator) -> Field:
    """A mushroom, or a family of them, with domed, pointed or funnel caps."""

    def one(size: float) -> Field:
        tall, stem = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.2)
        wide, dome = rng.uniform(0.4, 0.65), rng.uniform(0.2, 0.5)
        kind = rng.choice(["dome", "cone", "funnel"])
        bulge = stem * rng.uniform(1.1, 1.6)
        stalk = curve([(bulge, 0.0), (stem, 0.4 * tall), (stem * 0.85, tall)], 14)
        parts = [lathe(np.concatenate([[[0, 0]], stalk, [[0, tall]]]), 0.02)]
        if kind == "dome":
            bend = np.linspace(0, np.pi / 2, 14)
            cap = np.stack([wide * np.cos(bend), tall + dome * np.sin(bend)], axis=1)
            cap[-1, 0] = 0.0
            outline = np.concatenate([[[0, tall - 0.05], [0.7 * wide, tall - 0.07]], cap])
        elif kind == "cone":
            outline = polygon(
                (0, tall - 0.1),
                (wide * 0.8, tall - 0.12),
                (wide * 0.7, tall),
                (0.25, tall + 1.2 * dome),
                (0, tall + 1.4 * dome),
            )
        else:
            outline = polygon(
                (0, tall - 0.15),
                (stem, tall - 0.15),
                (wide, tall + 0.15),
                (wide, tall + 0.2),
                (0.3 * wide, tall + 0.1),
                (0, tall + 0.08),
            )
        parts.append(lathe(outline, 0.03))
        if rng.random() < 0.35:
            parts.append(torus((0, 0.65 * tall, 0), UP, stem + 0.02, 0.05))
        if kind == "dome" and rng.random() < 0.4:
            for _ in range(int(rng.integers(4, 9))):
                turn, share = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
                spot = (
                    wide * np.cos(share) * np.cos(turn),
                    tall + dome * np.sin(share),
                    wide * np.cos(share) * np.sin(turn),
                )
                parts.append(sphere(spot, rng.uniform(0.05, 0.09)))
        return union(*parts).scaled(size)

    count = int(rng.choice([1, 1, 2, 3]))
    parts = [one(1.0)]
    for row in range(1, count):
        turn = rng.uniform(0, np.pi) + np.pi * row
        young = one(rng.uniform(0.4, 0.65)).rotated("z", -0.25).rotated("y", -turn)
        parts.append(young.moved(0.28 * np.cos(turn), -0.02, 0.28 * np.sin(turn)))
    if count > 1:
        parts.append(ellipsoid((0, 0, 0), (0.55, 0.1, 0.55)))
    return union(*parts)


def flower(rng: np.random.Generator) -> Field:
    """A potted or cut flower: daisy, tulip or sunflower on a bent stem with leaves."""
    tall, bend = rng.uniform(1.1, 1.5), rng.uniform(-0.25, 0.25)
    path = smooth_path([(0, -0.1, 0, 0.045), (bend, 0.5 * tall, 0, 0.04), (0.2 * bend, tall, 0.1, 0.045)], 12)
    parts = [taper(path[:, :3], path[:, 3])]
    for row in range(int(rng.integers(1, 4))):
        y = (0.2 + 0.2 * row) * tall
        side = 1.0 if row % 2 else -1.0
        at = path[int(np.argmin(np.abs(path[:, 1] - y)))]
        leaf = ellipsoid((0.24, 0, 0), (0.28, 0.034, 0.1)).rotated("z", rng.uniform(0.2, 0.9))
        leaf = leaf if side > 0 else leaf.reflected("x")
        parts.append(leaf.moved(at[0], at[1], at[2]))
    kind = rng.choice(["daisy", "tulip", "sunflower"])
    if kind == "tulip":
        cup = curve([(0.05, 0.0), (0.25, 0.2), (0.2, 0.5)], 14)
        petals = [shell(cup, 0.055)]
        count = int(rng.integers(3, 7))
        petals.append(
            ellipsoid((0.2, 0.4, 0), (0.045, 0.26, 0.14)).rotated("z", -rng.uniform(0.0, 0.3)).repeated(count)
        )
        head = union(*petals, sphere((0, 0.02, 0), 0.09))
    else:
        count, long = (
            int(rng.integers(5, 9)) if kind == "daisy" else int(rng.integers(10, 15)),
            rng.uniform(0.3, 0.42),
        )
        core = rng.uniform(0.14, 0.2) if kind == "daisy" else rng.uniform(0.22, 0.3)
        wide = min(0.13, 0.85 * np.pi * (core + 0.5 * long) / count)
        petal = ellipsoid((core + 0.4 * long, 0, 0), (0.6 * long, 0.036, wide)).repeated(count)
        head = union(petal, ellipsoid((0, 0.02, 0), (core, 0.09, core)))
        head = head.rotated("x", rng.uniform(0.2, 1.3))
    parts.append(head.moved(*path[-1, :3]))
    if rng.random() < 0.75:
        parts.append(_pot(rng, rng.uniform(0.28, 0.4), rng.uniform(0.3, 0.5)))
    return union(*parts)


def pineapple(rng: np.random.Generator) -> Field:
    """A pineapple: a studded body under a crown of leaves."""
    wide, tall = rng.uniform(0.38, 0.48), rng.uniform(0.5, 0.68)
    parts = [ellipsoid((0, 0, 0), (wide, tall, wide))]
    rows, around = int(rng.integers(4, 7)), int(rng.integers(7, 11))
    stud = rng.uniform(0.07, 0.1)
    for row in range(rows):
        share = np.pi * (row + 1) / (rows + 1) - np.pi / 2
        ring = sphere((wide * np.cos(share), tall * np.sin(share), 0), stud).repeated(around)
        parts.append(ring.rotated("y", np.pi / around * (row % 2)))
    leaves = int(rng.integers(5, 8))
    for layer, (long, lean) in enumerate(((0.5, 0.9), (0.6, 0.5), (0.7, 0.15))):
        knots = [
            (0.05, tall - 0.1, 0, 0.075),
            (0.1 + 0.3 * lean * long, tall + 0.5 * long, 0, 0.06),
            (0.1 + 0.8 * lean * long, tall + long, 0, 0.034),
        ]
        path = smooth_path(knots, 7)
        leaf = taper(path[:, :3], path[:, 3])
        parts.append(leaf.repeated(leaves - layer).rotated("y", 0.5 * layer))
    return union(*parts)


def pumpkin(rng: np.random.Generator) -> Field:
    """A ribbed pumpkin with a bent stalk, sometimes carved through to the hollow inside."""
    count = int(rng.integers(7, 12))
    wide, tall = rng.uniform(0.45, 0.6), rng.uniform(0.5, 0.75)
    lobe = ellipsoid((0.5 * wide, 0, 0), (0.75 * wide, tall, 1.25 * np.pi * 0.75 * wide / count)).repeated(
        count
    )
    core = ellipsoid((0, 0, 0), (wide, 0.85 * tall, wide))
    bend = rng.uniform(0.1, 0.3)
    path = smooth_path(
        [
            (0, 0.8 * tall, 0, 0.12),
            (0.02, tall + 0.1, 0, 0.08),
            (bend, tall + rng.uniform(0.25, 0.4), 0, 0.09),
        ],
        8,
    )
    body = union(lobe, core, taper(path[:, :3], path[:, 3]))
    if rng.random() < 0.5:
        return body
    eye = plate([polygon((-0.13, -0.08), (0.13, -0.08), (0, 0.14))], 2.0, 0.01)
    grin = spline((-0.35, 0.0), (0, -0.12), (0.35, 0.0), (0, -0.26), steps=6)
    mouth = plate([grin], 2.0, 0.0)
    hollow = ellipsoid((0, 0, 0), (wide * 0.85, 0.7 * tall, wide * 0.85))
    carving = union(
        eye.moved(0.22, 0.15, 1.0), eye.moved(-0.22, 0.15, 1.0), mouth.moved(0, -0.05, 1.0), hollow
    )
    return body - carving


PLANTS = {
    "cactus": cactus,
    "flower": flower,
    "mushroom": mushroom,
    "pineapple": pineapple,
    "pumpkin": pumpkin,
    "tree": tree,
}
