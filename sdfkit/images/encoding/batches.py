"""Many shapes through an encoder, in batches that do not stop at a shape's end."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

K = TypeVar("K")
Arrays = dict[str, np.ndarray]


class Batches(Generic[K]):
    """Gathers views until a batch is full, and gives shapes back whole and in the order they came.

    Args:
        encode: Turns views (pictures, captions) into named arrays with one row a view.
        batch: Views that go through it together.
    """

    def __init__(self, encode: Callable[[Sequence[Any]], Arrays], batch: int) -> None:
        self._encode = encode
        self._batch = batch
        self._views: list[Any] = []
        self._waiting: deque[tuple[K, int]] = deque()  # shapes not yet given back, with their number of views
        self._done: dict[str, list[np.ndarray]] = {}

    def add(self, key: K, views: Sequence[Any]) -> list[tuple[K, Arrays]]:
        """Take a shape and its views, none where it failed.

        Returns:
            The shapes that are now complete, each with its arrays, which a shape without views lacks.
        """
        self._waiting.append((key, len(views)))
        self._views.extend(views)
        while len(self._views) >= self._batch:
            self._run()
        return self._complete()

    def finish(self) -> list[tuple[K, Arrays]]:
        """Give back the rest."""
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
        while self._waiting and self._waiting[0][1] <= ready:
            key, count = self._waiting.popleft()
            ready -= count
            complete.append(
                (key, {name: np.stack(rows[:count]) for name, rows in self._done.items() if count})
            )
            for rows in self._done.values():
                del rows[:count]
        return complete
