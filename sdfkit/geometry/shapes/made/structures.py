"""Wheels, gears, tunnels, knots, lattices, chains and stairs: shapes with holes, some of a known Euler number."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, union
from sdfkit.geometry.shapes.fields.primitives import box, capsule, rod, round_cone, sphere, torus, tube
from sdfkit.geometry.shapes.fields.profiles import Loop, circle, curve, lathe, plate, polygon, rectangle

UP = (0.0, 1.0, 0.0)


def wagon_wheel(rng: np.random.Generator) -> Field:
    """A wheel of thirteen spokes, solid hub and rim: thirteen openings, Euler number -24."""
    radius, rim = 1.0, rng.uniform(0.06, 0.1)
    hub, spoke = rng.uniform(0.24, 0.34), rng.uniform(0.026, 0.042)
    wide = rng.uniform(0.07, 0.14)
    tyre = polygon((radius - rim, -wide), (radius, -wide), (radius, wide), (radius - rim, wide))
    flare = rng.uniform(0.6, 1.0)
    spokes = round_cone((0.5 * hub, 0, 0), (radius - rim / 2, 0, 0), spoke / flare, spoke).repeated(13)
    nave = lathe(
        np.concatenate(
            [
                [[0, -2 * wide]],
                curve([(0.6 * hub, -2 * wide), (hub, 0), (0.6 * hub, 2 * wide)], 16),
                [[0, 2 * wide]],
            ]
        ),
        0.01,
    )
    parts = [lathe(tyre, 0.012), spokes, nave]
    if rng.random() < 0.5:
        parts.append(rod((0, -2.0 * wide - 0.06, 0), (0, 2.0 * wide + 0.06, 0), 0.4 * hub, 0.015))
    return union(*parts).rotated("x", np.pi / 2)


def gear(rng: np.random.Generator) -> Field:
    """A spur gear with a bore: a ring of teeth, solid, spoked or drilled web."""
    count = int(rng.integers(9, 25))
    root, tip = rng.uniform(0.78, 0.86), 1.0
    share = rng.uniform(0.42, 0.55)
    pitch = 2 * np.pi / count
    outline = []
    for tooth in range(count):
        for at, radius in (
            (-0.5 * share, root),
            (-0.26 * share, tip),
            (0.26 * share, tip),
            (0.5 * share, root),
        ):
            turn = (tooth + at) * pitch
            outline.append((radius * np.cos(turn), radius * np.sin(turn)))
    bore = rng.uniform(0.12, 0.25)
    hole = rectangle(0, 0, 1.6 * bore, 1.6 * bore) if rng.random() < 0.3 else circle(0, 0, bore, 32)
    loops: list[Loop] = [polygon(*outline), hole]
    thick = rng.uniform(0.14, 0.4)
    style = rng.choice(["solid", "drilled", "spoked"])
    if style == "drilled":
        holes = int(rng.integers(3, 7))
        middle = (bore + root) / 2 + 0.02
        size = min(0.3 * (root - bore), 0.7 * middle * np.sin(np.pi / holes))
        loops += [
            circle(middle * np.cos(a), middle * np.sin(a), size, 28)
            for a in 2 * np.pi * np.arange(holes) / holes
        ]
    elif style == "spoked":
        holes = int(rng.integers(3, 7))
        inner, outer, gap = bore + 0.12, root - 0.12, rng.uniform(0.06, 0.1)
        for row in range(holes):
            turn = 2 * np.pi * row / holes
            half = np.pi / holes
            far = np.linspace(-(half - gap / outer), half - gap / outer, 8)
            near = np.linspace(half - gap / inner, -(half - gap / inner), 8)
            sector = [(outer * np.cos(turn + a), outer * np.sin(turn + a)) for a in far]
            sector += [(inner * np.cos(turn + a), inner * np.sin(turn + a)) for a in near]
            loops.append(polygon(*sector))
    disc = plate(loops, thick, 0.0)
    if rng.random() < 0.5:
        collar = plate([circle(0, 0, bore + 0.1, 40), hole], thick + rng.uniform(0.1, 0.3), 0)
        return union(disc, collar)
    return disc


def tunnel(rng: np.random.Generator) -> Field:
    """A thin open tube, straight, flared, bent or square in section: hollow, genus 1."""
    wall = rng.uniform(0.036, 0.06)
    kind = rng.choice(["straight", "flared", "square", "arched"])
    radius = rng.uniform(0.3, 0.5)
    if kind == "straight":
        return plate([circle(0, 0, radius, 64), circle(0, 0, radius - wall, 64)], 2.0, 0)
    if kind == "flared":
        knots = [
            (radius, -1.0),
            (radius * rng.uniform(0.55, 1.3), rng.uniform(-0.4, 0.4)),
            (radius * rng.uniform(0.7, 1.4), 1.0),
        ]
        path = curve(knots, 32)
        half = wall / 2
        outline = np.concatenate([path + (half, 0), path[::-1] - (half, 0)])
        return lathe(outline, 0.0).rotated("x", np.pi / 2)
    if kind == "square":
        size = (1.8 * radius, 1.8 * radius * rng.uniform(0.6, 1.2))
        return plate(
            [rectangle(0, 0, *size), rectangle(0, 0, size[0] - 2 * wall, size[1] - 2 * wall)], 2.0, 0
        )
    bend = np.linspace(0, np.pi, 32)
    stem = radius * rng.uniform(0.3, 0.9)
    vault = np.stack([np.cos(bend), np.sin(bend)], axis=1)
    outer = np.concatenate([radius * vault, [[-radius, -stem], [radius, -stem]]])
    inner = np.concatenate(
        [(radius - wall) * vault, [[wall - radius, wall - stem], [radius - wall, wall - stem]]]
    )
    return plate([outer, inner], 2.0, 0)


def torus_knot(rng: np.random.Generator) -> Field:
    """A tube knotted around a torus, (2,3) to (3,4) or an unknotted (2,1): genus 1."""
    p, q = [(2, 3), (2, 5), (3, 2), (3, 4), (2, 1), (2, 3), (4, 3)][int(rng.integers(7))]
    middle, out = 0.72, rng.uniform(0.24, 0.3)
    turn = np.linspace(0, 2 * np.pi, 48 * max(p, q) + 1)
    radius = middle + out * np.cos(q * turn)
    path = np.stack([radius * np.cos(p * turn), out * np.sin(q * turn), radius * np.sin(p * turn)], axis=1)
    path[-1] = path[0]
    thick = rng.uniform(0.05, 0.08) if p * q > 8 else rng.uniform(0.06, 0.105)
    return tube(path, thick)


def lattice(rng: np.random.Generator) -> Field:
    """A jungle gym: a grid of round or square bars, two to four cells along each axis."""
    counts = rng.integers(2, 5, size=3)
    room = 1.8 / counts.max()
    thick = rng.uniform(0.034, 0.055)
    square = rng.random() < 0.4
    ends = counts * room / 2
    balls = rng.random() < 0.4
    parts = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for i in range(counts[u] + 1):
            for j in range(counts[v] + 1):
                start, end = -ends.copy(), ends.copy()
                start[u] = end[u] = -ends[u] + i * room
                start[v] = end[v] = -ends[v] + j * room
                if square:
                    size = np.full(3, 2 * thick)
                    size[axis] += end[axis] - start[axis]
                    parts.append(box((start + end) / 2, size, 0.0))
                else:
                    parts.append(capsule(start, end, thick))
    if balls:
        grid = np.meshgrid(
            *(np.arange(count + 1) * room - end for count, end in zip(counts, ends, strict=True))
        )
        parts += [sphere(place, 1.9 * thick) for place in np.stack(grid, axis=-1).reshape(-1, 3)]
    return union(*parts)


def chain(rng: np.random.Generator) -> Field:
    """Interlocked links, each its own piece, hanging straight or in a curve."""
    count, thick = int(rng.integers(3, 7)), rng.uniform(0.05, 0.075)
    half, radius = rng.uniform(0.08, 0.2), 0.2
    reach = half + radius
    pitch = 2 * (reach - thick) - rng.uniform(0.03, 0.05)
    links = []
    swing = rng.uniform(0.0, 0.18)
    at, angle = np.zeros(2), -swing * (count - 1) / 2
    for row in range(count):
        ring = union(
            capsule((-half, radius, 0), (half, radius, 0), thick).mirrored("y"),
            torus((half, 0, 0), (0, 0, 1), radius, thick) - box((-2 + half, 0, 0), (4, 4, 4), 0),
            torus((-half, 0, 0), (0, 0, 1), radius, thick) - box((2 - half, 0, 0), (4, 4, 4), 0),
        )
        links.append(ring.rotated("x", np.pi / 2 * row).rotated("z", angle).moved(at[0], at[1], 0))
        after = angle + swing
        at = at + pitch / 2 * np.array([np.cos(angle) + np.cos(after), np.sin(angle) + np.sin(after)])
        angle = after
    return union(*links)


def spiral_staircase(rng: np.random.Generator) -> Field:
    """Steps winding around a newel, with balusters and a handrail or without."""
    count = int(rng.integers(9, 16))
    turn = rng.uniform(1.2, 2.2) * np.pi * rng.choice([-1.0, 1.0])
    tall, radius = rng.uniform(1.5, 2.0), rng.uniform(0.55, 0.75)
    parts = [
        rod((0, 0, 0), (0, tall + 0.15, 0), 0.075, 0.01),
        rod((0, 0, 0), (0, 0.06, 0), rng.uniform(0.2, 0.35), 0.01),
    ]
    step = abs(turn) / count
    railed = rng.random() < 0.7
    wide = 1.1 * step
    tread = polygon((0.0, -0.05), (radius, -radius * wide / 2), (radius, radius * wide / 2), (0.0, 0.05))
    board = plate([tread], 0.07, 0.005).rotated("x", np.pi / 2)
    rail = []
    for row in range(count):
        angle, y = -turn * row / count, tall * (row + 0.7) / count
        parts.append(board.rotated("y", angle).moved(0, y, 0))
        foot = np.array([0.93 * radius * np.cos(angle), y, -0.93 * radius * np.sin(angle)])
        rail.append(foot + (0, 0.42, 0))
        if railed:
            parts.append(capsule(foot, rail[-1], 0.033))
    if railed:
        parts.append(tube(np.array(rail), 0.042))
    return union(*parts)


STRUCTURES = {
    "chain": chain,
    "gear": gear,
    "lattice": lattice,
    "spiral_staircase": spiral_staircase,
    "torus_knot": torus_knot,
    "tunnel": tunnel,
    "wagon_wheel": wagon_wheel,
}
