"""Buildings, up to two units high."""

import numpy as np

from sdfkit.geometry.shapes.fields.field import Field, difference, union
from sdfkit.geometry.shapes.fields.primitives import bar, box, capsule, cone, rod, sphere, tube
from sdfkit.geometry.shapes.fields.profiles import lathe, plate, polygon

UP = (0.0, 1.0, 0.0)


def house(rng: np.random.Generator) -> Field:
    """A house: gable, hip or flat roof, sunk doors and windows, chimney, porch or wing."""
    wide, deep, tall = rng.uniform(0.8, 1.3), rng.uniform(0.7, 1.0), rng.uniform(0.5, 1.0)
    levels = 2 if tall > 0.75 else 1
    wall = box((0, tall / 2, 0), (wide, tall, deep), 0)
    cuts = [box((rng.uniform(-0.2, 0.2) * wide, 0.17, deep / 2), (0.18, 0.34, 0.12), 0)]
    count = int(rng.integers(2, 4))
    extra = rng.choice(["porch", "wing", "none"])
    for level in range(levels):
        y = (level + 0.55) * tall / levels
        for x in np.linspace(-0.36, 0.36, count) * wide:
            if level or abs(x - float(cuts[0].low[0]) - 0.09) > 0.22:
                cuts.append(box((x, y, deep / 2), (0.17, 0.2, 0.12), 0))
        for z in (-0.22 * deep, 0.22 * deep):
            pane = box((-wide / 2, y, z), (0.12, 0.2, 0.16), 0)
            cuts += (
                [pane] if extra == "wing" else [pane, pane.reflected("x")]
            )  # no window on the side of the wing
    parts = [difference(wall, *cuts)]
    style = rng.choice(["gable", "hip", "flat"])
    eaves, rise = rng.uniform(0.06, 0.14), rng.uniform(0.35, 0.65) * deep
    if style == "gable":
        roof = polygon((-deep / 2 - eaves, tall - 0.03), (deep / 2 + eaves, tall - 0.03), (0, tall + rise))
        parts.append(plate([roof], wide + 2 * eaves, 0.01).rotated("y", -np.pi / 2))
    elif style == "hip":
        slope = polygon(
            (-wide / 2 - eaves, tall - 0.03),
            (wide / 2 + eaves, tall - 0.03),
            (0.25 * wide, tall + rise),
            (-0.25 * wide, tall + rise),
        )
        other = polygon((-deep / 2 - eaves, tall - 0.03), (deep / 2 + eaves, tall - 0.03), (0, tall + rise))
        parts.append(plate([slope], 4.0, 0.01) & plate([other], 4.0, 0.01).rotated("y", -np.pi / 2))
    else:
        parts.append(box((0, tall + 0.02, 0), (wide + 2 * eaves, 0.08, deep + 2 * eaves), 0.01))
        rise = 0.15
    if rng.random() < 0.7:
        size = rng.uniform(0.12, 0.18)
        parts.append(
            box(
                (rng.uniform(-0.3, 0.3) * wide, tall + rise * 0.55, -0.15 * deep),
                (size, rise * 1.1 + 0.2, size),
                0.01,
            )
        )
    if extra == "porch":
        reach, roof_y = rng.uniform(0.2, 0.32), 0.42
        parts.append(box((0, roof_y, deep / 2 + reach / 2), (0.75 * wide, 0.06, reach + 0.1), 0.01))
        parts.append(box((0, 0.03, deep / 2 + reach / 2), (0.75 * wide, 0.06, reach + 0.1), 0))
        post = rod(
            (0.33 * wide, 0.01, deep / 2 + reach - 0.04),
            (0.33 * wide, roof_y, deep / 2 + reach - 0.04),
            0.032,
            0,
        )
        parts.append(post.mirrored("x"))
    elif extra == "wing":
        size, low = rng.uniform(0.4, 0.6), 0.6 * tall
        parts.append(box((wide / 2 + size / 2 - 0.05, low / 2, 0), (size, low, 0.7 * deep), 0))
        shed = polygon((-0.42 * deep, low - 0.03), (0.42 * deep, low - 0.03), (0, low + 0.25))
        parts.append(
            plate([shed], size + 0.1, 0.01).rotated("y", -np.pi / 2).moved(wide / 2 + size / 2, 0, 0)
        )
    return union(*parts)


