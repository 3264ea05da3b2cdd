"""The row that represents one shape in stores and streams, unique names, and the entry of a command in a history."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sdfkit

LABELS = ("category", "licence", "source")


@dataclass(frozen=True)
class Row:
    """One shape, with the columns that all stores and streams have."""

    index: int
    uid: str
    category: str = ""
    licence: str = ""
    source: str = ""
    error: str = ""
    sample_of: str = ""
    """If the row is one of several samples of a shape (predict --samples), the uid of that shape; otherwise empty."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """The commands that made the data of this row, oldest first; see `history_step`. Empty if none are recorded."""
        return []

    @property
    def identity(self) -> str:
        """A digest of the data of this row, by which a later run recognises the same input; empty if there is none."""
        return ""


def unique(names: Iterable[str]) -> list[str]:
    """Make names unique by appending numbers, without changing their order: chair, chair -> chair, chair_2.

    A numbered name that is already in the list is not used: chair, chair, chair_2 -> chair, chair_3, chair_2.
    """
    names = list(names)
    taken, count = set(names), Counter[str]()
    result = []
    for name in names:
        count[name] += 1
        candidate = name
        if count[name] > 1:
            number = count[name]
            while (candidate := f"{name}_{number}") in taken:
                number += 1
            taken.add(candidate)
        result.append(candidate)
    return result


def history_step(seed: int | None) -> dict[str, Any]:
    """Describe the running command as one step of a history.

    Args:
        seed: Seed of the command's random numbers; None for a command without random numbers.

    Returns:
        `version`, `command` (the command line as typed; more than four file names in a row are shortened to the
        first two and the last) and, where a seed is given, `seed`.
    """
    words: list[str] = []
    run: list[str] = []
    for word in [*sys.argv[1:], "--"]:
        if not word.startswith("-"):
            run.append(word)
            continue
        words += run if len(run) <= 4 else [*run[:2], "…", run[-1]]
        words.append(word)
        run = []
    command = shlex.join(["sdfkit", *words[:-1]])
    return {"version": sdfkit.__version__, "command": command} | ({} if seed is None else {"seed": seed})
