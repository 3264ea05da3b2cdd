"""Tables, storage and lamps. Lengths are in metres."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, union
from sdfkit.geometry.shapes.fields.primitives import (
    arc,
    bar,
    box,
    capsule,
    cone,
    rod,
    round_cone,
    sphere,
    torus,
    tube,
)
from sdfkit.geometry.shapes.fields.profiles import curve, lathe, polygon, shell
from sdfkit.geometry.shapes.made.seating import legs

UP = (0.0, 1.0, 0.0)


def table(rng: np.random.Generator) -> Field:
    """A dining or coffee table: round or rectangular, on legs, a pedestal, trestles or crossed legs."""
    low = rng.random() < 0.3
    height = rng.uniform(0.38, 0.5) if low else rng.uniform(0.68, 0.8)
    width, depth = rng.uniform(0.8, 1.7), rng.uniform(0.6, 0.95)
    thick = rng.uniform(0.045, 0.075)
    if rng.random() < 0.35:
        radius = rng.uniform(0.4, 0.65)
        top = rod((0, height - thick, 0), (0, height, 0), radius, rng.uniform(0.05, 0.45) * thick)
        width = depth = radius * 1.35
        style = rng.choice(["pedestal", "legs"])
    else:
        top = box((0, height - thick / 2, 0), (width, thick, depth), rng.uniform(0.05, 0.3) * thick)
        style = rng.choice(["legs", "legs", "trestle", "crossed"])
    under = height - 0.3 * thick
    if style == "pedestal":
        knots = [
            (0.25, 0.0),
            (0.22, 0.03),
            (0.07, 0.1),
            (rng.uniform(0.04, 0.07), 0.4 * height),
            (rng.uniform(0.05, 0.12), 0.65 * height),
            (0.08, 0.85 * height),
            (0.16, under),
        ]
        column = curve(knots, 24)
        return top | lathe(np.concatenate([[[0, 0]], column, [[0, under]]]), 0)
    if style == "trestle":
        x, z = width * 0.36, depth * 0.4
        post = bar((x, 0.03, 0), (x, under, 0), 0.1, 0.07, (0, 0, 1), 0.01)
        foot = box((x, 0.035, 0), (0.08, 0.07, 2 * z), 0.02)
        head = box((x, under - 0.05, 0), (0.08, 0.08, 2 * z), 0.02)
        beam = bar((-x, 0.4 * height, 0), (x, 0.4 * height, 0), 0.05, 0.09, UP, 0.01)
        return union(top, post.mirrored("x"), foot.mirrored("x"), head.mirrored("x"), beam)
    if style == "crossed":
        x, z = width * 0.36, depth * 0.42
        one = bar((x, 0.03, -z), (x, under - 0.02, z), 0.06, 0.06, (1, 0, 0), 0.01)
        return union(
            top,
            one.mirrored("x"),
            one.reflected("z").mirrored("x"),
            bar((-x, height / 2, 0), (x, height / 2, 0), 0.05, 0.05, UP, 0.01),
        )
    radius = rng.uniform(0.026, 0.045)
    parts = [top, legs(rng, width * 0.94, depth * 0.94, under, radius)]
    if rng.random() < 0.5:  # an apron under the top
        parts.append(box((0, under - 0.05, 0), (width * 0.84, 0.09, depth * 0.84), 0.005))
    return union(*parts)


def desk(rng: np.random.Generator) -> Field:
    """A writing desk: one or two pedestals with drawers, a modesty panel, sometimes a hutch or monitor."""
    width, depth, height = rng.uniform(1.1, 1.7), rng.uniform(0.55, 0.75), rng.uniform(0.7, 0.78)
    thick = rng.uniform(0.045, 0.06)
    side = width / 2 - 0.03
    parts = [box((0, height, 0), (width, thick, depth), 0.008)]
    chest = rng.uniform(0.32, 0.45)
    sides = [1.0, -1.0] if rng.random() < 0.4 else [rng.choice([-1.0, 1.0])]
    foot = rng.choice([0.0, 0.1])
    for sign in (1.0, -1.0):
        if sign in sides:
            x = sign * (side - chest / 2)
            tall = height - foot
            parts.append(box((x, foot + tall / 2, 0), (chest, tall, depth - 0.06), 0.01))
            count = int(rng.integers(2, 5))
            for row in range(count):
                y = foot + (row + 0.5) * tall / count
                parts.append(box((x, y, depth / 2 - 0.03), (chest - 0.06, tall / count - 0.05, 0.06), 0.008))
                parts.append(
                    capsule((x - 0.06, y, depth / 2 + 0.012), (x + 0.06, y, depth / 2 + 0.012), 0.022)
                )
            if foot:
                leg = rod(
                    (chest / 2 - 0.05, 0, depth / 2 - 0.1),
                    (chest / 2 - 0.05, 0.2, depth / 2 - 0.1),
                    0.03,
                    0.005,
                )
                parts.append(leg.mirrored("x").mirrored("z").moved(x, 0, 0))
        elif rng.random() < 0.5:
            parts.append(box((sign * side, height / 2, 0), (0.05, height, depth - 0.06), 0.005))
        else:
            leg = rod(
                (sign * (side - 0.03), 0, depth / 2 - 0.07),
                (sign * (side - 0.03), height, depth / 2 - 0.07),
                0.03,
                0,
            )
            parts.append(leg.mirrored("z"))
    if rng.random() < 0.6:
        parts.append(box((0, height * 0.7, -depth / 2 + 0.08), (2 * side, height * 0.5, 0.045), 0.005))
    extra = rng.choice(["none", "hutch", "monitor"])
    if extra == "hutch":
        top, back = height + rng.uniform(0.35, 0.6), -depth / 2 + 0.13
        parts.append(box((side, (height + top) / 2, back), (0.05, top - height, 0.24), 0.005).mirrored("x"))
        parts.append(box((0, top, back), (width - 0.02, 0.05, 0.26), 0.005))
        parts.append(box((0, (height + top) / 2, back - 0.08), (width - 0.06, top - height, 0.045), 0.005))
    elif extra == "monitor":
        parts.append(box((0, height + 0.35, -0.1), (0.6, 0.36, 0.05), 0.01))
        parts.append(rod((0, height, -0.13), (0, height + 0.3, -0.12), 0.035, 0))
        parts.append(rod((0, height, -0.1), (0, height + 0.05, -0.1), 0.13, 0.01))
    return union(*parts)


def bookshelf(rng: np.random.Generator) -> Field:
    """Shelves with rows of books, a back panel or none."""
    width, depth, height = rng.uniform(0.6, 1.2), rng.uniform(0.26, 0.36), rng.uniform(1.0, 2.0)
    board = 0.036 + 0.008 * height
    count = int(rng.integers(3, 6))
    parts = [box((width / 2 - board / 2, height / 2, 0), (board, height, depth), 0.004).mirrored("x")]
    levels = np.linspace(board / 2 + 0.03, height - board / 2, count)
    parts += [box((0, y, 0), (width - board, board, depth - 0.01), 0.004) for y in levels]
    if rng.random() < 0.7:
        parts.append(
            box((0, height / 2, -depth / 2 + board / 2), (width - 0.01, height - 0.04, board), 0.004)
        )
    room = float(levels[1] - levels[0]) - board
    for y in levels[:-1]:
        x = -width / 2 + board
        stop = width / 2 - board - rng.uniform(0.0, 0.8) * (width - 2 * board)
        floor = float(y) + board / 2
        while True:
            thick, tall = rng.uniform(0.05, 0.09), room * rng.uniform(0.55, 0.9)
            if x + thick > stop:
                break
            size = (thick, tall + board / 2, depth * rng.uniform(0.55, 0.85))
            parts.append(box((x + thick / 2, floor + tall / 2 - board / 4, -0.01), size, 0.003))
            x += thick - 0.012 if rng.random() < 0.8 else thick + 0.06
    return union(*parts)


def cabinet(rng: np.random.Generator) -> Field:
    """A wardrobe, sideboard or chest: doors or drawers with knobs or handles, on feet or a plinth."""
    width, depth, height = rng.uniform(0.6, 1.6), rng.uniform(0.4, 0.55), rng.uniform(0.7, 1.9)
    foot = rng.uniform(0.06, 0.18)
    front = depth / 2
    parts = [box((0, (foot + height) / 2, 0), (width, height - foot, depth), 0.01)]
    knob = 0.022 * max(width, height) + 0.01
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    pulls = rng.choice(["knob", "upright", "level"])
    tall, wide = (height - foot - 0.06) / rows, (width - 0.06) / columns
    for column in range(columns):
        for row in range(rows):
            x = (column - (columns - 1) / 2) * wide
            y = foot + 0.03 + (row + 0.5) * tall
            parts.append(box((x, y, front), (wide - 0.05, tall - 0.05, 0.09), 0.01))
            z = front + 0.045
            aside = x + (0.32 if column % 2 == 0 else -0.32) * wide if pulls == "upright" else x
            if pulls == "knob":
                parts.append(sphere((aside, y, z + 0.6 * knob), knob))
            elif pulls == "upright":
                long = 0.25 * tall
                parts.append(capsule((aside, y - long, z + 0.01), (aside, y + long, z + 0.01), knob))
            else:
                parts.append(capsule((x - 0.2 * wide, y, z + 0.01), (x + 0.2 * wide, y, z + 0.01), knob))
    if rng.random() < 0.5:
        parts.append(box((0, height, 0.01), (width + 0.08, 0.07, depth + 0.1), 0.01))
    if rng.random() < 0.6:
        x, z = width / 2 - 0.07, depth / 2 - 0.07
        parts.append(cone((x, 0, z), (x, foot + 0.05, z), 0.03, 0.05).mirrored("x").mirrored("z"))
    else:
        parts.append(box((0, foot / 2 + 0.02, 0), (width - 0.08, foot + 0.04, depth - 0.08), 0))
    return union(*parts)


def _shade(rng: np.random.Generator, radius: float, tall: float, y: float) -> Field:
    """A lampshade, open below, with two crossed bars at the top that hold it."""
    top = radius * rng.uniform(0.45, 0.95)
    thick = 0.05
    form = rng.choice(["cone", "dome", "bell"])
    if form == "cone":
        path = polygon((radius, y), (top, y + tall))
    elif form == "dome":
        bend = np.linspace(0, 1.35, 14)
        path = np.stack([radius * np.cos(bend), y + tall * np.sin(bend)], axis=1)
    else:
        path = curve(
            [
                (radius, y),
                (0.8 * radius, y + 0.25 * tall),
                (0.5 * radius, y + 0.7 * tall),
                (0.4 * radius, y + tall),
            ],
            14,
        )
    rim, peak = path[-1]
    spider = capsule((-rim, peak, 0), (rim, peak, 0), 0.5 * thick)
    return union(shell(path, thick), spider, spider.rotated("y", np.pi / 2))


def lamp(rng: np.random.Generator) -> Field:
    """A table lamp: a turned or plain foot, a stem, a shade."""
    base, height = rng.uniform(0.25, 0.4), rng.uniform(0.9, 1.3)
    radius, tall = rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.55)
    under = height - tall
    style = rng.choice(["turned", "plate", "ball", "tripod"])
    stem = rod((0, 0.02, 0), (0, height, 0), 0.035, 0)
    if style == "turned":
        middle = [
            (rng.uniform(0.06, 0.28), share * under)
            for share in np.linspace(0.15, 0.85, int(rng.integers(3, 6)))
        ]
        path = curve([(base, 0), (base, 0.05), *middle, (0.05, under)], 40)
        foot = lathe(np.concatenate([[[0, 0]], path, [[0, under]]]), 0)
    elif style == "plate":
        foot = rod((0, 0, 0), (0, 0.07, 0), base, 0.02)
    elif style == "ball":
        ball = rng.uniform(0.16, 0.3)
        foot = sphere((0, ball + 0.03, 0), ball) | rod((0, 0, 0), (0, 0.07, 0), 0.8 * ball, 0.01)
    else:
        leg = round_cone((base + 0.1, 0.04, 0), (0.02, 0.6 * under, 0), 0.035, 0.05)
        foot = leg.repeated(3)
        stem = rod((0, 0.55 * under, 0), (0, height, 0), 0.035, 0)
    bulb = sphere((0, under + 0.35 * tall, 0), 0.09)
    return union(stem, foot, _shade(rng, radius, tall, under), bulb)


def floor_lamp(rng: np.random.Generator) -> Field:
    """A tall lamp: straight with a shade, an arch over a heavy foot, or a jointed reading lamp."""
    height, thin = rng.uniform(1.5, 1.9), 0.034
    base = rng.uniform(0.2, 0.3)
    foot = rod((0, 0, 0), (0, 0.07, 0), base, 0.02)
    style = rng.choice(["straight", "arch", "jointed", "tripod"])
    shade = _shade(rng, rng.uniform(0.2, 0.32), rng.uniform(0.22, 0.36), 0.0)
    if style == "straight":
        shade = shade.moved(0, height - float(shade.high[1]), 0)
        return union(foot, rod((0, 0.01, 0), (0, height - 0.03, 0), thin, 0), shade)
    if style == "tripod":
        top = height - float(shade.high[1])
        leg = round_cone((0.42, thin, 0), (0.02, top - 0.1, 0), thin, 1.1 * thin)
        return union(
            leg.repeated(3), rod((0, top - 0.2, 0), (0, height - 0.03, 0), thin, 0), shade.moved(0, top, 0)
        )
    if style == "arch":
        span = rng.uniform(0.7, 1.0)
        turns = np.linspace(np.pi, 0.12, 22)
        path = np.stack(
            [span / 2 * (1 + np.cos(turns)), 0.6 * height + 0.4 * height * np.sin(turns), 0 * turns], axis=1
        )
        path = np.concatenate([[[0, 0.03, 0]], path])
        tip = path[-1]
        return union(foot, tube(path, thin), shade.moved(tip[0], tip[1] - float(shade.high[1]) + thin, 0))
    elbow = (rng.uniform(-0.35, -0.15), 0.75 * height, 0.0)
    tip = (rng.uniform(0.3, 0.5), height, 0.0)
    head = shade.moved(0, -float(shade.high[1]) + thin, 0).rotated("z", rng.uniform(-0.2, 0.5)).moved(*tip)
    return union(
        foot, capsule((0, 0.03, 0), elbow, thin), capsule(elbow, tip, thin), sphere(elbow, 1.7 * thin), head
    )


def ladder(rng: np.random.Generator) -> Field:
    """A straight ladder, or a folding one with rungs on one side or both."""
    height, width = rng.uniform(1.5, 2.4), rng.uniform(0.4, 0.6)
    count = int(rng.integers(4, 9))
    rail, rung = 0.027 * height, 0.021 * height
    narrow = rng.uniform(0.0, 0.12)
    folding = rng.random() < 0.5
    lean = rng.uniform(0.2, 0.4) if folding else 0.0

    def side(sign: float, steps: int) -> Field:
        def at(share: float) -> tuple[float, float, float]:
            return width / 2 - narrow * share, share * height, sign * lean * (1 - share)

        parts = [bar(at(0), at(1), 1.2 * rail, 1.2 * rail, (1, 0, 0), 0.2 * rail).mirrored("x")]
        for share in (np.arange(steps) + 0.6) / (steps + 0.2):
            x, y, z = at(float(share))
            if folding and sign > 0:
                parts.append(box((0, y, z), (2 * x, 1.7 * rung, 4 * rung), 0.3 * rung))
            else:
                parts.append(rod((-x, y, z), (x, y, z), rung, 0))
        return union(*parts)

    if not folding:
        return side(1.0, count)
    top = box((0, height, 0), (width, 2 * rail, 5 * rail), 0.3 * rail)
    return union(side(1.0, count), side(-1.0, int(rng.choice([2, count]))), top)


def coat_rack(rng: np.random.Generator) -> Field:
    """A pole with curved hooks on top and feet or a plate below."""
    height, count = rng.uniform(1.5, 1.9), int(rng.integers(3, 7))
    thin = 0.036
    post = round_cone((0, 0.05, 0), (0, height, 0), 1.2 * thin, thin)
    hook = arc((0.14, height - 0.12, 0), (0, 0, 1), (0, -1, 0), 0.14, rng.uniform(3.0, 4.0), 0.9 * thin)
    parts = [post, sphere((0, height, 0), 1.8 * thin), hook.repeated(count)]
    if rng.random() < 0.5:
        parts.append(hook.moved(-0.02, -0.3, 0).repeated(count).rotated("y", np.pi / count))
    if rng.random() < 0.5:
        parts.append(rod((0, 0, 0), (0, 0.07, 0), rng.uniform(0.2, 0.3), 0.02))
    else:
        feet = int(rng.integers(3, 6))
        parts.append(
            round_cone((rng.uniform(0.3, 0.4), thin, 0), (0, 0.25, 0), thin, 1.3 * thin).repeated(feet)
        )
    if rng.random() < 0.4:  # umbrella ring, held by the pole through two spokes
        ring = torus((0, 0.5, 0), UP, 0.18, 0.8 * thin)
        parts.append(ring | capsule((-0.18, 0.5, 0), (0.18, 0.5, 0), 0.8 * thin))
    return union(*parts)


FURNITURE = {
    "bookshelf": bookshelf,
    "cabinet": cabinet,
    "coat_rack": coat_rack,
    "desk": desk,
    "floor_lamp": floor_lamp,
    "ladder": ladder,
    "lamp": lamp,
    "table": table,
}