def castle_tower(rng: np.random.Generator) -> Field:
    """A round or square keep: battlements or a pointed roof, a gate, slits, corner turrets."""
    radius, tall = rng.uniform(0.35, 0.5), rng.uniform(1.2, 1.7)
    square = rng.random() < 0.4
    thick, count = 0.1, int(rng.integers(6, 11))
    crown = radius + rng.uniform(0.05, 0.12)
    if square:
        body = box((0, tall / 2, 0), (2 * radius, tall, 2 * radius), 0)
        top = difference(
            box((0, tall + 0.1, 0), (2 * crown, 0.3, 2 * crown), 0),
            box((0, tall + 0.22, 0), (2 * (crown - thick), 0.4, 2 * (crown - thick)), 0),
        )
        gaps = [box((x, tall + 0.26, 0), (0.11, 0.14, 4), 0) for x in np.linspace(-0.62, 0.62, 3) * crown]
        top = difference(top, *gaps, *(gap.rotated("y", np.pi / 2) for gap in gaps))
    else:
        swell = rng.uniform(1.0, 1.2)
        body = cone((0, 0, 0), (0, tall, 0), swell * radius, radius)
        outline = polygon(
            (0, tall - 0.05),
            (radius, tall - 0.1),
            (crown, tall),
            (crown, tall + 0.25),
            (crown - thick, tall + 0.25),
            (crown - thick, tall + 0.08),
            (0, tall + 0.08),
        )
        gap = box((crown, tall + 0.26, 0), (0.5, 0.16, 0.5 * 2 * np.pi * crown / count), 0).repeated(count)
        top = difference(lathe(outline, 0), gap)
    cuts = [
        box((0, 0.15, radius), (0.24, 0.3, 0.4), 0),
        rod((0, 0.3, radius - 0.2), (0, 0.3, radius + 0.4), 0.12, 0),
    ]
    turreted = rng.random() < 0.4
    # No slits if there are turrets, because a turret in front of a slit would enclose a cavity.
    for y in np.linspace(0.7, tall - 0.25, 0 if turreted else int(rng.integers(1, 4))):
        slit = box((radius, y, 0), (0.3, 0.2, 0.07), 0)
        cuts.append(slit.rotated("y", rng.uniform(0, 2 * np.pi)) if not square else slit.mirrored("x"))
    parts = [difference(body, *cuts), top]
    if rng.random() < 0.5:
        parts.append(
            cone((0, tall + 0.02, 0), (0, tall + rng.uniform(0.7, 1.0), 0), crown - thick - 0.04, 0.03)
        )
        parts.append(rod((0, tall, 0), (0, tall + 1.1, 0), 0.036, 0))
        parts.append(plate([polygon((0, 0), (0.26, -0.07), (0, -0.15))], 0.06, 0.01).moved(0, tall + 1.08, 0))
    if turreted:
        small = rng.uniform(0.12, 0.16)
        turret = union(
            rod((0, 0, 0), (0, tall * 0.85, 0), small, 0),
            cone((0, tall * 0.83, 0), (0, tall * 0.85 + 0.4, 0), small + 0.05, 0.02),
        )
        place = radius if square else radius * 0.75
        parts.append(turret.moved(place, 0, place).mirrored("x").mirrored("z"))
    return union(*parts)


