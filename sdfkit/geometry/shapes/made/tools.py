"""Hand tools, about two units long, in the xy plane or along y."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, union
from sdfkit.geometry.shapes.fields.primitives import (
    bar,
    box,
    capsule,
    cone,
    rod,
    round_cone,
    smooth_path,
    sphere,
    taper,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import circle, curve, lathe, plate, polygon, rectangle, spline

AROUND_Z = (0.0, 0.0, 1.0)
UP = (0.0, 1.0, 0.0)


def turned_handle(rng: np.random.Generator, bottom: float, top: float, radius: float) -> Field:
    """A grip along y: turned with a swell, plain, or wrapped with rings."""
    style = rng.choice(["turned", "plain", "ringed"])
    long = top - bottom
    if style == "plain":
        return rod((0, bottom, 0), (0, top, 0), radius, 0.4 * radius)
    if style == "turned":
        knots = [
            (0.7 * radius, bottom),
            (1.15 * radius, bottom + 0.25 * long),
            (0.85 * radius, bottom + 0.7 * long),
            (radius, top),
        ]
        path = curve(knots, 20)
        return lathe(np.concatenate([[[0, bottom]], path, [[0, top]]]), 0.2 * radius)
    core = rod((0, bottom, 0), (0, top, 0), 0.9 * radius, 0.3 * radius)
    count = int(rng.integers(3, 6))
    rings = [
        torus((0, y, 0), UP, 0.85 * radius, 0.3 * radius) for y in np.linspace(bottom, top, count + 2)[1:-1]
    ]
    return union(core, *rings)


def hammer(rng: np.random.Generator) -> Field:
    """A claw hammer, mallet, sledge or ball-peen hammer."""
    top, thick = 1.7, rng.uniform(0.055, 0.085)
    kind = rng.choice(["claw", "mallet", "sledge", "ball"])
    handle = union(
        turned_handle(rng, 0, rng.uniform(0.6, 1.0), 1.25 * thick),
        rod((0, 0.1, 0), (0, top + 0.1, 0), 0.8 * thick, 0),
    )
    face = rng.uniform(0.11, 0.18)
    if kind == "mallet":
        half, radius = rng.uniform(0.35, 0.5), rng.uniform(0.2, 0.3)
        head = rod((-half, top, 0), (half, top, 0), radius, 0.04)
    elif kind == "sledge":
        head = box((0, top, 0), (rng.uniform(0.7, 0.9), 2 * face, 2 * face), rng.uniform(0.03, 0.08))
    else:
        front = union(
            rod((-0.45, top, 0), (-0.28, top, 0), face, 0.02),
            round_cone((-0.35, top, 0), (0.1, top, 0), 0.09, 0.1),
        )
        if kind == "ball":
            back = sphere((0.36, top, 0), 0.9 * face) | capsule((0, top, 0), (0.36, top, 0), 0.08)
        else:
            drop = rng.uniform(0.12, 0.3)
            knots = [(0.0, top, 0.05, 0.09), (0.25, top - 0.02, 0.07, 0.07), (0.55, top - drop, 0.12, 0.04)]
            path = smooth_path(knots, 10)
            back = taper(path[:, :3], path[:, 3]).mirrored("z")
        head = front | back
    return union(handle, head)


def screwdriver(rng: np.random.Generator) -> Field:
    """A flat or cross-head screwdriver with a fluted or round grip."""
    split, tip = rng.uniform(0.65, 0.95), 2.0
    radius, shaft = rng.uniform(0.13, 0.19), rng.uniform(0.04, 0.055)
    if rng.random() < 0.6:
        lobes = int(rng.integers(5, 9))
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        flutes = radius * (1 - 0.12 * np.abs(np.cos(lobes * turn / 2)))
        outline = np.stack([flutes * np.cos(turn), flutes * np.sin(turn)], axis=1)
        grip = plate([outline], split - 0.1, 0.025).rotated("x", np.pi / 2).moved(0, split / 2, 0)
        grip = union(grip, cone((0, split - 0.1, 0), (0, split + 0.08, 0), 0.85 * radius, 1.5 * shaft))
    else:
        grip = turned_handle(rng, 0.0, split, radius)
    blade = rod((0, split - 0.2, 0), (0, tip - 0.2, 0), shaft, 0)
    if rng.random() < 0.5:
        end = bar((0, tip - 0.3, 0), (0, tip, 0), 0.12, 0.04, (0, 0, 1), 0.005)
        return union(grip, blade, end, cone((0, tip - 0.35, 0), (0, tip - 0.15, 0), shaft, 0.025))
    cross = bar((0, tip - 0.3, 0), (0, tip - 0.02, 0), 0.12, 0.04, (0, 0, 1), 0.005)
    return union(
        grip, blade, cross, cross.rotated("y", np.pi / 2), cone((0, tip - 0.25, 0), (0, tip, 0), 0.06, 0.02)
    )


def wrench(rng: np.random.Generator) -> Field:
    """An open-end, ring or combination wrench, cut from a plate."""
    long, thick, width = 1.7, rng.uniform(0.09, 0.14), rng.uniform(0.14, 0.2)
    ends = rng.choice(["open-ring", "open-open", "ring-ring"])
    shank = plate([rectangle(0, 0, long, width)], 0.75 * thick, 0.02)
    parts, cuts = [shank], []
    for sign, kind in zip((-1, 1), str(ends).split("-"), strict=True):
        x, radius = sign * long / 2, rng.uniform(0.22, 0.3)
        if kind == "ring":
            hole = circle(x, 0, 0.58 * radius, int(rng.choice([6, 12])))
            parts.append(plate([circle(x, 0, radius, 40)], thick, 0.02))
            cuts.append(plate([hole], 2 * thick, 0))
        else:
            jaw = 1.15 * radius
            tilt = rng.uniform(0.0, 0.35)
            head = plate([circle(0, 0, 1.15 * radius, 40)], thick, 0.02)
            mouth = plate([rectangle(0.75 * radius, 0, 1.6 * radius, 0.9 * jaw)], 2 * thick, 0)
            parts.append(head.rotated("z", tilt).moved(long / 2, 0, 0) if sign > 0 else head.moved(x, 0, 0))
            cuts.append(mouth.rotated("z", tilt + (np.pi if sign < 0 else 0)).moved(x, 0, 0))
    return difference(union(*parts), *cuts)


def saw(rng: np.random.Generator) -> Field:
    """A hand saw: a toothed blade of a plate, and a handle with a hole."""
    long, deep, shallow = 1.6, rng.uniform(0.32, 0.45), rng.uniform(0.12, 0.25)
    count = int(rng.integers(12, 20))
    tooth = rng.uniform(0.05, 0.08)
    pitch = long / count
    teeth = [(pitch * (i + shift), -drop) for i in range(count) for shift, drop in ((0.0, 0.0), (0.5, tooth))]
    blade = plate([polygon(*teeth, (long, 0.0), (long, shallow), (0.0, deep))], 0.05, 0.004)
    height = deep + rng.uniform(0.1, 0.25)
    knots = [
        (0.12, 0.02),
        (-0.05, -0.08),
        (-0.36, -0.05),
        (-0.45, 0.1),
        (-0.36, 0.3 * height),
        (-0.36, 0.75 * height),
        (-0.5, height),
        (-0.3, 1.08 * height),
        (0.0, 0.98 * height),
        (0.18, 0.6 * height),
    ]
    grip = spline(*knots, steps=4)
    hole = spline(
        (-0.08, 0.18 * height),
        (-0.22, 0.22 * height),
        (-0.25, 0.5 * height),
        (-0.22, 0.78 * height),
        (-0.08, 0.78 * height),
        (-0.03, 0.5 * height),
        steps=4,
    )
    handle = plate([grip, hole], rng.uniform(0.11, 0.16), 0.02)
    return union(blade, handle)


def axe(rng: np.random.Generator) -> Field:
    """An axe or hatchet, with one blade or two, on a straight or curved haft."""
    top, thick = 1.8, rng.uniform(0.055, 0.075)
    bend = rng.uniform(-0.14, 0.14)
    haft = smooth_path(
        [
            (0.0, 0.05, 0.0, 1.4 * thick),
            (bend, 0.5, 0.0, thick),
            (-0.3 * bend, 1.2, 0.0, thick),
            (0.0, top + 0.12, 0.0, thick),
        ],
        12,
    )
    reach, edge, neck = rng.uniform(0.35, 0.6), rng.uniform(0.25, 0.5), rng.uniform(0.12, 0.17)
    beard = rng.uniform(0.0, 0.25)
    blade = [
        (0.0, top + neck),
        (0.5 * reach, top + 0.8 * neck),
        (reach, top + edge),
        (1.1 * reach, top + 0.4 * edge),
        (1.12 * reach, top - 0.4 * edge),
        (reach, top - edge - beard),
        (0.5 * reach, top - 0.9 * neck),
        (0.0, top - neck),
    ]
    # Two thin wedges: the plate narrows to its edge.
    flat = plate([polygon(*blade)], 0.2, 0.02)
    wedge = plate(
        [polygon((-0.2, -0.1), (-0.2, 0.1), (1.13 * reach, 0.022), (1.13 * reach, -0.022))], 2.0, 0.01
    )
    head = flat & wedge.rotated("x", np.pi / 2).moved(0, top, 0)
    socket = box((0, top, 0), (0.24, 2 * neck, 0.2), 0.03)
    parts = [taper(haft[:, :3], haft[:, 3]), head, socket]
    if rng.random() < 0.3:
        parts.append(head.reflected("x"))
    elif rng.random() < 0.5:
        parts.append(box((-0.14, top, 0), (0.26, 1.6 * neck, 0.18), 0.03))
    return union(*parts)


def scissors(rng: np.random.Generator) -> Field:
    """Scissors, more or less open, with two finger rings."""
    half = rng.uniform(0.12, 0.4)
    long, thick = rng.uniform(0.9, 1.2), 0.07
    ring, grip = rng.uniform(0.2, 0.28), rng.uniform(0.045, 0.06)
    blade = polygon((-0.1, -0.12), (0.08, -0.14), (0.03 + 0.05, long), (0.0, long), (-0.1, 0.1))
    shank = rng.uniform(0.35, 0.55)
    end = (-0.13, -shank, 0.0)
    one = union(
        plate([blade], thick, 0.012),
        capsule((0, -0.05, 0), end, 0.06),
        torus((-(ring + grip + 0.04), -shank - 0.6 * ring, 0), AROUND_Z, ring, grip),
    )
    other = one.reflected("x").rotated("z", half).moved(0, 0, 0.5 * thick)
    pivot = rod((0, 0, -0.06), (0, 0, 0.1), 0.07, 0.015)
    return union(one.rotated("z", -half).moved(0, 0, -0.2 * thick), other, pivot)


def key(rng: np.random.Generator) -> Field:
    """An old or modern key: a bow with holes, a shaft, and random teeth."""
    thick = rng.uniform(0.1, 0.13)
    shaft = rng.uniform(0.05, 0.075)
    style = rng.choice(["ring", "clover", "oval", "square"])
    if style == "ring":
        bow = torus((0, 0, 0), AROUND_Z, rng.uniform(0.24, 0.32), rng.uniform(0.05, 0.07))
    elif style == "clover":
        bow = union(
            *(
                torus((0.22 * np.cos(a), 0.22 * np.sin(a), 0), AROUND_Z, 0.17, 0.055)
                for a in (0.5, np.pi / 2 + 0.52, np.pi + 0.1, -0.6)
            )
        )
    elif style == "oval":
        oval = spline((0.42, 0), (0, 0.28), (-0.42, 0), (0, -0.28), steps=12)
        bow = plate([oval, 0.5 * oval], thick, 0.02)
    else:
        bow = plate([rectangle(0, 0, 0.6, 0.55), circle(0, 0, 0.14, 24)], thick, 0.025)
    tip = -1.5
    edge = float(bow.low[1])
    parts = [bow, rod((0, edge + 0.08, 0), (0, tip, 0), shaft, 0.015)]
    parts += [
        torus((0, edge - 0.05 - 0.13 * row, 0), UP, shaft, 0.035) for row in range(int(rng.integers(1, 3)))
    ]
    y = tip + 0.06
    for _ in range(int(rng.integers(3, 6))):
        tooth, deep = rng.uniform(0.09, 0.14), rng.uniform(0.14, 0.36)
        parts.append(box((deep / 2, y + tooth / 2, 0), (deep, tooth, 0.9 * thick), 0.008))
        y += tooth - 0.005
    return union(*parts)


def shovel(rng: np.random.Generator) -> Field:
    """A spade or shovel with a T, D or plain grip."""
    deep, wide, top = rng.uniform(0.55, 0.75), rng.uniform(0.2, 0.3), 2.0
    if rng.random() < 0.5:
        outline = polygon(
            (-wide, 0),
            (wide, 0),
            (0.95 * wide, -0.6 * deep),
            (0.5 * wide, -0.9 * deep),
            (0, -deep),
            (-0.5 * wide, -0.9 * deep),
            (-0.95 * wide, -0.6 * deep),
        )
    else:
        outline = polygon((-wide, 0), (wide, 0), (0.9 * wide, -deep), (-0.9 * wide, -deep))
    # A V-shaped blade: two plates that meet along the middle.
    leaf = plate([outline], 0.055, 0.01).rotated("x", rng.uniform(0.0, 0.2))
    thin = rng.uniform(0.04, 0.055)
    parts = [
        leaf,
        round_cone((0, -0.3, -0.01), (0, 0.15, 0), 0.035, 1.2 * thin),
        rod((0, 0, 0), (0, top, 0), thin, 0.01),
    ]
    parts.append(capsule((wide, 0, 0), (-wide, 0, 0), 0.036))
    style = rng.choice(["T", "D", "plain"])
    if style == "T":
        parts.append(capsule((-0.2, top, 0), (0.2, top, 0), 0.055))
    elif style == "D":
        half = 0.17
        parts.append(capsule((0, top - 0.05, 0), (half, top + 0.12, 0), 0.042).mirrored("x"))
        parts.append(capsule((half, top + 0.12, 0), (half, top + 0.28, 0), 0.042).mirrored("x"))
        parts.append(capsule((-half, top + 0.28, 0), (half, top + 0.28, 0), 0.045))
    return union(*parts)


def pliers(rng: np.random.Generator) -> Field:
    """Pliers or pincers, more or less open."""
    half = rng.uniform(0.1, 0.3)
    jaw, thick = rng.uniform(0.4, 0.65), rng.uniform(0.1, 0.14)
    nose = rng.uniform(0.03, 0.09)
    blade = plate(
        [polygon((-0.13, -0.1), (0.12, -0.12), (0.13, 0.12), (nose, jaw), (0.0, jaw), (0.0, 0.1))],
        thick,
        0.02,
    )
    knots = [
        (-0.05, 0.0, 0.0, 0.07),
        (-0.16, -0.3, 0.0, 0.06),
        (-0.2, -0.7, 0.0, 0.065),
        (-0.08, -1.2, 0.0, 0.06),
    ]
    path = smooth_path(knots, 12)
    one = union(blade, taper(path[:, :3], path[:, 3]))
    pivot = rod((0, 0, -0.1), (0, 0, 0.1), 0.1, 0.02)
    return union(
        one.rotated("z", -half).moved(0, 0, 0.01),
        one.reflected("x").rotated("z", half).moved(0, 0, -0.01),
        pivot,
    )


TOOLS = {
    "axe": axe,
    "hammer": hammer,
    "key": key,
    "pliers": pliers,
    "saw": saw,
    "scissors": scissors,
    "screwdriver": screwdriver,
    "shovel": shovel,
    "wrench": wrench,
}
