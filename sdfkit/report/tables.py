"""Reports: the same facts as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from typing import Any

Cell = str | int | float | None


def format_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Lay out a table: text to the left; numbers to the right, four digits behind the point; - for None.

    An empty header leaves its line out.
    """
    cells = [list(header)] * bool(header) + [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_text = [
        any(isinstance(cell, str) and cell != "" for cell in column) for column in zip(*rows, strict=True)
    ]
    lines = (
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text or [True] * len(widths), strict=True)
        )
        for line in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def format_json(facts: Any) -> str:
    """Facts as one line of JSON. NumPy's float32 keeps the digits it has, not those of a float64."""
    return json.dumps(facts, default=plain, ensure_ascii=False, allow_nan=False)


def printable(text: str) -> str:
    """Text of a foreign file, without what would move the cursor or colour the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    value = cell.item() if hasattr(cell, "item") else cell  # NumPy's numbers are neither int nor float
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))


def plain(value: Any) -> Any:
    """What JSON has no word for: a number of NumPy, or a list of any sort."""
    if getattr(value, "ndim", None) == 0:
        number = value.item()
        return float(str(value)) if isinstance(number, float) else number
    return list(value)
