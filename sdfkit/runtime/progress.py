"""Shows how far a command is: a bar on a terminal, and elsewhere a line from time to time."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sdfkit.runtime.torchrun.messages import is_first_process
from sdfkit.wording import duration, pluralise

log = logging.getLogger(__name__)
# Seconds from one line to the next, and from one update of the bar's text to the next.
BETWEEN_LINES, BETWEEN_TEXTS = 30.0, 0.5
# The rate is that of the last so many seconds.
WINDOW = 60.0


class Progress:
    """The number of units that are done, shown while it grows.

    Args:
        bar: A bar of tqdm, which is hidden where there is no terminal.
        count: Number of units in all.
        unit: Name of a unit, such as "shape".
        done: Number of units that an earlier run has done.
        first_line: Seconds until the first line, without a terminal.
    """

    def __init__(self, bar: Any, count: int, unit: str, *, done: int, first_line: float) -> None:
        now = time.monotonic()
        self.done = done
        self._bar, self._count, self._unit = bar, count, unit
        self._passed = deque([(now, done)])
        self._next_line, self._next_text = now + first_line, now
        self._facts: dict[str, Any] = {}

    def update(self, number: int = 1, describe: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Count units that are done.

        Args:
            number: Number of units.
            describe: Returns facts to show. It is called only when they are shown.
        """
        self.done += number
        now = time.monotonic()
        if now - self._passed[-1][0] >= 1:
            self._passed.append((now, self.done))
            while now - self._passed[0][0] > WINDOW:
                self._passed.popleft()
        if self._bar.disable:
            if now >= self._next_line and self.done < self._count:
                self._next_line = now + BETWEEN_LINES
                self._log_line(self._facts | dict(describe()))
            return
        if now >= self._next_text:
            self._next_text = now + BETWEEN_TEXTS
            if facts := self._facts | dict(describe()):
                self._bar.set_postfix_str(_join(facts), refresh=False)
        self._bar.update(number)

    def set_postfix(self, **facts: Any) -> None:
        """Show facts from now on."""
        self._facts |= facts

    def clear(self) -> None:
        """Hide the bar until the next update, so that a message can be printed."""
        self._bar.clear()

    @property
    def rate(self) -> float:
        """Units per second in the last minute; 0 before the first unit."""
        began, before = self._passed[0]
        return (self.done - before) / max(time.monotonic() - began, 1e-9)

    def _log_line(self, facts: Mapping[str, Any]) -> None:
        rate, units = self.rate, pluralise(self._unit)
        text = f"{self._unit} {self.done} / {self._count}" + f", {_join(facts)}" * bool(facts)
        if rate:
            left = duration((self._count - self.done) / rate)
            # A step may take longer than a second.
            pace = f"{rate:.3g} {units}/s" if rate >= 1 else f"{1 / rate:.3g} s/{self._unit}"
            text += f", {pace}, {left} left"
        log.info("%s", text)


def _join(facts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in facts.items()
    )


@contextmanager
def progress(
    count: int, unit: str, *, done: int = 0, first_line: float = BETWEEN_LINES
) -> Iterator[Progress]:
    """Show the progress of a block on standard error: a bar on a terminal, else a line every 30 seconds.

    With -q there is neither. See `Progress` for the arguments.
    """
    from tqdm import tqdm

    # Of the processes that torchrun starts, only the first shows the bar.
    is_silent = not is_first_process() or not log.isEnabledFor(logging.INFO)
    hidden = is_silent or not sys.stderr.isatty()
    with tqdm(total=count, initial=done, unit=unit, disable=hidden, dynamic_ncols=True, smoothing=0.1) as bar:
        yield Progress(bar, count, unit, done=done, first_line=first_line)
