"""Reads samples of shapes for training, into memory all at once or in windows when they are needed."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdfkit.errors import InputError


class SampleChunk(NamedTuple):
    """Consecutive samples of one shape as they are stored.

    Attributes:
        points: Query points.
        distances: Signed distances of the points, negative inside.
        near: Whether each point was drawn near the surface.
    """

    points: Float[np.ndarray, "sample 3"]
    distances: Float[np.ndarray, " sample"]
    near: Bool[np.ndarray, " sample"]


class Window(NamedTuple):
    """Samples of one shape. The first `near` of them were drawn near the surface, the others elsewhere."""

    points: Float[Tensor, "sample 3"]
    distances: Float[Tensor, " sample"]
    near: int


# Reads the samples of a shape, given its row and the range of samples: (row, start, stop).
ReadChunk = Callable[[int, int, int], SampleChunk]


class SampleReader:
    """Reads windows, runs of consecutive samples of one shape, and keeps as many in memory as fit.

    Samples are stored in random order, so that every window is an unbiased draw. A training step uses one window per
    shape, whether or not all samples are in memory. The amount of memory therefore changes how often windows are read,
    but never the result. `window` may be called from several threads.

    Args:
        read: Function that reads samples.
        uids: Names of the shapes for messages.
        count: Number of samples per shape.
        window: Number of samples per window. The last window takes the remainder and has between 0.5 and 1.5 times as
            many. A much shorter last window would be drawn as often as the others, so its samples would be drawn far
            more often than others.
        near: Number of samples near the surface that a step draws from a window.
        others: Number of other samples that a step draws from a window.
        memory: Number of bytes that windows may take. If all windows fit, all are read at once.

    Raises:
        InputError: A sample is not finite, or a window lacks samples near the surface, or others, that a step draws.
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
            # The window is inserted at the end, so that the first window is the least recently used one.
            self.kept[row, index] = found
            while len(self.kept) > self.limit:
                del self.kept[next(iter(self.kept))]
            return found

    def cut(self, row: int, chunk: SampleChunk, index: int, start: int) -> Window:
        """Cut a window out of a chunk that begins at sample `start`, and check its samples."""
        own = slice(self.bounds[index] - start, self.bounds[index + 1] - start)
        points, distances, near = (array[own] for array in chunk)
        if not (np.isfinite(distances).all() and np.isfinite(points).all()):
            raise InputError(
                f"{self.uids[row]}: a point or distance is not a finite number; sample the shape again"
            )
        count = int(near.sum())
        for kind, there, needed in (
            ("near", count, self.near),
            ("away from", len(near) - count, self.others),
        ):
            if there == 0 < needed:
                raise InputError(
                    f"{self.uids[row]}: samples {self.bounds[index]} to {self.bounds[index + 1] - 1} include no point "
                    f"{kind} the surface, but a training step draws {needed}; sample the shape with another "
                    "--near-share, or train with another --near-focus"
                )
        order = np.argsort(~near, kind="stable")
        return Window(torch.from_numpy(points[order]), torch.from_numpy(distances[order]), count)

    def draw(
        self,
        rows: Int[Tensor, " row"],
        windows: Int[Tensor, " row"],
        places: Float[Tensor, "row point"],
        near: int,
    ) -> tuple[Float[Tensor, "row point 3"], Float[Tensor, "row point"]]:
        """Take points of shapes, the first `near` of each near the surface.

        Args:
            rows: The shapes.
            windows: A window of each shape.
            places: Random numbers from 0 to 1 that choose the points within their part of the window. Overwritten.
            near: Number of points near the surface.
        """
        points, distances = places.new_empty(*places.shape, 3), torch.empty_like(places)
        for at, (row, index, place) in enumerate(zip(rows.tolist(), windows.tolist(), places, strict=True)):
            window = self.window(row, index)
            place[:near] *= window.near
            place[near:] = window.near + place[near:] * (len(window.distances) - window.near)
            # Rounding may give an index one past the last sample.
            samples = place.long().clamp_max(len(window.distances) - 1)
            points[at], distances[at] = window.points[samples], window.distances[samples]
        return points, distances
