"""Seats and beds. The front is at +z, and lengths are in metres. Parts overlap, so that each object is one piece."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, union
from sdfkit.geometry.shapes.fields.primitives import bar, box, capsule, cone, rod, round_cone, torus, tube

UP = (0.0, 1.0, 0.0)


def legs(rng: np.random.Generator, width: float, depth: float, height: float, radius: float) -> Field:
    """Four legs under the corners of a rectangle: square, round, tapered or splayed; some with stretchers."""
    style = rng.choice(["square", "round", "tapered", "splayed"])
    x, z = width / 2 - radius, depth / 2 - radius
    splay = rng.uniform(0.03, 0.09) if style == "splayed" else 0.0
    top, foot = (x, height, z), (x + splay, 0.0, z + splay)
    if style == "square":
        leg = bar(foot, top, 1.9 * radius, 1.9 * radius, (1, 0, 0), 0.2 * radius)
    elif style == "round":
        leg = rod(foot, top, radius, 0.2 * radius)
    else:
        leg = cone(foot, top, 0.85 * radius, 1.3 * radius)
    parts = [leg.mirrored("x").mirrored("z")]
    if rng.random() < 0.4:
        y = rng.uniform(0.2, 0.5) * height
        share = 1 - y / height
        sx, sz = x + splay * share, z + splay * share
        parts.append(capsule((sx, y, -sz), (sx, y, sz), 0.8 * radius).mirrored("x"))
        if rng.random() < 0.5:
            parts.append(capsule((-sx, y, 0), (sx, y, 0), 0.8 * radius))
        else:
            parts.append(capsule((-sx, y, sz), (sx, y, sz), 0.8 * radius).mirrored("z"))
    return union(*parts)


def backrest(
    rng: np.random.Generator, width: float, seat: float, rise: float, z: float, radius: float
) -> Field:
    """Two posts leaning back from the seat, with a panel, slats or spindles between them; or a hoop."""
    lean = rng.uniform(0.02, 0.16)
    x, top = width / 2 - radius, seat + rise
    foot, head = (x, seat - 0.03, z), (x, top, z - lean)

    def on_back(share: float) -> tuple[float, float]:
        return seat + share * rise, z - lean * share

    parts = []
    style = rng.choice(["panel", "ladder", "spindles", "hoop"])
    if style == "hoop":
        bend = np.linspace(0, np.pi, 17)
        hoop = np.stack(
            [x * np.cos(bend), seat + rise * np.sin(bend) ** 0.7, z - lean * np.sin(bend)], axis=1
        )
        hoop[[0, -1], 1] = seat - 0.02
        parts.append(tube(hoop, 1.1 * radius))
        count = int(rng.integers(2, 5))
        for across in np.linspace(-0.55, 0.55, count) * x:
            reach = float(np.sqrt(1 - (across / x) ** 2)) ** 0.7
            y, back = on_back(reach)
            parts.append(capsule((across * 0.8, seat - 0.02, z), (across, y, back), 0.75 * radius))
        return union(*parts)
    parts.append(round_cone(foot, head, radius, 0.9 * radius).mirrored("x"))
    if style == "panel":
        low = rng.uniform(0.02, 0.4)
        (y0, z0), (y1, z1) = on_back(low), on_back(1.0)
        thick = rng.uniform(1.0, 1.6) * radius
        parts.append(bar((0, y0, z0), (0, y1, z1), 2 * x, thick, (0, 0, 1), 0.3 * radius))
    elif style == "ladder":
        count = int(rng.integers(2, 5))
        for share in np.linspace(0.35, 0.95, count):
            y, back = on_back(float(share))
            tall = rise * rng.uniform(0.3, 0.5) / count
            parts.append(
                bar((-x, y, back), (x, y, back), 1.2 * radius, max(tall, 1.2 * radius), UP, 0.3 * radius)
            )
    else:
        y, back = on_back(0.97)
        parts.append(bar((-x, y, back), (x, y, back), 1.6 * radius, 3 * radius, UP, 0.5 * radius))
        parts += [
            capsule((across, seat - 0.02, z), (across, y, back), 0.75 * radius)
            for across in np.linspace(-1, 1, int(rng.integers(3, 6)) + 2)[1:-1] * x
        ]
    return union(*parts)


def chair(rng: np.random.Generator) -> Field:
    """A dining chair."""
    width, depth = rng.uniform(0.4, 0.52), rng.uniform(0.38, 0.5)
    seat, rise, radius = rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.6), rng.uniform(0.018, 0.03)
    thick = rng.uniform(0.035, 0.07)
    if rng.random() < 0.2:
        slab = rod((0, seat - thick, 0), (0, seat, 0), 0.55 * width, 0.3 * thick)
    else:
        slab = box((0, seat - thick / 2, 0), (width, thick, depth), rng.uniform(0.1, 0.45) * thick)
    inset = 0.85
    back = backrest(rng, width * inset, seat, rise, -depth / 2 * inset + radius, radius)
    return union(slab, legs(rng, width * inset, depth * inset, seat - 0.3 * thick, radius), back)


def armchair(rng: np.random.Generator) -> Field:
    """An upholstered chair with arms."""
    return _upholstered(rng, rng.uniform(0.7, 0.9), 1)


def sofa(rng: np.random.Generator) -> Field:
    """A sofa for two to four, sometimes with a chaise."""
    places = int(rng.integers(2, 5))
    couch = _upholstered(rng, 0.25 + places * rng.uniform(0.5, 0.65), places)
    if rng.random() < 0.3:
        reach, middle = couch.high, (couch.low[0] + couch.high[0]) / 2
        side = rng.choice([-1.0, 1.0])
        size = (0.55, 0.32, rng.uniform(0.5, 0.8))
        couch = couch | box((middle + side * (reach[0] - 0.4), 0.21, reach[2] + 0.1), size, 0.06)
    return couch


def _upholstered(rng: np.random.Generator, width: float, places: int) -> Field:
    depth, seat, top = rng.uniform(0.75, 0.9), rng.uniform(0.36, 0.44), rng.uniform(0.7, 0.95)
    arm, arm_top = rng.uniform(0.11, 0.2), seat + rng.uniform(0.12, 0.24)
    soft, foot = rng.uniform(0.03, 0.055), rng.uniform(0.06, 0.16)
    x = width / 2 - arm / 2
    base = box((0, (foot + seat - 0.08) / 2, 0), (width - arm, seat - 0.08 - foot, depth - 0.04), 0.02)
    arm_box = box((x, (foot + arm_top) / 2, 0), (arm, arm_top - foot, depth), soft)
    parts = [base, arm_box.mirrored("x")]
    if rng.random() < 0.4:  # rolled arms
        roll = rod((x, arm_top, -depth / 2), (x, arm_top, depth / 2), 0.62 * arm, 0.03)
        parts.append(roll.mirrored("x"))
    lean = rng.uniform(0.02, 0.12)
    back_thick = rng.uniform(0.16, 0.22)
    rest = bar(
        (0, foot + 0.02, -depth / 2 + back_thick / 2),
        (0, top, -depth / 2 + back_thick / 2 - lean),
        width - 0.06,
        back_thick,
        (0, 0, 1),
        soft,
    )
    parts.append(rest)
    room = (width - 2 * arm) / places
    for place in range(places):
        across = (place - (places - 1) / 2) * room
        parts.append(box((across, seat - 0.05, 0.06), (room - 0.012, 0.16, depth - 0.14), soft))
        if rng.random() < 0.85:
            cushion = box((0, 0, 0), (room - 0.03, top - seat - 0.02, 0.16), soft).rotated("x", -0.15)
            parts.append(cushion.moved(across, (seat + top) / 2 + 0.03, -depth / 2 + back_thick + 0.02))
    if rng.random() < 0.25:
        parts.append(
            box((0, 0.08 + foot / 2, 0), (width - 0.06, foot + 0.16, depth - 0.06), 0.02).moved(0, -0.08, 0)
        )
    else:
        foot_radius = rng.uniform(0.022, 0.035) * max(1.0, width)
        z = depth / 2 - 0.09
        leg = cone((x, 0, z), (x, foot + 0.05, z), 0.8 * foot_radius, 1.2 * foot_radius)
        parts.append(leg.mirrored("x").mirrored("z"))
    return union(*parts)


def stool(rng: np.random.Generator) -> Field:
    """A bar or milking stool: three or four legs, or a pedestal; a ring for the feet."""
    height, radius = rng.uniform(0.4, 0.8), rng.uniform(0.15, 0.22)
    thick = rng.uniform(0.05, 0.08)
    seat = rod((0, height - thick, 0), (0, height, 0), radius, rng.uniform(0.1, 0.48) * thick)
    if rng.random() < 0.25:
        seat = box((0, height - thick / 2, 0), (1.8 * radius, thick, 1.6 * radius), 0.4 * thick)
    if rng.random() < 0.3:
        post = rod((0, 0.01, 0), (0, height - 0.01, 0), rng.uniform(0.022, 0.045), 0)
        base = cone((0, 0, 0), (0, rng.uniform(0.03, 0.07), 0), radius * rng.uniform(0.8, 1.1), 0.05)
        ring_y = 0.35 * height
        ring = torus((0, ring_y, 0), UP, 0.6 * radius, 0.016) | capsule(
            (-0.6 * radius, ring_y, 0), (0.6 * radius, ring_y, 0), 0.016
        )
        return union(seat, post, base, ring) if rng.random() < 0.6 else union(seat, post, base)
    count = int(rng.choice([3, 4, 4]))
    thin, splay = rng.uniform(0.016, 0.026), rng.uniform(0.0, 0.09)
    inner = radius * 0.72
    leg = round_cone((inner + splay, thin, 0), (inner, height - 0.5 * thick, 0), thin, thin)
    parts = [seat, leg.repeated(count)]
    if rng.random() < 0.6:
        share = rng.uniform(0.25, 0.5)
        parts.append(torus((0, share * height, 0), UP, inner + splay * (1 - share), 0.9 * thin))
    return union(*parts)


def bench(rng: np.random.Generator) -> Field:
    """A park or workshop bench of slats or one plank, with or without a back."""
    width, depth, seat = rng.uniform(1.1, 1.8), rng.uniform(0.34, 0.48), rng.uniform(0.4, 0.48)
    thick = rng.uniform(0.05, 0.07)
    count = int(rng.integers(1, 5))
    slat = depth / (count + (count - 1) * 0.35)
    parts = [
        box((0, seat, (row - (count - 1) / 2) * slat * 1.35), (width, thick, slat), 0.01)
        for row in range(count)
    ]
    with_back = rng.random() < 0.6
    x = width * rng.uniform(0.34, 0.45)
    post = thick * rng.uniform(0.9, 1.1)
    front = bar((x, 0, depth * 0.4), (x, seat, depth * 0.4), post, post, (0, 0, 1), 0.01)
    rear = bar((x, 0, -depth * 0.4), (x, seat, -depth * 0.4), post, post, (0, 0, 1), 0.01)
    rail = bar(
        (x, seat - thick * 0.6, -depth * 0.5), (x, seat - thick * 0.6, depth * 0.5), post, thick, UP, 0.01
    )
    parts += [side.mirrored("x") for side in (front, rear, rail)]
    if not with_back:
        return union(*parts)
    rise, lean = rng.uniform(0.3, 0.45), rng.uniform(0.05, 0.14)
    z = -depth * 0.42
    parts.append(
        bar((x, seat - 0.05, z), (x, seat + rise, z - lean), post, post, (0, 0, 1), 0.01).mirrored("x")
    )
    rows = int(rng.integers(1, 4))
    tall = 0.62 * rise / rows
    for share in (np.arange(rows) + 0.75) / rows:
        y, back = seat + rise * share * 0.9, z - lean * share * 0.9
        parts.append(bar((-width / 2, y, back + 0.02), (width / 2, y, back + 0.02), 0.05, tall, UP, 0.01))
    if rng.random() < 0.5:
        y = seat + 0.2
        parts.append(bar((x, y, z - 0.06), (x, y, depth * 0.45), post, post, UP, 0.015).mirrored("x"))
        parts.append(
            bar((x, seat, depth * 0.4), (x, y, depth * 0.4), post, post, (0, 0, 1), 0.01).mirrored("x")
        )
    return union(*parts)


def bed(rng: np.random.Generator) -> Field:
    """A single or double bed with pillows, a headboard and sometimes a footboard."""
    width, length, height = rng.uniform(0.9, 1.9), rng.uniform(1.95, 2.15), rng.uniform(0.3, 0.45)
    thick = 0.075
    parts = [
        box((0, height - 0.06, 0), (width, 0.16, length), 0.02),
        box((0, height + 0.1, 0), (width - 0.06, 0.26, length - 0.06), 0.07),
    ]
    x, z = width / 2 - 0.06, length / 2 - 0.05
    post = rng.uniform(0.04, 0.06)
    parts.append(rod((x, 0, z), (x, height, z), post, 0.01).mirrored("x").mirrored("z"))
    board = height + rng.uniform(0.4, 0.8)
    style = rng.choice(["panel", "bars", "posts"])
    if style == "panel":
        parts.append(box((0, board / 2, -z), (width, board, thick), 0.02))
    else:
        parts.append(capsule((-x, board, -z), (x, board, -z), post).mirrored("x"))
        parts.append(
            rod((x, 0, -z), (x, board + (0.25 if style == "posts" else 0), -z), post, 0.01).mirrored("x")
        )
        parts += [
            capsule((across, height, -z), (across, board, -z), 0.036)
            for across in np.linspace(-x, x, int(rng.integers(4, 8)))[1:-1]
        ]
    if style == "posts":
        parts.append(rod((x, 0, z), (x, board + 0.25, z), post, 0.01).mirrored("x"))
    if rng.random() < 0.5:
        low = height + rng.uniform(0.2, 0.35)
        parts.append(box((0, low / 2 + 0.05, z), (width, low - 0.1, thick), 0.02))
    count = 2 if width > 1.3 else 1
    for place in range(count):
        across = (place - (count - 1) / 2) * width * 0.46
        parts.append(box((across, height + 0.26, -z + 0.32), (0.42 * min(width, 1.4), 0.13, 0.36), 0.06))
    return union(*parts)


SEATING = {
    "armchair": armchair,
    "bed": bed,
    "bench": bench,
    "chair": chair,
    "sofa": sofa,
    "stool": stool,
}
