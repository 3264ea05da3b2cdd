"""Animals made of smoothly joined primitives. The head is at +z; the torso of a quadruped is about one unit long."""

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
)
from sdfkit.geometry.shapes.fields.profiles import plate, polygon, spline

AROUND_X = (1.0, 0.0, 0.0)
AROUND_Z = (0.0, 0.0, 1.0)


def _leg(x: float, hip: float, z: float, thick: float, step: float, knee: float) -> Field:
    """A leg from the hip to the ground at y = 0: the foot `step` forward, the knee bent by `knee`."""
    middle = (x, 0.48 * hip, z + 0.4 * step + knee)
    foot = (x, 0.75 * thick, z + step)
    return smooth_union(
        0.04,
        round_cone((0.9 * x, hip, z), middle, 1.5 * thick, thick),
        round_cone(middle, foot, thick, 0.8 * thick),
        round_cone(foot, (x, 0.7 * thick, z + step + 1.1 * thick), 0.85 * thick, 0.7 * thick),
    )


def _legs(
    rng: np.random.Generator, x: float, hip: float, rear: float, front: float, thick: float
) -> list[Field]:
    """Four legs, standing or walking."""
    stride = rng.uniform(0.0, 0.16) * rng.choice([0.0, 1.0])
    return [
        _leg(side * x, hip, z, thick, sign * stride, knee)
        for z, knee, sign, side in (
            (front, 0.03, 1, 1),
            (front, 0.03, -1, -1),
            (rear, -0.06, -1, 1),
            (rear, -0.06, 1, -1),
        )
    ]


def dog(rng: np.random.Generator) -> Field:
    """A dog: long or short legs and snout, ears up or hanging, tail up or down."""
    hip, fat, thick = rng.uniform(0.35, 0.7), rng.uniform(0.17, 0.24), rng.uniform(0.05, 0.075)
    long = rng.uniform(0.75, 1.05)
    chest, rump = (0.0, hip + 0.06, long / 2), (0.0, hip + 0.05, -long / 2)
    neck = (0.0, hip + rng.uniform(0.32, 0.42), long / 2 + rng.uniform(0.14, 0.24))
    body = [round_cone(rump, chest, 0.8 * fat, fat), round_cone(chest, neck, 0.75 * fat, 0.55 * fat)]
    head = rng.uniform(0.14, 0.18)
    y, z = neck[1] + 0.05, neck[2] + 0.05
    snout = rng.uniform(0.16, 0.34)
    body += [
        sphere((0, y, z), head),
        round_cone((0, y - 0.03, z + 0.05), (0, y - 0.06, z + snout), 0.6 * head, 0.45 * head),
    ]
    body += _legs(rng, 0.6 * fat, hip, -long / 2 + 0.03, long / 2 - 0.02, thick)
    curl = rng.uniform(-0.2, 0.35)
    tail = smooth_path(
        [
            (*rump, 0.07),
            (0, rump[1] + 0.3 * curl + 0.08, rump[2] - 0.22, 0.055),
            (0, rump[1] + curl + 0.1, rump[2] - 0.34, 0.036),
        ],
        10,
    )
    body.append(taper(tail[:, :3], tail[:, 3]))
    whole = smooth_union(0.09, *body)
    if rng.random() < 0.5:
        ear = cone(
            (0.6 * head, y + 0.5 * head, z - 0.02),
            (0.8 * head, y + rng.uniform(1.5, 2.1) * head, z - 0.04),
            0.07,
            0.02,
        )
        ear = ear.dilated(0.01)
    else:
        ear = ellipsoid((0.95 * head, y - 0.1 * head, z), (0.045, rng.uniform(0.11, 0.18), 0.075))
    nose = sphere((0, y - 0.03, z + snout + 0.35 * head), 0.045)
    return union(whole, ear.mirrored("x"), nose)


