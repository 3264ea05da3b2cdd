"""Human and human-like figures, facing +z."""

import numpy as np
from jaxtyping import Float

from sdfkit.geometry.shapes.fields.field import Field, rotation, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    box,
    capsule,
    cone,
    ellipsoid,
    rod,
    round_cone,
    sphere,
    taper,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import curve, lathe

UP = (0.0, 1.0, 0.0)
Point = Float[np.ndarray, "3"]


def _head(rng: np.random.Generator, size: float) -> Field:
    """A head about the origin, facing +z: skull, jaw, nose, ears, brows, sometimes hair."""
    skull = ellipsoid((0, 0.1 * size, -0.06 * size), (0.78 * size, 0.92 * size, 0.92 * size))
    jaw = ellipsoid((0, -0.48 * size, 0.16 * size), (0.54 * size, 0.52 * size, 0.58 * size))
    nose = round_cone(
        (0, 0.02 * size, 0.82 * size),
        (0, -0.26 * size, rng.uniform(0.92, 1.12) * size),
        0.07 * size,
        0.13 * size,
    )
    brow = capsule(
        (-0.34 * size, 0.14 * size, 0.7 * size), (0.34 * size, 0.14 * size, 0.7 * size), 0.1 * size
    )
    lips = capsule(
        (-0.14 * size, -0.56 * size, 0.68 * size), (0.14 * size, -0.56 * size, 0.68 * size), 0.08 * size
    )
    face = smooth_union(0.16 * size, skull, jaw, brow, lips)
    face = smooth_union(0.08 * size, face, nose)
    ear = ellipsoid((0.78 * size, -0.05 * size, -0.05 * size), (0.1 * size, 0.24 * size, 0.16 * size))
    parts = [face, ear.mirrored("x")]
    hair = rng.choice(["bald", "cap", "bun", "long"])
    if hair != "bald":
        cap = ellipsoid((0, 0.24 * size, -0.16 * size), (0.86 * size, 0.88 * size, 0.94 * size))
        parts.append(cap - box((0, -0.9 * size, 0.55 * size), (4 * size, 2 * size, 2 * size), 0))
    if hair == "bun":
        parts.append(sphere((0, 0.75 * size, -0.75 * size), 0.34 * size))
    if hair == "long":
        parts.append(ellipsoid((0, -0.3 * size, -0.5 * size), (0.72 * size, 0.95 * size, 0.46 * size)))
    return union(*parts)


def bust(rng: np.random.Generator) -> Field:
    """A portrait bust: head, neck and shoulders on a turned or square socle."""
    size = rng.uniform(0.42, 0.5)
    head_y = 1.25
    tilt, turn = rng.uniform(-0.15, 0.15), rng.uniform(-0.5, 0.5)
    head = _head(rng, size).rotated("z", tilt).rotated("y", turn).moved(0, head_y, 0.05)
    wide = rng.uniform(0.5, 0.66)
    neck = round_cone((0, 0.45, -0.04), (0, head_y - 0.3, 0), 0.2, 0.2)
    shoulders = [
        round_cone((-wide, 0.3, -0.06), (wide, 0.3, -0.06), 0.19, 0.19),
        ellipsoid((0, 0.2, 0.02), (0.8 * wide, 0.34, 0.27)),
        round_cone((0, 0.5, -0.04), (wide * 0.8, 0.36, -0.06), 0.14, 0.15).mirrored("x"),
    ]
    torso = smooth_union(0.14, neck, *shoulders)
    torso = torso - box((0, -1.0 + rng.uniform(-0.06, 0.08), 0), (4, 2, 4), 0)
    if rng.random() < 0.5:
        path = curve([(0.3, -0.5), (0.28, -0.42), (0.16, -0.25), (0.2, -0.05), (0.28, 0.05)], 24)
        socle = lathe(np.concatenate([[[0, -0.5]], path, [[0, 0.05]]]), 0.01)
    else:
        socle = union(box((0, -0.4, 0), (0.62, 0.2, 0.5), 0.02), box((0, -0.15, 0), (0.36, 0.5, 0.32), 0.02))
    parts = [smooth_union(0.06, torso, head), socle]
    if rng.random() < 0.4:
        parts.append(torus((0, 0.56, 0), (0, 1, 0.35), 0.26, rng.uniform(0.05, 0.08)))
    return union(*parts)


