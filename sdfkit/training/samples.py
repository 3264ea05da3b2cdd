"""Reads samples of shapes for training: all of them in memory, or only the windows in use."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdfkit.errors import InputError


class SampleChunk(NamedTuple):
    """Consecutive samples of one shape as they are stored.

    Attributes:
        points: Query points.
        distances: Their signed distances, negative inside.
        near: Whether each was drawn near the surface.
    """

    points: Float[np.ndarray, "sample 3"]
    distances: Float[np.ndarray, " sample"]
    near: Bool[np.ndarray, " sample"]


class Window(NamedTuple):
    """Samples of one shape, sorted so that the `near` samples near the surface come first."""

    points: Float[Tensor, "sample 3"]
    distances: Float[Tensor, " sample"]
    near: int


# Reads the samples of a shape, given its row and the range of samples: (row, start, stop).
ReadChunk = Callable[[int, int, int], SampleChunk]


class SampleReader:
    """Windows of neighbouring samples of each shape, from memory or read when they are needed.

    Samples are stored in random order, so that every window is an unbiased draw. A training step uses one window per
    shape, whether the samples are in memory or not: the amount of memory changes how often windows are read, never the
    result. `window` may be called from several threads.

    Args:
        read: Reads samples.
        uids: Names of the shapes for messages.
        count: Samples per shape.
        window: Samples per window. The last window takes the remainder and has between 0.5 and 1.5 times as many: a
            shorter one would be drawn as often as the others, and its samples far more often.
        near: Samples near the surface that a step draws from a window.
        others: Other samples that a step draws from a window.
        memory: Bytes that windows may take. If all fit, all are read at once.

    Raises:
        InputError: A sample is not finite, or a window has none of the samples that a step draws.
    """

    def __init__(
        self,
        read: ReadChunk,
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
        starts = list(range(0, count, window))[: max(1, round(count / window))]
        self.bounds = [*starts, count]
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
        """Number of windows per shape."""
        return len(self.bounds) - 1

    def window(self, row: int, index: int) -> Window:
        """Return a window of a shape, from memory if it is there."""
        with self.lock:
            found = self.kept.pop((row, index), None)
            if found is None:
                start = self.bounds[index]
                found = self.cut(row, self.read(row, start, self.bounds[index + 1]), index, start)
            # Inserted at the end: the first window is the least recently used one.
            self.kept[row, index] = found
            while len(self.kept) > self.limit:
                del self.kept[next(iter(self.kept))]
            return found

    def cut(self, row: int, chunk: SampleChunk, index: int, start: int) -> Window:
        """Cut a window out of a chunk that begins at sample `start`, and check its samples."""
        own = slice(self.bounds[index] - start, self.bounds[index + 1] - start)
        points, distances, near = (array[own] for array in chunk)
        if not (np.isfinite(distances).all() and np.isfinite(points).all()):
            raise InputError(f"{self.uids[row]}: a point or distance is not a finite number: sample it again")
        count = int(near.sum())
        for kind, there, needed in (
            ("near", count, self.near),
            ("away from", len(near) - count, self.others),
        ):
            if there == 0 < needed:
                raise InputError(
                    f"{self.uids[row]}: samples {self.bounds[index]} to {self.bounds[index + 1] - 1} include none "
                    f"{kind} its surface, but a step draws {needed}: sample it with another --near-share, "
                    "or train with another --near-focus"
                )
        order = np.argsort(~near, kind="stable")
        return Window(torch.from_numpy(points[order]), torch.from_numpy(distances[order]), count)
