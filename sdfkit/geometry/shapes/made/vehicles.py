"""Vehicles. The front is at +z and the sides at ±x, about two units long; wheels turn about x."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, intersection, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    bar,
    box,
    capsule,
    cone,
    ellipsoid,
    rod,
    sphere,
    torus,
)
from sdfkit.geometry.shapes.fields.profiles import Loop, plate, polygon

AROUND_X = (1.0, 0.0, 0.0)
UP = (0.0, 1.0, 0.0)


def _wheel(radius: float, width: float, x: float, y: float, z: float) -> Field:
    """A tyre with a sunk hub, its middle at (x, y, z)."""
    tyre = rod((x - width / 2, y, z), (x + width / 2, y, z), radius, 0.3 * width)
    hub = rod((x - 0.7 * width, y, z), (x + 0.7 * width, y, z), 0.5 * radius, 0.05 * width)
    return tyre | hub


def _side_plate(outline: Loop, width: float, rounding: float) -> Field:
    """A prism across the vehicle from an outline given as (z, y); the rounding grows the outline."""
    return plate([outline], width, rounding).rotated("y", -np.pi / 2)


def car(rng: np.random.Generator) -> Field:
    """A saloon, hatchback, estate, pick-up or sports car."""
    kind = str(rng.choice(["saloon", "hatchback", "estate", "pickup", "sports"]))
    width, wheel = rng.uniform(0.72, 0.86), rng.uniform(0.17, 0.22)
    floor = wheel * rng.uniform(0.7, 0.95)
    waist, roof = floor + rng.uniform(0.26, 0.34), floor + rng.uniform(0.52, 0.62)
    if kind == "sports":
        waist, roof = floor + 0.2, floor + rng.uniform(0.36, 0.42)
    bonnet = waist - rng.uniform(0.02, 0.08)
    soft = 0.04
    body = [
        (-1.0, floor + 0.05),
        (-0.97, waist),
        (0.45, waist),
        (0.95, bonnet - 0.03),
        (1.0, floor + 0.1),
        (0.97, floor),
        (-0.96, floor),
    ]
    screen = rng.uniform(0.4, 0.5)
    cabins = {
        "saloon": [(-0.72, waist - 0.05), (-0.45, roof), (0.12, roof), (screen, waist - 0.05)],
        "hatchback": [(-0.96, waist - 0.05), (-0.78, roof), (0.12, roof), (screen, waist - 0.05)],
        "estate": [(-0.98, waist - 0.05), (-0.92, roof), (0.12, roof), (screen, waist - 0.05)],
        "pickup": [(-0.25, waist - 0.05), (-0.18, roof), (0.15, roof), (screen, waist - 0.05)],
        "sports": [(-0.75, waist - 0.05), (-0.3, roof), (0.0, roof), (screen, waist - 0.05)],
    }
    hull = _side_plate(polygon(*body), width, soft)
    cabin = _side_plate(polygon(*cabins[kind]), width * rng.uniform(0.8, 0.9), soft)
    if kind == "pickup":
        hull = difference(hull, box((0, waist + 0.1, -0.62), (width - 0.16, 0.5, 0.6), 0.02))
    shell = smooth_union(0.06, hull, cabin)
    axle = rng.uniform(0.56, 0.66)
    side = width / 2 - 0.2  # wheel arches end here; the body between them connects bonnet and boot
    wells = [rod((side, wheel, z), (1, wheel, z), wheel * 1.16, 0).mirrored("x") for z in (-axle, axle)]
    inner = box((0, floor + 0.1, 0), (width - 0.3, 0.24, 1.7), 0.02)
    shell = union(difference(shell, *wells), inner)
    tread = rng.uniform(0.13, 0.18)
    parts = [shell]
    for z in (-axle, axle):
        x = width / 2 - tread / 2 + 0.02
        parts.append(_wheel(wheel, tread, x, wheel, z).mirrored("x"))
        parts.append(rod((-x, wheel, z), (x, wheel, z), 0.05, 0))
    parts.append(sphere((width / 2 - 0.12, waist - 0.14, 0.97), 0.06).mirrored("x"))
    parts.append(ellipsoid((width / 2 + 0.03, waist + 0.02, screen - 0.1), (0.07, 0.05, 0.05)).mirrored("x"))
    if kind == "sports" and rng.random() < 0.7:
        parts.append(box((0, waist + 0.14, -0.92), (width * 0.9, 0.045, 0.16), 0.015))
        parts.append(box((width * 0.3, waist + 0.06, -0.92), (0.05, 0.18, 0.1), 0.01).mirrored("x"))
    return union(*parts)


def truck(rng: np.random.Generator) -> Field:
    """A lorry: a cab, and a box, tank, tipper or flat bed with logs."""
    width, wheel, tread = 0.5, rng.uniform(0.12, 0.15), 0.11
    cab_long, cab_top = rng.uniform(0.3, 0.42), rng.uniform(0.6, 0.75)
    floor = wheel * 1.35
    front, rear = 1.0, -1.0
    chassis = box((0, floor, 0), (width * 0.6, 0.1, 1.9), 0.01)
    lean = rng.uniform(0.02, 0.12)
    cab = _side_plate(
        polygon(
            (front - cab_long, floor),
            (front - cab_long, cab_top),
            (front - 0.08 - lean, cab_top),
            (front - 0.05, cab_top * 0.6),
            (front, floor),
        ),
        width,
        0.03,
    )
    parts = [chassis, cab, box((0, floor, front - 0.02), (width, 0.1, 0.1), 0.02)]
    if rng.random() < 0.4:
        parts.append(box((0, 0.42 * cab_top, front + 0.08), (width * 0.85, 0.5 * cab_top, 0.35), 0.05))
    start = front - cab_long - rng.uniform(0.06, 0.1)
    middle, long = (start + rear) / 2, start - rear
    cargo = rng.choice(["box", "tank", "tipper", "logs"])
    if cargo == "box":
        tall = rng.uniform(0.5, 0.7)
        parts.append(box((0, floor + tall / 2, middle), (width * 1.05, tall, long), 0.02))
    elif cargo == "tank":
        radius = rng.uniform(0.23, 0.27)
        y = floor + radius + 0.02
        parts.append(rod((0, y, rear), (0, y, start), radius, 0.08))
        parts.append(box((0, floor + 0.06, middle), (width * 0.7, 0.16, long * 0.9), 0.01))
        parts += [
            rod((0, y, middle + s * long), (0, y + radius + 0.06, middle + s * long), 0.06, 0.01)
            for s in (-0.25, 0.0, 0.25)
        ]
    elif cargo == "tipper":
        tall = rng.uniform(0.3, 0.42)
        tub = box((0, floor + tall / 2 + 0.03, middle), (width, tall, long), 0.01)
        parts.append(
            difference(
                tub, box((0, floor + tall / 2 + 0.11, middle), (width - 0.09, tall, long - 0.09), 0.01)
            )
        )
    else:
        parts.append(box((0, floor + 0.06, middle), (width, 0.06, long), 0.01))
        for x, y in ((-0.14, 0.15), (0.14, 0.15), (0, 0.36), (0.0, 0.12)):
            parts.append(rod((x, floor + y, rear + 0.02), (x, floor + y, start - 0.02), 0.135, 0.01))
    spots = [front - 0.25, rear + 0.2, rear + 0.2 + 2.2 * wheel]
    if rng.random() < 0.5:
        spots.append(rear + 0.2 + 4.4 * wheel)
    for z in spots:
        x = width / 2 - tread / 2 + 0.015
        parts.append(_wheel(wheel, tread, x, wheel, z).mirrored("x"))
        parts.append(bar((-x, wheel, z), (x, wheel, z), 0.06, 0.1, UP, 0))
        parts.append(box((0, wheel + 0.05, z), (0.2, 0.16, 0.1), 0))
    return union(*parts)


def bus(rng: np.random.Generator) -> Field:
    """A bus: one deck or two, sunk windows, wheels in wheel arches."""
    decks = int(rng.choice([1, 1, 2]))
    width, wheel = 0.5, 0.13
    height = rng.uniform(0.55, 0.62) if decks == 1 else rng.uniform(0.85, 0.95)
    floor = 0.1
    hull = box((0, floor + height / 2, 0), (width, height, 2.0), rng.uniform(0.03, 0.08))
    count = int(rng.integers(4, 8))
    pane = 1.6 / count
    cuts = []
    for deck in range(decks):
        y = floor + height * (0.66 if decks == 1 else (0.34, 0.78)[deck])
        tall = 0.2 if decks == 1 else 0.18
        for row in range(count):
            z = -0.86 + (row + 0.5) * pane + 0.02
            cuts.append(box((width / 2, y, z), (0.1, tall, pane - 0.06), 0.01).mirrored("x"))
        cuts.append(box((0, y, 1.0), (width - 0.1, tall, 0.1), 0.01))
        cuts.append(box((0, y, -1.0), (width - 0.14, 0.9 * tall, 0.08), 0.01))
    cuts.append(box((width / 2, floor + 0.24, 0.86), (0.08, 0.36, 0.16), 0.01))
    axles = (-rng.uniform(0.5, 0.65), 0.62)
    wells = [rod((-1, wheel, z), (1, wheel, z), 1.15 * wheel, 0) for z in axles]
    hull = difference(hull, union(*cuts, *wells))
    parts = [hull, box((0, floor + 0.12, 0), (width - 0.24, 0.2, 1.6), 0)]
    for z in axles:
        x = width / 2 - 0.055
        parts.append(_wheel(wheel, 0.11, x, wheel, z).mirrored("x"))
        parts.append(rod((-x, wheel, z), (x, wheel, z), 0.05, 0))
    if rng.random() < 0.5:
        parts.append(box((0, floor + height, -0.3), (0.3, 0.1, 0.5), 0.03))
    parts.append(
        capsule(
            (width / 2 - 0.04, floor + height * 0.72, 0.96),
            (width / 2 + 0.07, floor + height * 0.66, 1.06),
            0.03,
        ).mirrored("x")
    )
    return union(*parts)


def train(rng: np.random.Generator) -> Field:
    """A steam engine or a diesel, sometimes with a wagon coupled behind."""
    wheel, width = rng.uniform(0.11, 0.15), 0.42
    floor = 2 * wheel
    parts = [box((0, floor, 0.2), (width * 0.8, 0.1, 1.4), 0.01)]
    if rng.random() < 0.65:
        boiler = rng.uniform(0.17, 0.21)
        y = floor + boiler
        parts.append(rod((0, y, -0.1), (0, y, 0.85), boiler, 0.03))
        parts.append(rod((0, y, 0.8), (0, y, 0.9), 0.75 * boiler, 0.02))
        parts += [
            torus((0, y, z), (0, 0, 1), boiler, 0.024) for z in np.linspace(0.1, 0.7, int(rng.integers(2, 4)))
        ]
        top = y + boiler
        flare = rng.uniform(0.07, 0.12)
        parts.append(cone((0, top - 0.06, 0.66), (0, top + rng.uniform(0.16, 0.3), 0.66), 0.06, flare))
        parts += [
            sphere((0, top, z), rng.uniform(0.07, 0.1))
            for z in np.linspace(0.1, 0.4, int(rng.integers(1, 3)))
        ]
        cab_top = top + rng.uniform(0.12, 0.22)
        cab = box((0, (floor + cab_top) / 2, -0.3), (width, cab_top - floor, 0.42), 0.01)
        window = box((0, cab_top - 0.15, -0.3), (1, 0.16, 0.22), 0.01)
        parts += [difference(cab, window), box((0, cab_top, -0.3), (width + 0.08, 0.05, 0.54), 0.015)]
        plough = plate([polygon((-0.2, 0), (0.2, 0), (0, 0.2))], floor, 0.01).rotated("x", np.pi / 2)
        parts.append(plough.moved(0, floor / 2 + 0.03, 0.88))
    else:
        tall = rng.uniform(0.42, 0.52)
        nose = polygon(
            (-0.5, floor), (-0.5, floor + tall), (0.6, floor + tall), (0.9, floor + 0.4 * tall), (0.95, floor)
        )
        hull = _side_plate(nose, width, 0.04)
        panes = [box((0, floor + 0.7 * tall, z), (1, 0.14, 0.14), 0.01) for z in np.linspace(-0.3, 0.4, 4)]
        side = union(*panes) - box((0, 0, 0), (width - 0.08, 4, 4), 0)
        parts += [difference(hull, side), box((0, floor + tall + 0.04, 0), (0.25, 0.12, 0.6), 0.02)]
    spots: list[float] = np.linspace(-0.3, 0.7, int(rng.integers(3, 5))).tolist()
    if rng.random() < 0.6:
        middle = -1.1
        if rng.random() < 0.5:
            parts.append(
                difference(
                    box((0, floor + 0.22, middle), (width, 0.36, 0.8), 0.01),
                    box((0, floor + 0.3, middle), (width - 0.09, 0.36, 0.71), 0.01),
                )
            )
        else:
            parts.append(box((0, floor + 0.26, middle), (width, 0.5, 0.8), 0.05))
        parts += [
            box((0, floor, middle), (width * 0.8, 0.1, 0.8), 0.01),
            capsule((0, floor, -0.5), (0, floor, -0.75), 0.04),
        ]
        spots += [middle - 0.24, middle + 0.24]
    for z in spots:
        x = width / 2 - 0.06
        parts.append(_wheel(wheel, 0.07, x, wheel, float(z)).mirrored("x"))
        parts.append(rod((-x, wheel, z), (x, wheel, z), 0.04, 0))
        parts.append(box((0, 1.5 * wheel, z), (0.16, wheel + 0.05, 0.1), 0))
    return union(*parts)


def boat(rng: np.random.Generator) -> Field:
    """A sailing boat, rowing boat, tug or steamer."""
    long, wide, deep = 1.0, rng.uniform(0.26, 0.38), rng.uniform(0.25, 0.36)
    # The intersection of two balls, dilated: pointed bow and stern, a round bottom.
    swing = (long * long - wide * wide) / (2 * wide)
    body = intersection(
        *(rod((sign * swing, -1, 0), (sign * swing, 1, 0), swing + wide, 0) for sign in (-1, 1))
    )
    keel = (long * long - deep * deep) / (2 * deep)
    bottom = rod((-1, keel - deep, 0), (1, keel - deep, 0), keel, 0)
    deck = box((0, -1, 0), (4, 2, 4), 0)
    hull = intersection(body, bottom, deck)
    kind = rng.choice(["sail", "row", "tug", "steamer"])
    if kind == "row":
        inner = intersection(body.dilated(-0.06), bottom.dilated(-0.06), box((0, 0, 0), (4, 4, 4), 0))
        parts = [difference(hull, inner)]
        for z in np.linspace(-0.4, 0.4, int(rng.integers(2, 4))):
            half = np.sqrt((swing + wide) ** 2 - z * z) - swing
            parts.append(box((0, -0.07, z), (2 * half - 0.04, 0.05, 0.14), 0.01))
        spread = rng.uniform(0.7, 0.9)
        oar = union(
            capsule((0.1, 0.16, 0.05), (spread, -0.12, -0.1), 0.034),
            bar((spread, -0.12, -0.1), (spread + 0.2, -0.2, -0.14), 0.13, 0.045, UP, 0.01),
        )
        lock = capsule((wide - 0.035, -0.06, 0.0), (wide, 0.06, 0.0), 0.045)
        return union(*parts, oar.mirrored("x"), lock.mirrored("x"))
    parts = [hull]
    if kind == "sail":
        mast, foot = rng.uniform(1.2, 1.6), rng.uniform(0.05, 0.2)
        parts.append(rod((0, -0.1, foot), (0, mast, foot), 0.034, 0.01))
        boom = rng.uniform(0.6, 0.8)
        sail = polygon((-0.02, 0.12), (-0.02, mast - 0.05), (-boom, 0.12))
        jib = polygon((0.0, 0.16), (0.0, mast * 0.85), (0.9 - foot, 0.02))
        swingout = rng.uniform(-0.4, 0.4)
        main = union(_side_plate(sail, 0.05, 0.005), capsule((0, 0.12, 0), (0, 0.12, -boom), 0.034))
        parts.append(main.rotated("y", swingout).moved(0, 0, foot))
        if rng.random() < 0.7:
            parts.append(_side_plate(jib, 0.05, 0.005).moved(0, 0, foot))
        parts.append(box((0, 0.03, -0.05), (wide, 0.14, 0.4), 0.04))
        parts.append(box((0, -deep - 0.08, -0.05), (0.06, 0.3, 0.3), 0.02))
        return union(*parts)
    if kind == "tug":
        parts.append(box((0, 0.14, 0.1), (0.9 * wide, 0.34, 0.5), 0.03))
        parts.append(box((0, 0.38, 0.18), (0.75 * wide, 0.28, 0.26), 0.03))
        parts.append(rod((0, 0.1, -0.16), (0, rng.uniform(0.5, 0.7), -0.2), 0.08, 0.01))
        parts.append(capsule((0, 0, 0.6), (0, 0.5, 0.5), 0.034))
    else:
        levels = int(rng.integers(2, 4))
        for level in range(levels):
            size = (wide * (1.3 - 0.25 * level), 0.16, 0.9 - 0.2 * level)
            parts.append(box((0, 0.06 + 0.15 * level, -0.05), size, 0.02))
        count = int(rng.integers(1, 4))
        roof = 0.06 + 0.15 * (levels - 1)
        for z in np.linspace(-0.2, 0.15, count) if count > 1 else np.zeros(1):
            parts.append(rod((0, roof, z), (0, roof + 0.38, z - 0.05), 0.065, 0.01))
        parts.append(capsule((0, -0.05, 0.6), (0, 0.6, 0.6), 0.034))
    rail = torus((0, 0, 0), AROUND_X, 0.05, 0.03)
    return union(*parts, rail.moved(wide - 0.03, -0.04, 0.0))


VEHICLES = {"boat": boat, "bus": bus, "car": car, "train": train, "truck": truck}