def cat(rng: np.random.Generator) -> Field:
    """A cat, standing or sitting, with pointed ears and a long tail."""
    thick, fat = 0.055, rng.uniform(0.16, 0.2)
    head = rng.uniform(0.16, 0.2)
    sway = rng.uniform(-0.3, 0.3)
    if rng.random() < 0.5:
        hip, long = rng.uniform(0.32, 0.42), rng.uniform(0.7, 0.85)
        chest, rump = (0.0, hip + 0.06, long / 2), (0.0, hip + 0.07, -long / 2)
        neck = (0.0, hip + 0.26, long / 2 + 0.14)
        body = [round_cone(rump, chest, fat, 0.9 * fat), round_cone(chest, neck, 0.7 * fat, 0.11)]
        body += _legs(rng, 0.6 * fat, hip, -long / 2 + 0.03, long / 2 - 0.02, thick)
        rise = rng.uniform(0.2, 0.55)
        knots = [
            (*rump, 0.06),
            (0.1 * sway, rump[1] + 0.1, rump[2] - 0.25, 0.045),
            (sway, rump[1] + rise, rump[2] - 0.35, 0.045),
            (0.8 * sway, rump[1] + rise + 0.2, rump[2] - 0.28, 0.036),
        ]
    else:
        rump, chest = (0.0, 0.24, -0.2), (0.0, 0.55, 0.08)
        neck = (0.0, 0.72, 0.14)
        body = [round_cone(rump, chest, 1.3 * fat, 0.85 * fat), round_cone(chest, neck, 0.75 * fat, 0.11)]
        for side in (-1, 1):
            body += [
                round_cone((side * 0.08, 0.5, 0.14), (side * 0.1, 0.05, 0.24), 0.08, 0.05),
                round_cone((side * 0.1, 0.05, 0.24), (side * 0.1, 0.045, 0.31), 0.055, 0.045),
                ellipsoid((side * 0.2, 0.16, -0.12), (0.1, 0.16, 0.2)),
                round_cone((side * 0.22, 0.05, -0.05), (side * 0.22, 0.05, 0.12), 0.06, 0.05),
            ]
        knots = [
            (0, 0.1, -0.4, 0.06),
            (0.1 + 0.5 * sway, 0.06, -0.62, 0.05),
            (sway * 1.4, 0.055, -0.6, 0.045),
            (sway * 1.7, 0.05, -0.4, 0.036),
        ]
    tail = smooth_path(knots, 14)
    body.append(taper(tail[:, :3], tail[:, 3]))
    y, z = neck[1] + 0.08, neck[2] + 0.06
    body += [
        ellipsoid((0, y, z), (1.05 * head, 0.9 * head, 0.9 * head)),
        ellipsoid((0, y - 0.05, z + 0.8 * head), (0.09, 0.06, 0.07)),
    ]
    ear = cone(
        (0.58 * head, y + 0.5 * head, z), (0.75 * head, y + rng.uniform(1.4, 1.7) * head, z), 0.08, 0.015
    ).dilated(0.012)
    return union(smooth_union(0.07, *body), ear.mirrored("x"))


def horse(rng: np.random.Generator) -> Field:
    """A horse or foal: standing, walking or grazing, with mane and tail."""
    hip, thick = rng.uniform(0.7, 0.9), rng.uniform(0.05, 0.065)
    fat, long = rng.uniform(0.21, 0.27), rng.uniform(0.8, 1.0)
    chest, rump = (0.0, hip + 0.12, long / 2), (0.0, hip + 0.14, -long / 2)
    graze = rng.random() < 0.25
    rise, ahead = (-0.3, 0.52) if graze else (rng.uniform(0.42, 0.55), rng.uniform(0.24, 0.36))
    poll = (0.0, chest[1] + rise, chest[2] + ahead)
    muzzle = (0.0, poll[1] - rng.uniform(0.2, 0.3), poll[2] + (0.12 if graze else rng.uniform(0.22, 0.32)))
    body = [
        round_cone(rump, chest, 1.02 * fat, fat),
        round_cone((0, chest[1] + 0.03, chest[2] + 0.02), poll, 0.8 * fat, 0.1),
        round_cone(poll, muzzle, 0.115, 0.075),
    ]
    body += _legs(rng, 0.6 * fat, hip, -long / 2 + 0.02, long / 2 - 0.02, thick)
    whole = smooth_union(0.1, *body)
    swing = rng.uniform(0.05, 0.3)
    tail = smooth_path(
        [
            (0, rump[1] + 0.1, rump[2] - 0.15, 0.06),
            (0, rump[1] - 0.05, rump[2] - 0.28 - swing / 2, 0.075),
            (0, rump[1] - 0.55, rump[2] - 0.3 - swing, 0.04),
        ],
        10,
    )
    ear = cone((0.05, poll[1] + 0.08, poll[2]), (0.07, poll[1] + 0.2, poll[2]), 0.036, 0.015).dilated(0.01)
    mane = taper(
        np.array([(0, chest[1] + 0.2, chest[2] - 0.1), (0, poll[1] + 0.07, poll[2] - 0.07)]),
        np.array([0.05, 0.06]),
    )
    parts = [whole, taper(tail[:, :3], tail[:, 3]), ear.mirrored("x"), mane]
    if rng.random() < 0.3:  # a saddle
        parts.append(ellipsoid((0, hip + 0.12 + 0.9 * fat, 0), (0.75 * fat, 0.1, 0.2)))
    return union(*parts)