def _rotated(vector: tuple[float, float, float], *turns: tuple[str, float]) -> Point:
    point = np.array(vector)
    for axis, angle in turns:
        point = rotation(axis, angle) @ point
    return point


def humanoid(rng: np.random.Generator) -> Field:
    """A person in a random pose: joint angles of shoulders, elbows, hips, knees, spine and head."""
    girth, arm, leg = rng.uniform(0.85, 1.25), rng.uniform(0.27, 0.32), rng.uniform(0.38, 0.46)
    lean, twist = rng.uniform(-0.1, 0.3), rng.uniform(-0.35, 0.35)
    spine = _rotated((0.0, 0.55, 0.0), ("x", lean))
    wide, hips = rng.uniform(0.19, 0.24), rng.uniform(0.09, 0.12)
    neck = 1.28 * spine
    body = [
        ellipsoid((0, 0, 0), (0.17 * girth, 0.13, 0.12 * girth)),
        round_cone((0, 0.02, 0), 0.75 * spine, 0.12 * girth, 0.14 * girth),
        round_cone(0.9 * spine, neck, 0.07, 0.06),
    ]
    for side in (-1.0, 1.0):
        across = _rotated((side * wide, 0.0, 0.0), ("y", twist), ("x", lean))
        shoulder = 0.93 * spine + across
        body.append(round_cone(0.8 * spine, shoulder, 0.13 * girth, 0.085 * girth))
        # Arms hang along -y. `swing` rotates them forward, `spread` sideways, and `fold` bends the elbow forward.
        swing, spread, fold = rng.uniform(-2.6, 0.7), rng.uniform(0.12, 1.3), rng.uniform(0.05, 1.9)
        place = (("x", swing), ("z", side * spread), ("y", twist))
        elbow = shoulder + _rotated((0, -arm, 0), *place)
        hand = elbow + _rotated((0, -0.95 * arm, 0), ("x", -fold), *place)
        grip = hand + _rotated((0, -0.07, 0), ("x", -fold), *place)
        limb = smooth_union(
            0.04,
            round_cone(shoulder, elbow, 0.075 * girth, 0.055),
            round_cone(elbow, hand, 0.056, 0.042),
            round_cone(hand, grip, 0.046, 0.05),
        )
        body.append(limb)
        hip = np.array([side * hips, -0.05, 0.0])
        raise_leg, apart, bend = rng.uniform(-1.2, 0.35), rng.uniform(0.02, 0.4), rng.uniform(0.0, 1.2)
        stance = (("x", raise_leg), ("z", side * apart))
        knee = hip + _rotated((0, -leg, 0), *stance)
        ankle = knee + _rotated((0, -leg, 0), ("x", bend), *stance)
        toe = ankle + _rotated((0, -0.03, 0.15), ("x", bend), *stance)
        limb = smooth_union(
            0.04,
            round_cone(hip, knee, 0.11 * girth, 0.072),
            round_cone(knee, ankle, 0.072, 0.048),
            round_cone(ankle, toe, 0.052, 0.042),
        )
        body.append(limb)
    whole = smooth_union(0.06, *body)
    look = rng.uniform(-0.7, 0.7)
    head = (
        _head(rng, rng.uniform(0.125, 0.145)).rotated("y", look).rotated("x", rng.uniform(-0.3, 0.3) + lean)
    )
    head = head.moved(*(neck + _rotated((0, 0.12, 0.02), ("x", lean))))
    parts = [whole, head]
    if rng.random() < 0.3:  # a skirt, open to the legs within it
        parts.append(cone((0, -rng.uniform(0.25, 0.4), 0), (0, 0.1, 0), 0.3, 0.14))
    return union(*parts)


