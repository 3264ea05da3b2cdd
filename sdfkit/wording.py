"""Numbers with their nouns, and the names of files, in messages and reports."""

from collections.abc import Sequence

# Names that a message lists at most.
LISTED = 3
# The temporary copies of inputs and outputs that are named pipes or at URLs, by the names that the user gave.
copies: dict[str, str] = {}
IRREGULAR = {"vertex": "vertices", "index": "indices", "matrix": "matrices", "axis": "axes"}


def original_names(text: str) -> str:
    """Return a message in which temporary copies have the names of the pipes and URLs that they stand for."""
    for name, copy in copies.items():
        text = text.replace(copy, name)
    return text


def agreeing(count: int, singular: str, plural: str) -> str:
    """Return the form of a word that agrees with a number: the singular for 1, the plural for all others."""
    return singular if count == 1 else plural


def pluralise(noun: str) -> str:
    """Return the plural of a noun, which may have adjectives before it: "line primitive" becomes "line primitives"."""
    words, _, last = noun.rpartition(" ")
    if last in IRREGULAR:
        return f"{words} {IRREGULAR[last]}".strip()
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return noun + ("es" if last.endswith(("s", "x", "ch", "sh")) else "s")


def counted(count: int, noun: str, rest: str = "") -> str:
    """Return a number with its noun: "1 node", "2 nodes", "0 nodes".

    Args:
        count: The number.
        noun: The noun in the singular, which may have adjectives before it.
        rest: Words that follow the noun and do not change with the number, such as "of type lines".
    """
    return f"{count} {agreeing(count, noun, pluralise(noun))} {rest}".rstrip()


def listed(names: Sequence[str]) -> str:
    """Name at most three names and the number of the others: "a, b, c and 4 more"."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def omitted(count: int, noun: str, rest: str = "") -> str:
    """Return "2 line primitives were left out", by the arguments of `counted`."""
    return f"{counted(count, noun, rest)} {agreeing(count, 'was', 'were')} left out"


def duration(seconds: float) -> str:
    """Return a length of time in words, to two digits or so: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def size(count: float) -> str:
    """Return a number of bytes with its unit, to four digits: "512 B", "1.024 kB", "3.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
