"""Formats the two forms of a report: text with tables, and one line of JSON with the same facts."""

import json
from collections.abc import Sequence
from typing import Any

from sdfkit.rows import printable, printable_json

Cell = str | int | float | None
Facts = dict[str, Any]


def format_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Lay out a table as text.

    Columns of text are aligned left, columns of numbers right. Floats have four decimals, and None becomes "-".

    Args:
        header: Heading of each column; if empty, the table has no header line.
        rows: The cells of each row.
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
    """Format facts as one line of JSON. A NumPy float32 is written with float32 digits: 0.1, not 0.10000000149."""
    return printable_json(json.dumps(facts, default=plain, ensure_ascii=False, allow_nan=False))


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    value = cell.item() if hasattr(cell, "item") else cell  # NumPy scalars are neither int nor float
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))


def plain(value: Any) -> Any:
    """Convert a NumPy scalar to a Python number, and any other iterable to a list, for JSON."""
    if getattr(value, "ndim", None) == 0:
        number = value.item()
        return float(str(value)) if isinstance(number, float) else number
    return list(value)