def elephant(rng: np.random.Generator) -> Field:
    """An elephant with trunk, tusks and broad ears."""
    hip, fat = rng.uniform(0.5, 0.65), rng.uniform(0.36, 0.44)
    body = [ellipsoid((0, hip + 0.2, -0.1), (fat, fat * 1.02, 0.62))]
    y, z = hip + rng.uniform(0.35, 0.45), 0.62
    body.append(sphere((0, y, z), 0.27))
    reach = rng.uniform(0.0, 1.0)
    knots = [
        (0, y - 0.05, z + 0.18, 0.15),
        (0, y - 0.35, z + 0.36, 0.1),
        (0, y - 0.55 + 0.25 * reach, z + 0.45 + 0.2 * reach, 0.08),
        (0, y - 0.6 + 0.7 * reach, z + 0.6 + 0.15 * reach, 0.055),
    ]
    trunk = smooth_path(knots, 14)
    body.append(taper(trunk[:, :3], trunk[:, 3]))
    stride = rng.uniform(0.0, 0.1)
    for sx, z0, sign in ((1, 0.28, 1), (-1, 0.28, -1), (1, -0.46, -1), (-1, -0.46, 1)):
        body.append(round_cone((sx * 0.22, hip, z0), (sx * 0.22, 0.1, z0 + sign * stride), 0.16, 0.11))
    whole = smooth_union(0.1, *body)
    parts = [whole]
    for sx, z0, sign in ((1, 0.28, 1), (-1, 0.28, -1), (1, -0.46, -1), (-1, -0.46, 1)):
        parts.append(
            rod((sx * 0.22, 0, z0 + sign * stride), (sx * 0.22, 0.12, z0 + sign * stride), 0.125, 0.03)
        )
    wide = rng.uniform(0.24, 0.34)
    outline = spline(
        (0, 0.18),
        (0.6 * wide, 0.28),
        (wide * 1.2, 0.12),
        (wide, -0.18),
        (0.4 * wide, -0.3),
        (0, -0.12),
        steps=6,
    )
    ear = plate([outline], 0.07, 0.025).rotated("y", rng.uniform(0.2, 0.8)).moved(0.2, y + 0.03, z - 0.06)
    tusk = smooth_path(
        [
            (0.13, y - 0.12, z + 0.15, 0.045),
            (0.17, y - 0.28, z + 0.34, 0.042),
            (0.15, y - 0.24, z + rng.uniform(0.45, 0.6), 0.034),
        ],
        8,
    )
    tail = taper(
        np.array([(0, hip + 0.35, -0.66), (0, hip - 0.05, -0.82), (0, hip - 0.15, -0.8)]),
        np.array([0.05, 0.036, 0.05]),
    )
    return union(*parts, ear.mirrored("x"), taper(tusk[:, :3], tusk[:, 3]).mirrored("x"), tail)


def giraffe(rng: np.random.Generator) -> Field:
    """A giraffe: long legs, long neck, short horns."""
    hip, thick = rng.uniform(0.75, 0.95), 0.06
    fat, long = rng.uniform(0.17, 0.2), rng.uniform(0.55, 0.65)
    chest, rump = (0.0, hip + 0.16, long / 2), (0.0, hip + 0.05, -long / 2)
    lean, tall = rng.uniform(0.15, 0.5), rng.uniform(0.85, 1.1)
    poll = (0.0, chest[1] + tall, chest[2] + lean)
    body = [round_cone(rump, chest, 0.9 * fat, 1.05 * fat), round_cone(chest, poll, 0.15, 0.075)]
    body.append(round_cone(poll, (0, poll[1] - 0.1, poll[2] + 0.27), 0.1, 0.06))
    body += _legs(rng, 0.62 * fat, hip, -long / 2, long / 2, thick)
    horn = round_cone((0.045, poll[1] + 0.05, poll[2]), (0.06, poll[1] + 0.2, poll[2] - 0.02), 0.034, 0.042)
    ear = ellipsoid((0.14, poll[1] + 0.04, poll[2] - 0.03), (0.1, 0.04, 0.05))
    tail = taper(
        np.array(
            [
                (0, rump[1], rump[2] - 0.1),
                (0, rump[1] - 0.2, rump[2] - 0.24),
                (0, rump[1] - 0.45, rump[2] - 0.25),
            ]
        ),
        np.array([0.045, 0.036, 0.055]),
    )
    return union(smooth_union(0.07, *body), horn.mirrored("x"), ear.mirrored("x"), tail)


