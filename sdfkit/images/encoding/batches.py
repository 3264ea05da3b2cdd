"""Batching of views across shapes for an encoder."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

K = TypeVar("K")
Arrays = dict[str, np.ndarray]


class Batches(Generic[K]):
    """Collects views into full batches, and returns the encoded shapes in the order they were added.

    Args:
        encode: Function from views (images or captions) to named arrays with one row per view.
        batch: Number of views per call of `encode`.
    """

    def __init__(self, encode: Callable[[Sequence[Any]], Arrays], batch: int) -> None:
        self._encode = encode
        self._batch = batch
        self._views: list[Any] = []
        self._pending: deque[tuple[K, int]] = deque()  # shapes not yet returned, with their number of views
        self._done: dict[str, list[np.ndarray]] = {}

    def add(self, key: K, views: Sequence[Any]) -> list[tuple[K, Arrays]]:
        """Add a shape and its views; a shape that failed has none.

        Returns:
            The shapes that are now complete, each with its arrays. A shape without views has no arrays.
        """
        self._pending.append((key, len(views)))
        self._views.extend(views)
        while len(self._views) >= self._batch:
            self._run()
        return self._complete()

    def finish(self) -> list[tuple[K, Arrays]]:
        """Encode the remaining views and return the remaining shapes."""
        while self._views:
            self._run()
        return self._complete()

    def _run(self) -> None:
        for name, array in self._encode(self._views[: self._batch]).items():
            self._done.setdefault(name, []).extend(array)
        del self._views[: self._batch]

    def _complete(self) -> list[tuple[K, Arrays]]:
        complete = []
        ready = min(map(len, self._done.values()), default=0)
        while self._pending and self._pending[0][1] <= ready:
            key, count = self._pending.popleft()
            ready -= count
            complete.append(
                (key, {name: np.stack(rows[:count]) for name, rows in self._done.items() if count})
            )
            for rows in self._done.values():
                del rows[:count]
        return complete
