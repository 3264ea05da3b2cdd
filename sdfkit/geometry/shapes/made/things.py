"""Clothing and other personal items."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    arc,
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
from sdfkit.geometry.shapes.fields.profiles import curve, lathe, plate, polygon, shell, spline

UP = (0.0, 1.0, 0.0)
AROUND_Z = (0.0, 0.0, 1.0)


def umbrella(rng: np.random.Generator) -> Field:
    """An open umbrella: canopy on about eight ribs, shaft, crook or straight handle."""
    radius, wall = 1.0, 0.045
    dome = rng.uniform(0.3, 0.6)
    bend = np.linspace(0, 1, 18)
    path = np.stack([radius * np.sin(bend * np.pi / 2), dome * np.cos(bend * np.pi / 2)], axis=1)
    canopy = shell(path, wall)
    count = int(rng.integers(6, 11))
    rib = tube(np.stack([path[:, 0], path[:, 1], 0 * bend], axis=1)[1::2], 0.036).repeated(count)
    low = -rng.uniform(0.7, 1.0)
    parts = [canopy, rib, rod((0, low, 0), (0, dome + 0.15, 0), 0.034, 0.01)]
    if rng.random() < 0.65:
        size = rng.uniform(0.09, 0.14)
        parts.append(arc((size, low, 0), AROUND_Z, (0, -1, 0), size, np.pi * rng.uniform(1.0, 1.2), 0.045))
    else:
        parts.append(rod((0, low - 0.05, 0), (0, low + 0.2, 0), 0.06, 0.02))
    if rng.random() < 0.5:
        drop = dome - 0.4
        parts.append(capsule((0, drop, 0), (0.55, dome * 0.8, 0), 0.03).repeated(count))
    return union(*parts)


def hat(rng: np.random.Generator) -> Field:
    """A top hat, bowler, wide brim, cone or cap: open below."""
    kind = rng.choice(["top", "bowler", "straw", "witch", "cap"])
    wall, crown = 0.06, rng.uniform(0.45, 0.55)
    tall = {"top": 0.8, "bowler": 0.5, "straw": 0.42, "witch": 1.2, "cap": 0.45}[str(kind)] * rng.uniform(
        0.85, 1.15
    )
    brim = {"top": 0.25, "bowler": 0.18, "straw": 0.5, "witch": 0.4, "cap": 0.0}[str(kind)] * rng.uniform(
        0.85, 1.15
    )
    curl = rng.uniform(-0.06, 0.12)
    edge = [(crown + brim, curl), (crown + 0.5 * brim, 0.0)] if brim else []
    if kind in ("bowler", "cap"):
        bend = np.linspace(0.0, np.pi / 2, 16)
        side = [(crown * np.cos(b), tall * np.sin(b)) for b in bend[:-1]] + [(0.0, tall)]
    elif kind == "witch":
        side = [(crown, 0.0), (0.5 * crown, 0.42 * tall), (0.06, tall), (0.0, tall + 0.02)]
    else:
        flare = rng.uniform(0.85, 1.1)
        side = [
            (crown, 0.0),
            (0.93 * crown * flare, 0.5 * tall),
            (crown * flare, tall - 0.03),
            (crown * flare - 0.04, tall),
            (0.0, tall),
        ]
    # The path runs from the brim to the middle of the top.
    parts = [shell(np.array(edge + side), wall)]
    if kind == "cap":
        visor = spline(
            (0.75 * crown, 0.1),
            (0.6 * crown, crown * 1.1),
            (0, crown * 1.65),
            (-0.6 * crown, crown * 1.1),
            (-0.75 * crown, 0.1),
            (0, 0.5 * crown),
            steps=5,
        )
        flat = plate([visor], wall, 0.02).rotated("x", np.pi / 2).moved(0, 0.03, 0)
        inside = ellipsoid((0, 0, 0), (crown, tall, crown))
        parts += [difference(flat, inside), sphere((0, tall + 0.02, 0), 0.06)]
    elif rng.random() < 0.7:
        band = 0.12 * tall
        radius = crown if kind != "witch" else crown * 0.93
        parts.append(
            shell(
                polygon(
                    (radius + 0.005, 0.03), (radius * (1.0 if kind == "bowler" else 0.98), 0.03 + 2 * band)
                ),
                0.08,
            )
        )
    return union(*parts)


def boot(rng: np.random.Generator) -> Field:
    """A boot or shoe: a hollow shaft, a foot, a sole and a heel."""
    tall, shaft = rng.uniform(0.35, 1.2), rng.uniform(0.2, 0.26)
    long, wide = rng.uniform(0.75, 0.95), rng.uniform(0.2, 0.25)
    heel = rng.uniform(0.05, 0.22)
    toe_y = heel * 0.35 + 0.14
    foot = smooth_union(
        0.1,
        round_cone((0, heel + 0.2, 0), (0, toe_y, long - 0.18), 0.23, rng.uniform(0.12, 0.17)),
        round_cone((0, heel + 0.22, 0), (0, heel + tall, -0.02), 0.22, shaft),
    )
    top = heel + tall - 0.02
    foot = foot - box((0, top + 1.0, 0), (4, 2, 4), 0)
    hollow = round_cone((0, heel + 0.27, 0), (0, heel + tall + 0.3, -0.02), 0.14, shaft - 0.05)
    foot = difference(foot, hollow)
    outline = spline(
        (0.75 * wide, -0.16),
        (0.72 * wide, 0.25),
        (wide, long * 0.65),
        (0.6 * wide, long * 0.98),
        (-0.6 * wide, long * 0.98),
        (-wide, long * 0.65),
        (-0.72 * wide, 0.25),
        (-0.75 * wide, -0.16),
        steps=4,
    )
    slope = float(np.arctan2(0.65 * heel, long - 0.3))
    sole = plate([outline], 0.09, 0.02).rotated("x", np.pi / 2 + slope).moved(0, heel + 0.03, 0)
    block = cone((0, 0, -0.04), (0, heel + 0.12, -0.02), 0.11 + rng.uniform(-0.03, 0.05), 0.17)
    parts = [foot, sole, block]
    if rng.random() < 0.5:
        parts.append(torus((0, top - 0.03, -0.02), UP, shaft - 0.03, 0.04))
    return union(*parts)


def glasses(rng: np.random.Generator) -> Field:
    """A pair of glasses: round or square rims, bridge, temples with bent ends."""
    wide, thin = rng.uniform(0.33, 0.4), rng.uniform(0.036, 0.05)
    tall, gap = wide * rng.uniform(0.6, 0.95), rng.uniform(0.07, 0.12)
    x = wide + gap
    if rng.random() < 0.5:
        turn = np.linspace(0, 2 * np.pi, 33)
        loop = np.stack([x + wide * np.cos(turn), tall * np.sin(turn), 0 * turn], axis=1)
    else:
        corner = [
            (1, 0.6),
            (0.7, 1),
            (-0.7, 1),
            (-1, 0.6),
            (-0.8, -0.7),
            (-0.4, -1),
            (0.4, -1),
            (0.8, -0.7),
            (1, 0.6),
        ]
        loop = np.array([(x + wide * u, tall * v, 0.0) for u, v in corner])
    rim = tube(loop, thin).mirrored("x")
    rise = 0.25 * tall
    nose = tube(
        np.array([(gap + 0.02, rise, 0), (0.5 * gap, rise + 0.07, 0.02), (0, rise + 0.08, 0.03)]), thin
    ).mirrored("x")
    side, long = x + wide, rng.uniform(1.0, 1.25)
    fold = rng.uniform(0.0, 0.15)
    temple = [
        (side - 0.02, 0.4 * tall, 0),
        (side + 0.05, 0.45 * tall, -0.06),
        (side - fold, 0.45 * tall, -0.75 * long),
        (side - fold - 0.02, 0.1 * tall - 0.1, -long),
    ]
    hinge = (x + wide * 0.9, 0.45 * tall, 0.0)
    joint = capsule(hinge, temple[1], thin)
    parts = [rim, nose, tube(np.array(temple), thin).mirrored("x"), joint.mirrored("x")]
    if rng.random() < 0.4:  # sunglasses: the lenses are filled
        lens = plate([loop[:-1, :2]], 0.055, 0.0)
        parts.append(lens.mirrored("x"))
    return union(*parts)


def anchor(rng: np.random.Generator) -> Field:
    """A ship's anchor: ring, stock, shank, curved arms with flukes."""
    tall, thick = 1.6, rng.uniform(0.06, 0.085)
    reach = rng.uniform(0.55, 0.75)
    shank = rod((0, 0.02, 0), (0, tall, 0), thick, 0.02)
    ring = torus((0, tall + 0.14, 0), np.asarray(rng.choice([(0, 0, 1), (1, 0, 0)])), 0.15, 0.05)
    stock_y = tall - rng.uniform(0.12, 0.3)
    stock = round_cone((0, stock_y, 0), (rng.uniform(0.35, 0.5), stock_y, 0), thick, 0.7 * thick).mirrored(
        "x"
    )
    knots = [(0, 0.05, 0, 1.2 * thick), (0.55 * reach, 0.12, 0, thick), (reach, 0.5, 0, 0.75 * thick)]
    path = smooth_path(knots, 10)
    arm = taper(path[:, :3], path[:, 3])
    tip = rng.uniform(0.1, 0.18)
    fluke = plate([polygon((-tip, 0), (tip, 0), (0, 0.36))], 0.09, 0.02).rotated(
        "y", np.pi / 2 if rng.random() < 0.5 else 0.0
    )
    fluke = fluke.rotated("z", -0.35).moved(reach - 0.06, 0.38, 0)
    parts = [shank, ring, stock, union(arm, fluke).mirrored("x"), sphere((0, 0.02, 0), 1.5 * thick)]
    if rng.random() < 0.5:
        parts.append(
            sphere((0.48, stock_y, 0), 1.2 * thick).mirrored("x")
            | capsule((-0.48, stock_y, 0), (0.48, stock_y, 0), 0.6 * thick)
        )
    return union(*parts)