def windmill(rng: np.random.Generator) -> Field:
    """A windmill: a tapered tower, a cap and four lattice or board sails."""
    tall, foot = rng.uniform(1.1, 1.4), rng.uniform(0.34, 0.46)
    top = foot * rng.uniform(0.55, 0.75)
    tower = cone((0, 0, 0), (0, tall, 0), foot, top)
    cap = (
        sphere((0, tall, 0), top * 1.12)
        if rng.random() < 0.5
        else cone((0, tall - 0.03, 0), (0, tall + 0.4, 0), top * 1.2, 0.04)
    )
    z = top + 0.2
    axle = rod((0, tall, -0.1), (0, tall, z + 0.06), 0.06, 0.015)
    long, wide = rng.uniform(0.75, 0.95), rng.uniform(0.16, 0.24)
    spar = bar((0, 0, 0), (long, 0, 0), 0.06, 0.06, UP, 0.01)
    if rng.random() < 0.5:
        sail = box((0.6 * long, wide / 2, 0), (0.75 * long, wide, 0.05), 0.01)
    else:
        rungs = [
            bar((x, 0, 0), (x, wide, 0), 0.05, 0.05, (0, 0, 1), 0.01)
            for x in np.linspace(0.28, 1.0, int(rng.integers(4, 7))) * long
        ]
        sail = union(*rungs, bar((0.26 * long, wide, 0), (1.02 * long, wide, 0), 0.05, 0.05, UP, 0.01))
    turn = rng.uniform(0, np.pi / 2)
    blade = union(spar, sail)
    sails = union(*(blade.rotated("z", turn + np.pi / 2 * i) for i in range(4))).moved(0, tall, z)
    door = box((0, 0.17, foot), (0.2, 0.34, 0.2), 0)
    window = box((0, 0.6 * tall, foot), (0.14, 0.16, 0.5), 0)
    return union(
        difference(tower, door, window), cap, axle, sails, rod((0, -0.05, 0), (0, 0.05, 0), foot + 0.1, 0.01)
    )


def bridge(rng: np.random.Generator) -> Field:
    """An arched stone bridge, or a hanging bridge with two towers and cables."""
    wide = rng.uniform(0.28, 0.4)
    if rng.random() < 0.5:
        count = int(rng.integers(1, 5))
        span = 2.0 / count
        radius = rng.uniform(0.36, 0.43) * span
        crown = max(radius, 0.25) + rng.uniform(0.1, 0.16)
        arches = []
        for row in range(count):
            x = -1 + (row + 0.5) * span
            arches += [rod((x, 0, -1), (x, 0, 1), radius, 0), box((x, -0.5, 0), (2 * radius, 1.0, 4), 0)]
        low = -rng.uniform(0.1, 0.4)
        body = box((0, (crown + low) / 2, 0), (2.0, crown - low, wide), 0)
        parapet = box((0, crown + 0.04, wide / 2 - 0.03), (2.04, 0.16, 0.06), 0).mirrored("z")
        return union(difference(body, *arches), parapet)
    y, top = 0.0, rng.uniform(0.55, 0.8)
    tower_x = rng.uniform(0.45, 0.6)
    z = wide / 2 - 0.02
    thin = 0.032
    leg = bar((tower_x, -0.5, z), (tower_x, top, z), 0.09, 0.09, (1, 0, 0), 0.01).mirrored("z").mirrored("x")
    parts = [box((0, y, 0), (2.0, 0.07, wide + 0.03), 0.01), leg]
    parts += [
        bar((tower_x, height, -z), (tower_x, height, z), 0.08, 0.08, UP, 0.01).mirrored("x")
        for height in (top - 0.03, 0.55 * top)
    ]
    across = np.linspace(0, tower_x, 9)
    sag = 0.1 + (top - 0.1) * (across / tower_x) ** 2
    main = np.stack([across, sag, np.full(9, z)], axis=1)
    main = np.concatenate([main, [[0.98, 0.0, z]]])
    parts.append(tube(main, thin).mirrored("x").mirrored("z"))
    parts += [
        capsule((x, y, z), (x, height, z), thin).mirrored("x").mirrored("z")
        for x, height in zip(across[2:8:2], sag[2:8:2], strict=True)
    ]
    return union(*parts)


BUILDINGS = {
    "bridge": bridge,
    "castle_tower": castle_tower,
    "house": house,
    "windmill": windmill,
}
