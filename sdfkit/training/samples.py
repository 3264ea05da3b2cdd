"""Samples of shapes to train on: all of them in memory, or the windows in use alone."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.errors import InputError


class Part(NamedTuple):
    """Samples of one shape as they are stored: query points, their distances, and which were drawn near the surface."""

    points: Float[np.ndarray, "sample 3"]
    distances: Float[np.ndarray, " sample"]
    near: Bool[np.ndarray, " sample"]


class Window(NamedTuple):
    """Samples of one shape, those near the surface first; `near` of them are."""

    points: Float[Tensor, "sample 3"]
    distances: Float[Tensor, " sample"]
    near: int


# Gives the samples of a shape, by its row, from one place up to another.
Read = Callable[[int, int, int], Part]


class Samples:
    """The samples of shapes, by windows of neighbouring ones.

    Samples are stored in random order, so that every window is a fair draw. A step looks at one window of a shape,
    wherever the samples lie: how much memory there is changes what is read again, and never what is learned.
    Windows are read by whoever asks, in any thread.

    Args:
        read: Reads samples.
        uids: The shapes, by which messages name them.
        count: Samples of each.
        window: Samples of a window. The last one takes what is left, and is between half and one and a half times
            as long: a short one would be seen as often as the others, and its samples far oftener.
        near: Samples near the surface that are asked of a window.
        others: Samples that are not, likewise.
        memory: Bytes that windows may take; where all fit, all are read at once.

    Raises:
        InputError: A shape has a distance that is not finite, or a window lacks a kind of samples that is asked for.
    """

    def __init__(
        self,
        read: Read,
        uids: Sequence[str],
        count: int,
        *,
        window: int,
        near: int,
        others: int,
        memory: int,
    ) -> None:
        self.read = read
        self.uids = uids
        self.near, self.others = near, others
        places = list(range(0, count, window))[: max(1, round(count / window))]
        self.bounds = [*places, count]
        # A point and its distance: four numbers of four bytes.
        size = 16 * max(np.diff(self.bounds))
        self.limit = max(1, int(memory // size))
        self.kept: dict[tuple[int, int], Window] = {}
        self.lock = threading.Lock()
        self.in_memory = self.windows * len(uids) <= self.limit
        if self.in_memory:
            for row in range(len(uids)):
                whole = read(row, 0, count)
                for index in range(self.windows):
                    self.kept[row, index] = self.cut(row, whole, index, 0)

    @property
    def windows(self) -> int:
        """Windows of a shape."""
        return len(self.bounds) - 1

    def window(self, row: int, index: int) -> Window:
        """A window of a shape, from memory or read anew."""
        with self.lock:
            found = self.kept.pop((row, index), None)
            if found is None:
                start = self.bounds[index]
                found = self.cut(row, self.read(row, start, self.bounds[index + 1]), index, start)
            # Back at the end: the first is the one that has not been asked for the longest.
            self.kept[row, index] = found
            while len(self.kept) > self.limit:
                del self.kept[next(iter(self.kept))]
            return found

    def cut(self, row: int, part: Part, index: int, start: int) -> Window:
        """A window of samples that begin at `start`."""
        own = slice(self.bounds[index] - start, self.bounds[index + 1] - start)
        points, distances, near = (array[own] for array in part)
        if not (np.isfinite(distances).all() and np.isfinite(points).all()):
            raise InputError(f"{self.uids[row]}: a point or distance is not a finite number: sample it again")
        count = int(near.sum())
        for kind, there, asked in (
            ("near", count, self.near),
            ("away from", len(near) - count, self.others),
        ):
            if there == 0 < asked:
                raise InputError(
                    f"{self.uids[row]}: samples {self.bounds[index]} to {self.bounds[index + 1] - 1} hold none "
                    f"{kind} its surface, but a step asks for {asked}: sample it with another --near-share, "
                    "or train with another --near-focus"
                )
        order = np.argsort(~near, kind="stable")
        return Window(torch.from_numpy(points[order]), torch.from_numpy(distances[order]), count)
