"""One row of every stream is one shape: its columns, unique names, and the step of history that a command adds."""

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
    """One shape of a table: the columns that every stream carries."""

    index: int
    uid: str
    category: str = ""
    licence: str = ""
    source: str = ""
    error: str = ""
    sample_of: str = ""
    """The uid of the shape of which this is one of several samples; empty where it is none."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """The steps that made what it was read from."""
        return []

    @property
    def identity(self) -> str:
        """A digest of what it was read from; empty where it was made from nothing."""
        return ""


def unique(names: Iterable[str]) -> list[str]:
    """Make names unique in their order: chair, chair -> chair, chair_2.

    A number is taken only where no other name of the list already is that name.
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
    """One line of history: the version and what was typed, with long runs of file names shortened."""
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
