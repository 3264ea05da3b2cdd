"""Vessels: surfaces of revolution with handles and spouts, about one unit high."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, smooth_union, union
from sdfkit.geometry.shapes.fields.primitives import (
    arc,
    capsule,
    cone,
    rod,
    round_cone,
    smooth_path,
    sphere,
    taper,
    torus,
    tube,
)
from sdfkit.geometry.shapes.fields.profiles import Loop, curve, lathe, polygon, shell

AROUND_Z = (0.0, 0.0, 1.0)
UP = (0.0, 1.0, 0.0)


def _open_wall(path: Loop, thickness: float) -> Field:
    """A wall with a bottom at the start of the path, thick enough for every grid resolution."""
    radius, y = path[0]
    floor = rod((0, y - thickness / 2, 0), (0, y + 0.7 * thickness, 0), radius, 0)
    return union(shell(path, thickness), floor)


def _solid(path: Loop) -> Loop:
    """The outline of the space inside a path, up to its rim; used to remove parts that extend into this space."""
    return np.concatenate([[[0, path[0, 1]]], path, [[0, path[-1, 1]]]])


def vase(rng: np.random.Generator) -> Field:
    """A flower vase with a random profile, sometimes with two handles."""
    height, wall = 1.0, rng.uniform(0.04, 0.06)
    foot, belly = rng.uniform(0.1, 0.22), rng.uniform(0.2, 0.42)
    neck, lip = rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.3)
    at_belly, at_neck = rng.uniform(0.2, 0.5), rng.uniform(0.68, 0.86)
    path = curve([(foot, 0), (belly, at_belly), (neck, at_neck), (lip, height)], 48)
    parts = [_open_wall(path, wall)]
    if rng.random() < 0.3:
        parts.append(torus((0, 0, 0), UP, foot + 0.02, 0.05))
    if rng.random() < 0.35:
        reach, y = (belly + neck) / 2, (at_belly + at_neck) / 2
        loop = arc((neck + 0.08, y + 0.05, 0), AROUND_Z, (1, 0, 0), 0.16, 3.9, 0.032)
        attach = capsule((neck - 0.01, y + 0.17, 0), (neck + 0.1, y + 0.19, 0), 0.032)
        below = capsule((reach * 0.8, y - 0.12, 0), (neck + 0.1, y - 0.1, 0), 0.032)
        handle = difference(union(loop, attach, below), lathe(_solid(path), 0))
        parts.append(handle.mirrored("x"))
    return union(*parts)


def bottle(rng: np.random.Generator) -> Field:
    """A closed bottle: wine, beer, soda, medicine or flask; round shoulders or square, with a cap or cork."""
    width, height = rng.uniform(0.15, 0.3), 1.0
    neck = width * rng.uniform(0.28, 0.5) if width > 0.2 else width * rng.uniform(0.4, 0.6)
    shoulder, throat = rng.uniform(0.45, 0.68), rng.uniform(0.72, 0.82)
    waist = width * rng.choice([1.0, 1.0, rng.uniform(0.8, 0.92)])
    body = curve([(width, 0.03), (waist, 0.3), (width, shoulder), (neck, throat), (neck, height)], 40)
    outline = np.concatenate([[[0, 0], [width - 0.03, 0]], body, [[0, height]]])
    parts = [lathe(outline, 0)]
    top = rng.choice(["cap", "cork", "ring"])
    if top == "cap":
        tall = rng.uniform(0.06, 0.12)
        parts.append(rod((0, height - tall, 0), (0, height + 0.02, 0), neck + 0.03, 0.01))
        parts.append(torus((0, height - tall - 0.03, 0), UP, neck, 0.025))
    elif top == "cork":
        parts.append(cone((0, height - 0.05, 0), (0, height + 0.08, 0), neck * 0.7, neck * 0.85))
        parts.append(torus((0, height - 0.02, 0), UP, neck, 0.028))
    else:
        parts += [
            torus((0, height - 0.04 - 0.06 * row, 0), UP, neck, 0.022)
            for row in range(int(rng.integers(1, 3)))
        ]
    if rng.random() < 0.3:
        parts += [torus((0, y, 0), UP, width - 0.005, 0.02) for y in (0.12, shoulder - 0.06)]
    return union(*parts)


def mug(rng: np.random.Generator) -> Field:
    """A mug with one handle: straight, tapered or bellied."""
    height, radius = rng.uniform(0.8, 1.1), rng.uniform(0.33, 0.46)
    wall, grip = rng.uniform(0.05, 0.08), rng.uniform(0.04, 0.06)
    foot, middle = radius * rng.uniform(0.75, 1.0), radius * rng.uniform(0.95, 1.15)
    path = curve([(foot, 0), (middle, 0.45 * height), (radius, height)], 20)
    size = rng.uniform(0.2, 0.27)
    y = rng.uniform(0.48, 0.56) * height
    if rng.random() < 0.5:
        handle = arc((radius + 0.03, y, 0), AROUND_Z, (1, 0, 0), size, 4.0, grip)
    else:
        far = radius + size
        corners = [
            (foot * 0.9, y - size, 0),
            (far, y - size, 0),
            (far, y + size, 0),
            (radius * 0.9, y + size, 0),
        ]
        handle = tube(np.array(corners), grip)
    return union(_open_wall(path, wall), difference(handle, lathe(_solid(path), 0)))


def bowl(rng: np.random.Generator) -> Field:
    """A bowl or dish, with a foot ring or a broad rim."""
    radius, height, wall = 1.0, rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.09)
    foot = rng.uniform(0.25, 0.5)
    swell = rng.uniform(0.72, 0.95)
    path = curve([(foot, 0), (swell, 0.4 * height), (radius, height)], 28)
    parts = [_open_wall(path, wall)]
    if rng.random() < 0.4:
        rim = np.array([[radius, height], [radius + rng.uniform(0.1, 0.3), height + rng.uniform(0.0, 0.06)]])
        parts.append(shell(rim, wall))
    if rng.random() < 0.6:
        parts.append(shell(polygon((foot, 0), (foot * 1.05, -rng.uniform(0.08, 0.2))), wall))
    if rng.random() < 0.25:
        ear = arc((radius, height - 0.06, 0), UP, (1, 0, 0), 0.2, 3.6, 0.045)
        parts.append(difference(ear, lathe(_solid(path), 0)).mirrored("x"))
    return union(*parts)


def wine_glass(rng: np.random.Generator) -> Field:
    """A stemmed glass: red wine, white wine, flute, coupe or martini."""
    foot, stem = rng.uniform(0.26, 0.36), rng.uniform(0.4, 0.75)
    wall, thin = 0.042, rng.uniform(0.026, 0.04)
    kind = rng.choice(["red", "white", "flute", "coupe", "martini"])
    tall = {"red": 0.75, "white": 0.65, "flute": 0.95, "coupe": 0.3, "martini": 0.45}[
        str(kind)
    ] * rng.uniform(0.85, 1.1)
    wide = {"red": 0.4, "white": 0.3, "flute": 0.2, "coupe": 0.45, "martini": 0.46}[str(kind)] * rng.uniform(
        0.9, 1.1
    )
    knots = {
        "red": [(0.0, 0.0), (0.82, 0.2), (1.0, 0.45), (0.7, 1.0)],
        "white": [(0.0, 0.0), (0.75, 0.18), (1.0, 0.5), (0.8, 1.0)],
        "flute": [(0.0, 0.0), (0.7, 0.15), (1.0, 0.5), (0.92, 1.0)],
        "coupe": [(0.0, 0.0), (0.8, 0.3), (1.0, 1.0)],
        "martini": [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)],
    }[str(kind)]
    path = curve([(wide * r, stem + tall * y) for r, y in knots], 26)
    parts = [
        shell(path, wall),
        sphere((0, stem, 0), 1.4 * thin),
        rod((0, 0.02, 0), (0, stem + 0.02, 0), thin, 0),
        cone((0, 0.03, 0), (0, 0.12, 0), 0.6 * foot, thin),
        rod((0, 0, 0), (0, 0.045, 0), foot, 0.015),
    ]
    if rng.random() < 0.3:
        parts.append(sphere((0, stem * rng.uniform(0.4, 0.7), 0), 1.9 * thin))
    return union(*parts)


def goblet(rng: np.random.Generator) -> Field:
    """A trophy or chalice: a cup on a knotted stem and a stepped foot, with two handles."""
    wall, cup, stem = 0.06, rng.uniform(0.28, 0.4), rng.uniform(0.3, 0.5)
    tall = rng.uniform(0.4, 0.65)
    knots = [(0.06, stem), (cup * rng.uniform(0.75, 0.95), stem + 0.35 * tall), (cup, stem + tall)]
    path = curve(knots, 24)
    parts = [shell(path, wall), rod((0, 0.05, 0), (0, stem + 0.06, 0), 0.055, 0)]
    parts.append(rod((0, stem - wall / 2, 0), (0, stem + 0.5 * wall, 0), 0.08, 0.01))
    steps = int(rng.integers(1, 4))
    parts += [
        rod((0, step * 0.07 - (step > 0) * 0.02, 0), (0, (step + 1) * 0.07, 0), 0.3 - 0.07 * step, 0.012)
        for step in range(steps)
    ]
    parts += [
        sphere((0, stem * share, 0), rng.uniform(0.08, 0.12))
        for share in np.linspace(0.5, 0.8, int(rng.integers(1, 3)))
    ]
    y, size = stem + 0.5 * tall, min(rng.uniform(0.14, 0.2), 0.4 * tall)
    ear = arc((cup + 0.02, y, 0), AROUND_Z, (1, 0, 0), size, 4.2, 0.036)
    parts.append(difference(ear, lathe(_solid(path), 0)).mirrored("x"))
    return union(*parts)


def teapot(rng: np.random.Generator) -> Field:
    """A round pot with spout, handle and lid; the body is solid."""
    radius, squash = 0.5, rng.uniform(0.7, 1.05)
    body = curve([(0.3, 0.0), (radius, 0.45 * squash), (0.26, 0.88 * squash)], 28)
    outline = np.concatenate([[[0, 0]], body, [[0, 0.88 * squash]]])
    pot = lathe(outline, 0.02)
    lid_y = 0.88 * squash
    lid = sphere((0, lid_y - 0.12, 0), 0.26)
    knob = sphere((0, lid_y + 0.2, 0), rng.uniform(0.06, 0.09)) | rod(
        (0, lid_y, 0), (0, lid_y + 0.2, 0), 0.035, 0
    )
    y = 0.42 * squash
    tip = rng.uniform(0.85, 0.98)
    knots = [
        (0.3, y - 0.1, 0, 0.16),
        (0.6, y, 0, 0.11),
        (0.72, y + 0.2, 0, 0.075),
        (tip, y + rng.uniform(0.32, 0.42), 0, 0.055),
    ]
    path = smooth_path(knots, 14)
    spout = taper(path[:, :3], path[:, 3])
    if rng.random() < 0.6:
        handle = arc((-0.5, y + 0.04, 0), AROUND_Z, (-1, 0, 0), rng.uniform(0.2, 0.27), 4.0, 0.045)
    else:
        handle = arc((0, lid_y - 0.2, 0), AROUND_Z, (0, 1, 0), 0.5, 3.5, 0.042)
    parts = [smooth_union(0.08, pot, spout), lid, knob, handle]
    if rng.random() < 0.5:
        parts.append(rod((0, -0.06, 0), (0, 0.05, 0), 0.3, 0.02))
    return union(*parts)


def jug(rng: np.random.Generator) -> Field:
    """A pitcher: an open vessel with a pouring lip and one tall handle."""
    height, wall, grip = 1.0, rng.uniform(0.045, 0.06), rng.uniform(0.04, 0.05)
    foot, belly = rng.uniform(0.18, 0.26), rng.uniform(0.3, 0.38)
    neck = rng.uniform(0.15, 0.22)
    lip = neck + rng.uniform(0.03, 0.1)
    path = curve([(foot, 0), (belly, rng.uniform(0.28, 0.4)), (neck, 0.76), (lip, height)], 40)
    knots = [
        (-neck * 0.6, 0.86, 0),
        (-neck - 0.15, 0.92, 0),
        (-belly - 0.12, 0.78, 0),
        (-belly - 0.08, 0.5, 0),
        (-belly * 0.85, 0.34, 0),
    ]
    handle = tube(smooth_path(knots, 20), grip)
    spout = round_cone((lip * 0.6, 0.86, 0), (lip + 0.12, height + 0.03, 0), 0.1, 0.06)
    outer = union(shell(path, wall), difference(union(handle, spout), lathe(_solid(path), 0)))
    groove = round_cone((lip * 0.4, 0.97, 0), (lip + 0.2, height + 0.1, 0), 0.09, 0.05)
    base = rod((0, -wall / 2, 0), (0, wall, 0), foot, 0)
    return union(difference(outer, groove), base)


def bucket(rng: np.random.Generator) -> Field:
    """A pail with a wire bail, raised or folded to the side."""
    height, top, wall = rng.uniform(0.7, 1.0), rng.uniform(0.42, 0.52), 0.05
    foot = top * rng.uniform(0.65, 0.85)
    path = polygon((foot, 0), (top, height))
    parts = [_open_wall(path, wall), torus((0, height, 0), UP, top, 0.04)]
    parts += [
        torus((0, height * share, 0), UP, foot + (top - foot) * share, 0.038)
        for share in np.linspace(0.3, 0.75, int(rng.integers(0, 3)))
    ]
    bail = arc((0, 0, 0), AROUND_Z, (0, 1, 0), top + 0.04, np.pi, 0.028)
    bail = bail.rotated("x", rng.uniform(-1.1, 1.1)).moved(0, height - 0.06, 0)
    boss = rod((top - 0.02, height - 0.06, 0), (top + 0.07, height - 0.06, 0), 0.055, 0.01).mirrored("x")
    return union(*parts, bail, boss)


def cooking_pot(rng: np.random.Generator) -> Field:
    """A saucepan, pan or stock pot: a long handle or two short ones; with a lid or open."""
    radius, height, wall = 0.5, rng.uniform(0.18, 0.75), 0.055
    path = polygon((radius, 0), (radius, height))
    parts = [_open_wall(path, wall)]
    if rng.random() < 0.55:
        end = (radius + rng.uniform(0.5, 0.75), height + rng.uniform(-0.06, 0.12), 0)
        parts.append(round_cone((radius, height - 0.09, 0), end, 0.04, rng.uniform(0.045, 0.065)))
        if height > 0.4:
            parts.append(arc((-radius, height - 0.15, 0), UP, (-1, 0, 0), 0.12, 3.5, 0.036))
    else:
        ear = arc((radius, height - 0.1, 0), UP, (1, 0, 0), rng.uniform(0.12, 0.17), 3.4, 0.04)
        parts.append(ear.mirrored("x"))
    outside = lathe(_solid(path), 0)
    pot = union(parts[0], *(difference(part, outside) for part in parts[1:]))
    if rng.random() < 0.5:
        bend = np.linspace(0.0, 1.0, 10)
        dome = np.stack(
            [0.53 * np.cos(bend * np.pi / 2), height + rng.uniform(0.08, 0.2) * np.sin(bend * np.pi / 2)],
            axis=1,
        )
        dome[-1, 0] = 0.0
        peak = float(dome[-1, 1])
        pot = union(
            pot,
            shell(dome, wall),
            # Solid up to the lid: a cavity would add a second, hidden surface.
            lathe(np.concatenate([[[0, 0], [radius, 0], [radius, height]], dome]), 0),
            rod((0, peak - 0.02, 0), (0, peak + 0.09, 0), 0.035, 0),
            sphere((0, peak + 0.11, 0), 0.06),
        )
    return pot


VESSELS = {
    "bottle": bottle,
    "bowl": bowl,
    "bucket": bucket,
    "cooking_pot": cooking_pot,
    "goblet": goblet,
    "jug": jug,
    "mug": mug,
    "teapot": teapot,
    "vase": vase,
    "wine_glass": wine_glass,
}