def snowman(rng: np.random.Generator) -> Field:
    """A snowman: two or three balls, carrot nose, stick arms, buttons, hat or bucket."""
    count = int(rng.integers(2, 4))
    radius, y = rng.uniform(0.42, 0.52), 0.0
    parts: list[Field] = []
    for row in range(count):
        y += radius if row == 0 else 0.72 * radius
        parts.append(sphere((0, y, 0), radius))
        if row == count - 1:
            break
        if row == count - 2:
            middle, chest = y, radius
        y += 0.72 * radius
        radius *= rng.uniform(0.68, 0.8)
    parts.append(
        round_cone((0, y, 0.85 * radius), (0, y - 0.03, radius + rng.uniform(0.2, 0.4)), 0.075, 0.022)
    )
    eye = sphere((0.38 * radius, y + 0.3 * radius, 0.85 * radius), 0.055)
    parts.append(eye.mirrored("x"))
    parts += [
        sphere((0, middle + chest * np.sin(tilt), chest * np.cos(tilt)), 0.055) for tilt in (0.35, 0.0, -0.35)
    ]
    for side in (-1.0, 1.0):
        elbow = np.array([side * (chest + 0.3), middle + rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.2)])
        tip = elbow + np.array([side * 0.2, rng.uniform(0.05, 0.25), 0.05])
        parts += [capsule((side * 0.6 * chest, middle, 0), elbow, 0.04), capsule(elbow, tip, 0.036)]
        parts.append(capsule(elbow, elbow + np.array([side * 0.18, -0.04, 0.1]), 0.034))
    top = y + 0.88 * radius
    hat = rng.choice(["topper", "bucket", "cone", "none"])
    if hat == "topper":
        parts += [
            rod((0, top - 0.05, 0), (0, top + 0.02, 0), 1.15 * radius, 0.02),
            rod((0, top - 0.05, 0), (0, top + 0.36, 0), 0.7 * radius, 0.02),
        ]
    elif hat == "bucket":
        parts.append(cone((0, top - 0.1, 0), (0, top + 0.32, 0), 0.85 * radius, 0.65 * radius))
    elif hat == "cone":
        parts += [
            cone((0, top - 0.12, 0), (0, top + 0.5, 0), 0.8 * radius, 0.05),
            sphere((0, top + 0.5, 0), 0.09),
        ]
    if rng.random() < 0.5:
        scarf = y - 0.78 * radius
        parts.append(torus((0, scarf, 0), UP, 0.72 * radius, 0.08))
        parts.append(
            capsule((0.3 * radius, scarf, 0.6 * radius), (0.4 * radius, scarf - 0.3, chest + 0.02), 0.065)
        )
    return union(*parts)


