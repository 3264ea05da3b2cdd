"""The row that represents one shape in stores and streams, and the entry of a command in a history."""

import hashlib
import logging
import re
import shlex
import sys
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sdfkit
from sdfkit.errors import InputError
from sdfkit.wording import counted, original_names

if TYPE_CHECKING:
    import numpy as np

LABELS = ("category", "licence", "source")
# How the errors of shapes begin that failed because of the machine, not of the shape; see `runtime.pool`.
TOO_LONG, DIED = "took longer than", "its worker process died"
MACHINE_FAILURES = (TOO_LONG, DIED, "MemoryError", "OutOfMemoryError", "_ArrayMemoryError", "OSError: [Errno")
TEXTS = ("uid", *LABELS, "error", "sample_of", "origin")
# Control characters, line separators, characters that reverse the direction of what follows, and the surrogates by
# which Python represents bytes that are not UTF-8.
UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Replace what cannot be printed in one line, or stored as UTF-8, by a backslash escape.

    Every text from a file that the program prints goes through this function: it may hold the commands of a terminal.
    The byte E9 of a file name that is not UTF-8 becomes `\xe9`, a newline `\n`.
    """
    return UNPRINTABLE.sub(lambda match: _escape(match[0]), text)


def printable_json(text: str) -> str:
    """Return JSON in which what cannot be printed is escaped as JSON does. `json.dumps` escapes only some of it."""
    return UNPRINTABLE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


class PrintableFormatter(logging.Formatter):
    """Formats the messages of a log, with the names that the user gave and the texts of files made `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line for a message, and further lines for the traceback if there is one."""
        return "\n".join(map(printable, original_names(super().format(record)).split("\n")))


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


@dataclass(frozen=True)
class Row:
    """One shape, with the columns that all stores and streams have. Its texts are `printable`."""

    index: int
    uid: str
    category: str = ""
    licence: str = ""
    source: str = ""
    error: str = ""
    sample_of: str = ""
    """If the row is one of several samples of a shape (predict --samples), the uid of that shape; otherwise empty."""
    origin: str = ""
    """First 16 digits of the SHA-256 of the mesh file that the shape was first read from; empty if unknown."""

    def __post_init__(self) -> None:
        for name in TEXTS:
            if UNPRINTABLE.search(text := getattr(self, name)):
                object.__setattr__(self, name, printable(text))

    @property
    def shape(self) -> str:
        """Uid of the shape that the row represents; of one of several samples, that of their shape."""
        return self.sample_of or self.uid

    @property
    def history(self) -> list[dict[str, Any]]:
        """The commands that made the data of this row, oldest first; see `history_step`. Empty if none are recorded."""
        return []

    @property
    def identity(self) -> str:
        """A digest of the data of this row, by which a later run recognises the same input; empty if there is none."""
        return ""

    def columns(self, index: int) -> "Row":
        """Return a row with the same columns, at another index, without what a subclass adds."""
        return replace(Row(**{name: getattr(self, name) for name in Row.__dataclass_fields__}), index=index)

    def find_origin(self) -> str:
        """Return `origin`. For a mesh that another program wrote, this reads its file."""
        return self.origin


def is_machine_failure(error: str) -> bool:
    """Return whether a shape failed for a reason of the machine, so that it may succeed in another run."""
    return error.startswith(MACHINE_FAILURES)


def require_same_origins(pairs: Iterable[tuple[Row, Row]], one: str, other: str) -> None:
    """Check that rows which are paired by their uids show the same shapes.

    Rows whose origin is not known are not checked: those of photos, and of stores of earlier versions.

    Args:
        pairs: The rows that are paired.
        one: What the first rows are, for the message, such as "the views of views.zarr".
        other: What the second rows are.

    Raises:
        InputError: Two paired rows come from different mesh files.
    """
    origins = {
        first.uid: (own, second.find_origin()) for first, second in pairs if (own := first.find_origin())
    }
    differing = {uid: pair for uid, pair in origins.items() if pair[1] and pair[0] != pair[1]}
    if differing:
        uid, (first_origin, second_origin) = next(iter(differing.items()))
        more = f", and {counted(len(differing) - 1, 'more shape')}" if len(differing) > 1 else ""
        raise InputError(
            f"{uid}: {one} were made from another mesh file than {other} (origin {first_origin[:8]}…, "
            f"{second_origin[:8]}…)"
            f"{more}; make both from the same files, or give different shapes different uids with sdfkit manifest"
        )


def digest_text(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seed_shape(seed: int, uid: str, *key: int) -> "np.random.SeedSequence":
    """Return the seed of the random numbers of one shape. They depend on its uid, not on the shapes beside it.

    Args:
        seed: Seed of the command.
        uid: Uid of the shape.
        key: Numbers that distinguish several streams of one shape.
    """
    import numpy as np

    words = np.frombuffer(hashlib.sha256(uid.encode("utf-8", "surrogatepass")).digest()[:16], "<u4")
    return np.random.SeedSequence(seed, spawn_key=(*words.tolist(), *key))


def choose_held_out(uids: Sequence[str], share: float, seed: int) -> list[int]:
    """Choose shapes that are kept out of training, by their uids and a seed, whatever the order of the rows.

    Args:
        uids: Uids of all shapes.
        share: Share of the shapes to hold out, at least one shape; 0 holds none out.
        seed: Seed of the choice.

    Returns:
        The rows of these shapes, ascending.

    Raises:
        InputError: Fewer than two shapes would remain.
    """
    if not share:
        return []
    count = max(1, round(share * len(uids)))
    if len(uids) - count < 2:
        raise InputError(
            f"--held-out {share:g}: leaves {len(uids) - count} of {len(uids)} shapes to train on, but two are needed; "
            "give a smaller share"
        )
    return draw(uids, count, seed)


def draw(names: Sequence[str], count: int, seed: int) -> list[int]:
    """Draw names at random. Whether a name is drawn depends on the seed and the names, not on their order.

    Args:
        names: Names of shapes or categories, all different.
        count: Number of names to draw.
        seed: Seed of the choice. A greater count with the same seed draws the same names and more.

    Returns:
        The indices of the names that are drawn, ascending.
    """
    return sorted(shuffle(names, seed)[:count])


def shuffle(names: Sequence[str], seed: int) -> list[int]:
    """Return the indices of names in a random order that depends on the seed and the names, not on their order."""
    import numpy as np

    lots = [int(seed_shape(seed, name, 1).generate_state(1, np.uint64)[0]) for name in names]
    return sorted(range(len(names)), key=lots.__getitem__)


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


def free_uid(uid: str, taken: Container[str]) -> str:
    """Return a uid that is not taken: the given one, or with the first number that is free, such as chair_2."""
    candidate, number = uid, 1
    while candidate in taken:
        number += 1
        candidate = f"{uid}_{number}"
    return candidate


def history_step(seed: int | None, *, is_command: bool) -> dict[str, Any]:
    """Describe the running command, or a program that uses sdfkit as a library, as one step of a history.

    Args:
        seed: Seed of the command's random numbers; None for a command without random numbers.
        is_command: Whether a command is running.

    Returns:
        `version`, `command` (the command line as typed; more than four file names in a row are shortened to the
        first two and the last; of another program, only that it is one) and, where a seed is given, `seed`.
    """
    step = {"version": sdfkit.__version__, "command": _typed() if is_command else "a Python program"}
    return step if seed is None else step | {"seed": seed}


def _typed() -> str:
    words: list[str] = []
    run: list[str] = []
    for word in [*sys.argv[1:], "--"]:
        if not word.startswith("-"):
            run.append(word)
            continue
        words += run if len(run) <= 4 else [*run[:2], "…", run[-1]]
        words.append(word)
        run = []
    return printable(shlex.join(["sdfkit", *words[:-1]]))