def rabbit(rng: np.random.Generator) -> Field:
    """A sitting rabbit with long ears, up or folded back."""
    fat = rng.uniform(0.26, 0.33)
    rump, chest = (0.0, fat, -0.25), (0.0, 0.34, 0.15)
    y, z = rng.uniform(0.58, 0.72), 0.34
    head = rng.uniform(0.17, 0.2)
    body = [
        round_cone(rump, chest, fat, 0.2),
        ellipsoid((0, y, z), (0.95 * head, head, 1.15 * head)),
        round_cone(chest, (0, y, z), 0.15, 0.12),
    ]
    for side in (-1, 1):
        body += [
            ellipsoid((side * 0.22, 0.2, -0.18), (0.13, 0.2, 0.22)),
            round_cone((side * 0.22, 0.06, -0.2), (side * 0.22, 0.055, 0.12), 0.07, 0.055),
            round_cone((side * 0.1, 0.3, 0.22), (side * 0.1, 0.055, 0.32), 0.08, 0.055),
        ]
    whole = smooth_union(0.08, *body)
    long, fold, spread = rng.uniform(0.4, 0.62), rng.uniform(-0.2, 1.0), rng.uniform(0.05, 0.25)
    ear = ellipsoid((0, 0.45 * long, 0), (0.075, 0.55 * long, 0.04)).rotated("x", -fold).rotated("z", -spread)
    ear = ear.moved(0.08, y + 0.75 * head, z - 0.03)
    return union(
        whole,
        ear.mirrored("x"),
        sphere((0, 0.25, -0.25 - fat), 0.11),
        sphere((0, y - 0.02, z + 1.2 * head), 0.04),
    )


def bird(rng: np.random.Generator) -> Field:
    """A standing or flying bird: songbird, duck-like swimmer, or long-legged wader."""
    kind = rng.choice(["songbird", "wader", "flying", "duck"])
    fat, long = rng.uniform(0.24, 0.32), rng.uniform(0.42, 0.58)
    body = [ellipsoid((0, 0, 0), (fat, 0.95 * fat, long))]
    head = rng.uniform(0.15, 0.19)
    lift = {"songbird": 0.3, "wader": 0.7, "flying": 0.1, "duck": 0.42}[str(kind)] * rng.uniform(0.9, 1.15)
    y, z = lift + 0.02, long + (0.12 if kind == "flying" else 0.0)
    neck = smooth_path([(0, 0.05, 0.7 * long, 0.13), (0, 0.5 * lift, 0.95 * long, 0.09), (0, y, z, 0.1)], 8)
    body += [taper(neck[:, :3], neck[:, 3]), sphere((0, y, z), head)]
    whole = smooth_union(0.1, *body)
    bill = rng.uniform(0.16, 0.45) if kind == "wader" else rng.uniform(0.12, 0.22)
    parts = [whole]
    if kind == "duck":
        parts.append(ellipsoid((0, y - 0.04, z + head + 0.06), (0.085, 0.04, 0.15)))
    else:
        parts.append(round_cone((0, y - 0.02, z + 0.8 * head), (0, y - 0.05, z + head + bill), 0.07, 0.022))
    spread = rng.uniform(0.16, 0.3)
    tail = plate([polygon((-0.08, 0), (0.08, 0), (spread, -0.45), (-spread, -0.45))], 0.06, 0.02).rotated(
        "x", np.pi / 2
    )
    parts.append(tail.rotated("x", rng.uniform(-0.35, 0.1)).moved(0, 0.06, -0.75 * long))
    if kind == "flying":
        span, lifted = rng.uniform(0.8, 1.1), rng.uniform(-0.1, 0.6)
        outline = spline(
            (0, 0.22),
            (0.5 * span, 0.26),
            (span, -0.05),
            (0.7 * span, -0.18),
            (0.3 * span, -0.2),
            (0, -0.22),
            steps=6,
        )
        wing = plate([outline], 0.06, 0.02).rotated("x", np.pi / 2).reflected("z").rotated("z", lifted)
        parts.append(wing.moved(0.1, 0.1, 0.05).mirrored("x"))
    else:
        wing = ellipsoid((0.92 * fat, 0.05, -0.1), (0.07, 0.6 * fat, 0.85 * long)).rotated("x", 0.1)
        parts.append(wing.mirrored("x"))
        long_leg = {"songbird": 0.3, "wader": 0.85, "duck": 0.12}[str(kind)] * rng.uniform(0.85, 1.1)
        foot = -0.8 * fat - long_leg
        x = 0.4 * fat
        leg = [
            taper(
                np.array([(x, -0.5 * fat, -0.02), (x, foot / 2 - 0.1, -0.06), (x, foot, 0.0)]),
                np.array([0.06, 0.04, 0.034]),
            )
        ]
        leg += [
            round_cone((x, foot, 0), (x + dx, foot, dz), 0.036, 0.034)
            for dx, dz in ((0, 0.2), (0.1, 0.15), (-0.1, 0.15), (0, -0.12))
        ]
        parts.append(union(*leg).mirrored("x"))
    return union(*parts)


ANIMALS = {
    "bird": bird,
    "cat": cat,
    "dog": dog,
    "elephant": elephant,
    "giraffe": giraffe,
    "horse": horse,
    "rabbit": rabbit,
}