def chess_piece(rng: np.random.Generator) -> Field:
    """A pawn, rook, bishop, queen or king of turned wood."""
    foot, waist = rng.uniform(0.36, 0.46), rng.uniform(0.14, 0.19)
    kind = str(rng.choice(["pawn", "rook", "bishop", "queen", "king"]))
    tall = {"pawn": 0.85, "rook": 1.0, "bishop": 1.25, "queen": 1.45, "king": 1.5}[kind] * rng.uniform(
        0.92, 1.08
    )
    base = [(foot, 0.0), (foot, 0.08), (0.85 * foot, 0.14), (0.9 * foot, 0.2), (0.7 * foot, 0.26)]
    stem = curve([(0.65 * foot, 0.26), (waist, 0.6 * tall), (waist * 1.1, tall)], 18)
    path = np.concatenate([[[0, 0]], base, stem, [[0, tall]]])
    parts = [lathe(path, 0.008), rod((0, tall - 0.04, 0), (0, tall + 0.03, 0), 1.75 * waist, 0.02)]
    if kind == "pawn":
        parts.append(sphere((0, tall + 0.2, 0), rng.uniform(0.2, 0.25)))
    elif kind == "rook":
        wall = polygon(
            (0, tall),
            (1.6 * waist, tall),
            (1.9 * waist, tall + 0.3),
            (1.25 * waist, tall + 0.3),
            (1.25 * waist, tall + 0.14),
            (0, tall + 0.14),
        )
        notch = box((1.6 * waist, tall + 0.3, 0), (0.3, 0.2, 0.1), 0).repeated(int(rng.integers(4, 7)))
        parts.append(lathe(wall, 0) - notch)
    elif kind == "bishop":
        mitre = ellipsoid((0, tall + 0.24, 0), (0.21, 0.3, 0.21))
        cut = box((0, 0, 0), (1, 0.06, 0.5), 0).rotated("z", 0.7).moved(0.44, tall + 0.55, 0)
        parts += [mitre - cut, sphere((0, tall + 0.55, 0), 0.065)]
    else:
        cup = polygon((0, tall), (1.2 * waist, tall), (1.9 * waist, tall + 0.32), (0, tall + 0.3))
        parts.append(lathe(cup, 0.012))
        if kind == "queen":
            spikes = int(rng.integers(6, 10))
            parts += [
                sphere((1.75 * waist, tall + 0.33, 0), 0.06).repeated(spikes),
                sphere((0, tall + 0.36, 0), 0.12),
                sphere((0, tall + 0.49, 0), 0.05),
            ]
        else:
            parts += [
                ellipsoid((0, tall + 0.3, 0), (1.5 * waist, 0.12, 1.5 * waist)),
                box((0, tall + 0.5, 0), (0.08, 0.32, 0.08), 0.01),
                box((0, tall + 0.54, 0), (0.24, 0.08, 0.08), 0.01),
            ]
    return union(*parts)


