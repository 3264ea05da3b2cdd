"""Paths between pairs of vectors of shapes, and statistics of the shapes along them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sdfkit.errors import InputError

DEFINITIONS: Mapping[str, str] = {
    "surface": "share of the shapes between the ends that have a surface; one without it counts against the next five",
    "one_piece": "share of these shapes whose mesh is one connected piece",
    "few_pieces": "share that have no more pieces than the end of their path that has more",
    "euler": "share whose Euler number is that of an end, or lies between those of both",
    "volume": "share whose volume lies between those of both ends, up to the tolerance",
    "area": "share whose surface area lies between those of both ends, up to the tolerance",
    "volume_excess": "how far volumes lie outside those of both ends, divided by the greater of these",
    "area_excess": "how far surface areas lie outside those of both ends, divided by the greater of these",
    "longest_step": "longest Chamfer distance of neighbours on a path, divided by the mean of its steps",
    "detour": "sum of the Chamfer distances of neighbours on a path, divided by that of its ends",
    "ends_one_piece": "share of the ends whose mesh is one connected piece",
}


class Solid(NamedTuple):
    """Measures of the mesh of a shape: connected pieces, Euler number, enclosed volume and surface area."""

    pieces: int
    euler: int
    volume: float
    area: float


@dataclass(frozen=True)
class ShapePath:
    """The shapes along a path between two vectors.

    Attributes:
        ends: Uids of the two ends.
        shapes: Measures of the shapes, the two ends first and last; None for a shape without surface.
        steps: Distance of each shape from the next; None if one of both has no surface.
        distance: Distance of the two ends; None if one of both has no surface.
    """

    ends: tuple[str, str]
    shapes: Sequence[Solid | None]
    steps: Sequence[float | None]
    distance: float | None


def draw_pairs(
    uids: Sequence[str], categories: Sequence[str] | None, count: int, rng: np.random.Generator
) -> Int[np.ndarray, "pair 2"]:
    """Draw pairs of different shapes at random, without repetition. They depend on the uids, not on their order.

    Args:
        uids: Uids of all shapes.
        categories: Category of each shape, empty if unknown, to draw only pairs of one category; None for any pairs.
        count: Number of pairs. If there are fewer, all are returned.
        rng: Generator of the choice.

    Returns:
        The two shapes of each pair, as indices of `uids`.

    Raises:
        InputError: There is no such pair.
    """
    groups: dict[str, list[int]] = {}
    for index in sorted(range(len(uids)), key=uids.__getitem__):
        if categories is None or categories[index]:
            groups.setdefault("" if categories is None else categories[index], []).append(index)
    members = [groups[name] for name in sorted(groups)]
    counts = [math.comb(len(group), 2) for group in members]
    if not sum(counts):
        raise InputError(
            "has one shape, but a path joins two"
            if len(uids) < 2
            else "has no two shapes of one category; leave out --within-category, or give a --manifest"
        )
    ends = np.cumsum(counts)
    pairs = []
    for number in rng.choice(ends[-1], min(count, ends[-1]), replace=False).tolist():
        group = int(np.searchsorted(ends, number, side="right"))
        number -= int(ends[group]) - counts[group]
        second = (1 + math.isqrt(1 + 8 * number)) // 2  # pairs are numbered (0, 1), (0, 2), (1, 2), (0, 3), …
        pairs.append((members[group][number - math.comb(second, 2)], members[group][second]))
    return np.array(pairs)


def interpolate(
    start: Float[np.ndarray, " dim"], end: Float[np.ndarray, " dim"], between: int
) -> Float[np.ndarray, "shape dim"]:
    """Return evenly spaced vectors on the straight line from `start` to `end`, both included.

    Args:
        start: The first vector.
        end: The last vector.
        between: Number of vectors between both.
    """
    share = np.linspace(0, 1, between + 2, dtype=start.dtype)[:, None]
    # Unlike start + share * (end - start), this is exact at both ends.
    path: Float[np.ndarray, "shape dim"] = (1 - share) * start + share * end
    return path


def excess(value: float, ends: tuple[float, float]) -> float:
    """Return how far a value lies outside the interval between two others, divided by the greater of these."""
    return max(min(ends) - value, value - max(ends), 0.0) / max(ends)


def judge_path(path: ShapePath, tolerance: float) -> dict[str, float]:
    """Compute the measures of `DEFINITIONS` for one path.

    Args:
        path: A path with at least one shape between its ends.
        tolerance: How far volumes and areas may lie outside those of the ends, as a share of the greater one.

    Returns:
        The measures by name. Measures that compare with the ends need a surface at both; excesses also need one at a
        shape between them, and steps and detours at every shape. Those that cannot be computed are left out.
    """
    between, (first, *_, last) = path.shapes[1:-1], path.shapes
    found = [shape for shape in between if shape is not None]

    def share(passed: Iterable[bool]) -> float:
        return sum(passed) / len(between)

    ends = [end for end in (first, last) if end is not None]
    result = {"surface": len(found) / len(between), "one_piece": share(shape.pieces == 1 for shape in found)}
    if first is not None and last is not None:
        volumes = [excess(shape.volume, (first.volume, last.volume)) for shape in found]
        areas = [excess(shape.area, (first.area, last.area)) for shape in found]
        low, high = sorted((first.euler, last.euler))
        result["few_pieces"] = share(shape.pieces <= max(first.pieces, last.pieces) for shape in found)
        result["euler"] = share(low <= shape.euler <= high for shape in found)
        result["volume"] = share(value <= tolerance for value in volumes)
        result["area"] = share(value <= tolerance for value in areas)
        if found:
            result |= {"volume_excess": float(np.mean(volumes)), "area_excess": float(np.mean(areas))}
    steps = [step for step in path.steps if step is not None]
    if path.distance is not None and len(steps) == len(path.steps):
        result |= {
            "longest_step": max(steps) / float(np.mean(steps)),
            "detour": sum(steps) / path.distance,
        }
    result["ends_one_piece"] = sum(end.pieces == 1 for end in ends) / 2
    return result
