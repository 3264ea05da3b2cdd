"""Aircraft, rockets and bicycles. The front is at +z."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, smooth_union, union
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
    taper,
    torus,
    tube,
)
from sdfkit.geometry.shapes.fields.profiles import curve, lathe, plate, polygon

AROUND_X = (1.0, 0.0, 0.0)
AROUND_Z = (0.0, 0.0, 1.0)
UP = (0.0, 1.0, 0.0)


def _blades(count: int, radius: float, width: float, pitch: float) -> Field:
    """A propeller turning about z, of twisted flat blades."""
    blade = bar((0, 0, 0), (radius, 0, 0), width, 0.05, (0, np.cos(pitch), np.sin(pitch)), 0.015)
    return union(*(blade.rotated("z", 2 * np.pi * i / count + 0.4) for i in range(count)))


def _wing(root: float, tip: float, span: float, sweep: float, thick: float) -> Field:
    """A flat wing towards +x: chords along z at root and tip, swept backwards."""
    outline = polygon(
        (-0.02, 0.5 * root), (span, 0.5 * tip - sweep), (span, -0.5 * tip - sweep), (-0.02, -0.5 * root)
    )
    return plate([outline], thick, 0.3 * thick).rotated("x", np.pi / 2)


def airplane(rng: np.random.Generator) -> Field:
    """An airliner, propeller plane, biplane or jet fighter."""
    kind = rng.choice(["liner", "propeller", "biplane", "fighter"])
    thick = rng.uniform(0.05, 0.065)
    radius = {"liner": 0.13, "propeller": 0.12, "biplane": 0.12, "fighter": 0.1}[str(kind)] * rng.uniform(
        0.9, 1.1
    )
    body = taper(
        np.array([(0, 0, 0.95), (0, 0, 0.7), (0, 0, -0.3), (0, 0.05, -0.95)]),
        np.array([0.4, 1.0, 1.0, 0.4]) * radius,
    )
    span = {"liner": 0.95, "propeller": 0.9, "biplane": 0.8, "fighter": 0.55}[str(kind)] * rng.uniform(
        0.9, 1.1
    )
    sweep = {"liner": 0.4, "propeller": 0.05, "biplane": 0.0, "fighter": 0.5}[str(kind)] * rng.uniform(
        0.8, 1.2
    )
    root, tip = rng.uniform(0.35, 0.5), rng.uniform(0.15, 0.3)
    if kind == "fighter":
        root, tip = rng.uniform(0.7, 0.9), 0.15
    low = rng.choice([-0.5, 0.0, 0.5]) * radius
    wing = _wing(root, tip, span, sweep, thick).rotated("z", rng.uniform(0.0, 0.09))
    parts = [body, wing.mirrored("x").moved(0, low, 0.1)]
    tail = _wing(0.26, 0.15, rng.uniform(0.28, 0.4), 0.12, thick).mirrored("x")
    tail_top = rng.random() < 0.25
    fin_tall = rng.uniform(0.3, 0.42)
    fin = plate(
        [polygon((-0.72, 0.0), (-0.85, fin_tall), (-1.02, fin_tall), (-1.0, 0.0))], thick, 0.3 * thick
    ).rotated("y", -np.pi / 2)
    parts += [fin.moved(0, 0.05, 0), tail.moved(0, fin_tall if tail_top else 0.06, -0.85)]
    if kind == "liner":
        for share in (0.33, 0.62) if rng.random() < 0.4 else (0.38,):
            x, z = span * share, 0.3 - sweep * share
            engine = rod((x, low - 0.09, z - 0.14), (x, low - 0.09, z + 0.12), 0.07, 0.02)
            parts.append(
                union(engine, box((x, low - 0.03, z - 0.05), (0.05, 0.12, 0.16), 0.01)).mirrored("x")
            )
    elif kind == "fighter":
        parts.append(ellipsoid((0, 0.8 * radius, 0.42), (0.07, 0.09, 0.24)))
        parts.append(rod((0.08, 0, -1.0), (0.08, 0, -0.3), 0.075, 0.01).mirrored("x"))
    else:
        parts.append(_blades(int(rng.integers(2, 5)), rng.uniform(0.25, 0.34), 0.08, 0.5).moved(0, 0, 0.97))
        parts.append(round_cone((0, 0, 0.9), (0, 0, 1.04), 0.06, 0.03))
        parts.append(ellipsoid((0, 0.8 * radius, 0.2), (0.08, 0.1, 0.2)))
        for x in (-0.2, 0.2):
            parts.append(capsule((0.3 * x, -0.4 * radius, 0.35), (x, -0.3, 0.4), 0.034))
            parts.append(rod((x - 0.035, -0.3, 0.4), (x + 0.035, -0.3, 0.4), 0.09, 0.02))
        if kind == "biplane":
            parts.append(wing.mirrored("x").moved(0, low + 0.42, 0.14))
            for x in (0.1, 0.75 * span):
                for z in (0.0, 0.18):
                    parts.append(capsule((x, low, z), (x, low + 0.45, z + 0.04), 0.032).mirrored("x"))
    return union(*parts)


def rocket(rng: np.random.Generator) -> Field:
    """A rocket: a slender body with fins, sometimes with boosters or stages."""
    radius = rng.uniform(0.13, 0.24)
    kind = rng.choice(["cartoon", "stepped", "boosters"])
    nose = rng.uniform(0.3, 0.5)
    if kind == "cartoon":
        knots = [
            (0.6 * radius, 0.0),
            (1.15 * radius, 0.5),
            (1.1 * radius, 0.9),
            (0.45 * radius, 1.55),
            (0.02, 1.8),
        ]
        path = curve(knots, 36)
        body = lathe(np.concatenate([[[0, 0]], path, [[0, path[-1, 1]]]]), 0.015)
    else:
        upper = radius * (rng.uniform(0.6, 0.85) if kind == "stepped" else 1.0)
        bend = np.linspace(0.0, 0.95, 12)
        tip = np.stack([upper * np.sqrt(1 - bend**1.6), 1.4 + nose * bend], axis=1)
        path = np.concatenate([[(radius, 0.0), (radius, 0.8), (upper, 0.92)], tip])
        body = lathe(np.concatenate([[[0, 0]], path, [[0, path[-1, 1]]]]), 0.008)
    parts = [body, cone((0, -0.14, 0), (0, 0.05, 0), 0.8 * radius, 0.45 * radius)]
    count = int(rng.integers(3, 6))
    reach, drop = radius + rng.uniform(0.15, 0.32), rng.uniform(0.0, 0.25)
    fin = polygon(
        (0.3 * radius, 0.02),
        (0.3 * radius, rng.uniform(0.4, 0.65)),
        (0.95 * radius, 0.5),
        (reach, 0.12),
        (reach, -drop),
        (reach - 0.09, -drop),
    )
    parts.append(plate([fin], 0.06, 0.012).repeated(count))
    if kind == "boosters":
        size = 0.45 * radius
        booster = union(
            rod((0, -0.02, 0), (0, 0.85, 0), size, 0.01), cone((0, 0.83, 0), (0, 1.1, 0), size, 0.02)
        )
        parts.append(
            booster.moved(radius + 0.8 * size, 0, 0)
            .repeated(int(rng.choice([2, 4])))
            .rotated("y", np.pi / count)
        )
    if rng.random() < 0.6:
        parts.append(torus((0, 0.95 + rng.uniform(0, 0.2), 0.85 * radius), AROUND_Z, 0.08, 0.03))
    parts += [
        torus((0, y, 0), UP, radius, 0.028)
        for y in (0.3, 0.75)[: int(rng.integers(0, 3))]
        if kind != "cartoon"
    ]
    return union(*parts)


def helicopter(rng: np.random.Generator) -> Field:
    """A helicopter on skids or wheels."""
    radius = rng.uniform(0.26, 0.34)
    cabin = ellipsoid((0, 0, 0.25), (radius, radius * rng.uniform(0.9, 1.1), radius * rng.uniform(1.2, 1.6)))
    boom = round_cone((0, 0.08, 0.1), (0, 0.16, -0.95), 0.13, 0.05)
    body = smooth_union(0.15, cabin, boom)
    fin = plate([polygon((-0.8, 0.1), (-0.95, 0.42), (-1.08, 0.42), (-1.0, 0.1))], 0.06, 0.015).rotated(
        "y", -np.pi / 2
    )
    stabiliser = box((0, 0.16, -0.78), (0.5, 0.05, 0.14), 0.02)
    top = radius * 1.1 + rng.uniform(0.08, 0.16)
    mast = rod((0, 0.1, 0.2), (0, top + 0.04, 0.2), 0.05, 0.01)
    hub = rod((0, top - 0.05, 0.2), (0, top + 0.04, 0.2), 0.09, 0.02)
    count, long = int(rng.integers(2, 6)), rng.uniform(0.85, 1.1)
    turn = rng.uniform(0, np.pi)
    blade = box((long / 2, 0, 0), (long, 0.045, 0.1), 0.015)
    rotor = union(*(blade.rotated("y", turn + 2 * np.pi * i / count) for i in range(count))).moved(
        0, top, 0.2
    )
    tail = _blades(int(rng.integers(2, 5)), 0.2, 0.06, 0.0).rotated("y", np.pi / 2).moved(0.07, 0.3, -1.0)
    axle = capsule((0, 0.3, -1.0), (0.09, 0.3, -1.0), 0.034)
    parts = [
        body,
        fin,
        stabiliser,
        mast,
        hub,
        rotor,
        tail,
        axle,
        box((0, 0.95 * radius, 0.1), (0.2, 0.14, 0.4), 0.05),
    ]
    drop = -radius - rng.uniform(0.12, 0.2)
    if rng.random() < 0.7:
        x = radius * 0.85
        skid = smooth_path([(x, drop, -0.25), (x, drop, 0.2), (x, drop, 0.6), (x, drop + 0.1, 0.72)], 10)
        parts.append(tube(skid, 0.033).mirrored("x"))
        parts += [
            capsule((0.4 * radius, -0.6 * radius, z), (x, drop, z), 0.033).mirrored("x") for z in (0.05, 0.45)
        ]
    else:
        parts += [
            capsule((x, -0.5 * radius, z), (x * 1.2, drop, z), 0.036)
            for x, z in ((-0.25, 0.1), (0.25, 0.1), (0, 0.5))
        ]
        parts += [
            rod((x * 1.2 - 0.05, drop, z), (x * 1.2 + 0.05, drop, z), 0.09, 0.02)
            for x, z in ((-0.25, 0.1), (0.25, 0.1), (0, 0.5))
        ]
    return union(*parts)


def bicycle(rng: np.random.Generator) -> Field:
    """A bicycle: a diamond or step-through frame, spoked wheels, handlebars, saddle, pedals."""
    radius, thin = rng.uniform(0.38, 0.46), 0.034
    base = rng.uniform(1.15, 1.35)
    rear, front = np.array([0.0, radius, -base / 2]), np.array([0.0, radius, base / 2])
    crank = np.array([0.0, radius - 0.06, -0.12])
    seat = np.array([0.0, radius + rng.uniform(0.5, 0.6), -0.32])
    head = np.array([0.0, radius + rng.uniform(0.5, 0.62), base / 2 - 0.22])
    neck = head + 0.3 * (front - head)
    top = seat + 0.2 * (crank - seat) if rng.random() < 0.6 else crank + 0.35 * (seat - crank)
    count = int(rng.integers(4, 9))
    spoke = rod((0, 0, 0), (radius, 0, 0), 0.026, 0).repeated(count).rotated("z", np.pi / 2)
    wheel = union(
        torus((0, 0, 0), AROUND_X, radius, rng.uniform(0.035, 0.05)),
        spoke,
        rod((-0.06, 0, 0), (0.06, 0, 0), 0.055, 0.01),
    )
    parts = [wheel.moved(*rear), wheel.rotated("x", 0.3).moved(*front)]
    for a, b in ((crank, seat), (crank, neck), (top, head), (head, neck)):
        parts.append(capsule(a, b, thin))
    for a, b in ((rear, crank), (rear, seat + 0.15 * (crank - seat)), (front, neck)):
        x = np.array([0.065, 0, 0])
        parts.append(capsule(a + x, b + 0.2 * x, 0.03).mirrored("x"))
    post = seat + 0.14 * (seat - crank)
    parts += [
        capsule(seat, post, thin),
        taper(np.array([post + (0, 0, 0.16), post, post + (0, 0.01, -0.1)]), np.array([0.035, 0.05, 0.085])),
    ]
    stem = head + 0.28 * (head - front)
    parts.append(capsule(head, stem, thin))
    wide = rng.uniform(0.25, 0.34)
    style = rng.choice(["flat", "drop", "swept"])
    ends = {
        "flat": [(0, 0, 0), (wide, 0.01, -0.02)],
        "drop": [(0, 0, 0), (0.2, 0, 0), (0.22, 0, 0.14), (0.22, -0.12, 0.16), (0.22, -0.16, 0.0)],
        "swept": [(0, 0, 0), (0.6 * wide, 0.05, 0.02), (wide, 0.04, -0.2)],
    }[str(style)]
    parts.append(tube(np.array(ends, dtype=float) + stem, thin).mirrored("x"))
    turn = rng.uniform(0, np.pi)
    arm = 0.17 * np.array([0, np.sin(turn), np.cos(turn)])
    for sign in (-1, 1):
        hub = crank + np.array([sign * 0.07, 0, 0])
        tip = hub + sign * arm
        parts += [capsule(hub, tip, 0.03), box(tip + (sign * 0.08, 0, 0), (0.14, 0.05, 0.09), 0.015)]
    parts.append(rod(crank - (0.09, 0, 0), crank + (0.09, 0, 0), 0.05, 0.01))
    parts.append(rod(crank + (0.045, 0, 0), crank + (0.085, 0, 0), 0.11, 0.01))
    if rng.random() < 0.4:
        basket = box((0, stem[1] - 0.02, stem[2] + 0.22), (0.3, 0.24, 0.24), 0.02)
        inside = box((0, stem[1] + 0.06, stem[2] + 0.22), (0.22, 0.3, 0.16), 0.01)
        parts += [basket - inside, capsule(stem, (0, stem[1] - 0.04, stem[2] + 0.14), 0.04)]
    if rng.random() < 0.4:
        parts.append(arc(rear, AROUND_X, (0, 0.7, -0.7), radius + 0.09, 2.0, 0.032))
        parts.append(capsule(rear + (0, radius + 0.09, 0), seat + 0.2 * (crank - seat), 0.03))
    return union(*parts)


FLIGHT = {"airplane": airplane, "bicycle": bicycle, "helicopter": helicopter, "rocket": rocket}