def camera(rng: np.random.Generator) -> Field:
    """A photographic camera with its lens, prism, buttons, sometimes on a tripod."""
    wide, tall, deep = rng.uniform(0.8, 1.0), rng.uniform(0.5, 0.62), rng.uniform(0.28, 0.36)
    parts = [box((0, 0, 0), (wide, tall, deep), rng.uniform(0.03, 0.08))]
    lens, reach = rng.uniform(0.18, 0.24), rng.uniform(0.2, 0.55)
    front = deep / 2 + reach
    barrel = rod((0, -0.03, 0), (0, -0.03, front), lens, 0.015)
    glass = rod((0, -0.03, front - 0.07), (0, -0.03, front + 0.2), 0.75 * lens, 0.01)
    parts.append(barrel - glass)
    parts += [
        torus((0, -0.03, deep / 2 + share * reach), AROUND_Z, lens, 0.03)
        for share in np.linspace(0.3, 0.8, int(rng.integers(1, 4)))
    ]
    y = tall / 2
    prism = rng.choice(["prism", "flash", "none"])
    if prism == "prism":
        parts.append(
            plate([polygon((-0.2, 0), (0.2, 0), (0.11, 0.19), (-0.11, 0.19))], 0.9 * deep, 0.02).moved(
                0, y - 0.03, 0.02
            )
        )
    elif prism == "flash":
        parts.append(box((0.12, y + 0.1, 0), (0.34, 0.24, 0.22), 0.03))
    parts += [
        rod((-0.34 * wide, y - 0.05, 0), (-0.34 * wide, y + 0.06, 0), 0.075, 0.015),
        rod((0.36 * wide, y - 0.05, 0), (0.36 * wide, y + 0.08, 0), 0.06, 0.015),
    ]
    parts.append(ellipsoid((-0.44 * wide, 0, 0.12), (0.1, 0.45 * tall, 0.14)))
    if rng.random() < 0.35:
        parts.append(rod((0, -tall / 2 - 0.18, 0), (0, 0, 0), 0.07, 0.01))
        leg = round_cone(
            (rng.uniform(0.35, 0.55), -tall / 2 - rng.uniform(0.8, 1.1), 0),
            (0.02, -tall / 2 - 0.1, 0),
            0.036,
            0.06,
        )
        parts.append(leg.repeated(3).rotated("y", 0.5))
    return union(*parts)


THINGS = {
    "anchor": anchor,
    "boot": boot,
    "camera": camera,
    "chess_piece": chess_piece,
    "glasses": glasses,
    "hat": hat,
    "umbrella": umbrella,
}