def robot(rng: np.random.Generator) -> Field:
    """A toy robot of boxes and tubes, arms and legs posed."""
    wide, tall, deep = rng.uniform(0.5, 0.75), rng.uniform(0.55, 0.8), rng.uniform(0.35, 0.45)
    soft = rng.uniform(0.02, 0.08)
    parts = [box((0, 0, 0), (wide, tall, deep), soft)]
    head = rng.uniform(0.3, 0.42)
    y = tall / 2 + 0.08 + head / 2
    parts.append(rod((0, tall / 2 - 0.05, 0), (0, y, 0), 0.09, 0))
    if rng.random() < 0.6:
        parts.append(box((0, y, 0), (1.15 * head, head, head), soft))
        front = head / 2
    else:
        parts.append(
            rod((0, y - head / 2, 0), (0, y + 0.3 * head, 0), 0.55 * head, 0.02)
            | sphere((0, y + 0.2 * head, 0), 0.55 * head)
        )
        front = 0.45 * head
    parts.append(rod((0.12, y + 0.03, 0), (0.12, y + 0.03, front + 0.06), 0.065, 0.015).mirrored("x"))
    parts.append(box((0, y - 0.1, front), (0.2, 0.05, 0.07), 0.01))
    antenna = rng.choice(["one", "two", "none"])
    if antenna != "none":
        x = 0.0 if antenna == "one" else 0.14
        stick = capsule((x, y, 0), (1.6 * x, y + head / 2 + 0.2, 0), 0.034) | sphere(
            (1.6 * x, y + head / 2 + 0.2, 0), 0.06
        )
        parts.append(stick.mirrored("x") if x else stick)
    panel = rng.choice(["dials", "plate", "chest"])
    if panel == "dials":
        parts += [rod((x, 0.08, 0), (x, 0.08, deep / 2 + 0.05), 0.06, 0.01) for x in (-0.13, 0.0, 0.13)]
    else:
        parts.append(box((0, 0.05, deep / 2), (0.6 * wide, 0.4 * tall, 0.09), 0.02))
    shoulder = np.array([wide / 2 + 0.06, tall / 2 - 0.13, 0.0])
    limb = rng.uniform(0.06, 0.085)
    for side in (-1.0, 1.0):
        flip = np.array([side, 1, 1])
        swing, fold = rng.uniform(-2.4, 0.5), rng.uniform(0.0, 1.5)
        elbow = shoulder * flip + _rotated((side * 0.08, -0.32, 0), ("x", swing))
        hand = elbow + _rotated((0, -0.3, 0), ("x", swing - fold))
        parts += [rod((side * 0.3 * wide, shoulder[1], 0), shoulder * flip + (side * 0.05, 0, 0), 0.1, 0.02)]
        parts += [
            capsule(shoulder * flip, elbow, limb),
            sphere(elbow, 1.25 * limb),
            capsule(elbow, hand, limb),
        ]
        parts += [
            capsule(hand, hand + _rotated((0.13 * np.sin(turn), -0.14, 0), ("x", swing - fold)), 0.04)
            for turn in (-0.5, 0.5)
        ]
        hip = np.array([side * 0.26 * wide, -tall / 2 + 0.05, 0])
        step = rng.uniform(-0.35, 0.35)
        foot = hip + _rotated((0, -rng.uniform(0.38, 0.5), 0), ("x", step))
        parts += [rod(hip, foot, 1.3 * limb, 0.02), box(foot + (0, -0.02, 0.06), (0.22, 0.14, 0.36), 0.03)]
    return union(*parts)


def teddy_bear(rng: np.random.Generator) -> Field:
    """A sitting or standing teddy bear."""
    fat, head = rng.uniform(0.32, 0.4), rng.uniform(0.27, 0.33)
    y = 0.42 + fat * 0.55 + head * 0.6
    body = [ellipsoid((0, 0.25, 0), (fat, 1.15 * fat, 0.9 * fat)), sphere((0, y, 0.03), head)]
    body.append(ellipsoid((0, y - 0.08, 0.03 + 0.85 * head), (0.14, 0.11, 0.13)))
    sit = rng.random() < 0.6
    for side in (-1.0, 1.0):
        lift = rng.uniform(-0.35, 0.4)
        hand = (side * (fat + 0.24), 0.35 + lift, 0.18)
        body.append(round_cone((side * 0.75 * fat, 0.46, 0.03), hand, 0.12, 0.105))
        if sit:
            foot = (side * 0.34, -0.06, fat + rng.uniform(0.16, 0.28))
        else:
            foot = (side * 0.2, -0.42, rng.uniform(-0.05, 0.15))
        body.append(round_cone((side * 0.18, 0.0, 0.05), foot, 0.15, 0.13))
    whole = smooth_union(0.06, *body)
    ear = sphere((0.75 * head, y + 0.75 * head, 0), rng.uniform(0.09, 0.13))
    nose = sphere((0, y - 0.04, 0.03 + 0.85 * head + 0.12), 0.05)
    eye = sphere((0.36 * head, y + 0.15 * head, 0.03 + 0.88 * head), 0.045)
    parts = [whole, ear.mirrored("x"), nose, eye.mirrored("x")]
    if rng.random() < 0.4:
        bow = taper(
            np.array(
                [(-0.18, y - head * 0.95, 0.3), (0, y - head * 0.95, 0.3), (0.18, y - head * 0.95, 0.3)]
            ),
            np.array([0.1, 0.04, 0.1]),
        )
        parts.append(bow)
    return union(*parts)


FIGURES = {"bust": bust, "humanoid": humanoid, "robot": robot, "snowman": snowman, "teddy_bear": teddy_bear}
