"""The metadata that sdfkit writes into mesh files: a JSON object in a comment, or in the extras of a GLB."""

from typing import Any, BinaryIO

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.fields import COUNT, HISTORY, INDEX, OBJECT, TEXT, Field, check_fields, parse_json
from sdfkit.rows import TEXTS

MARK = b"sdfkit "
# Lines at the start of a text file in which the comment is looked for, and bytes of the longest line.
LINES, LONGEST = 8, 1 << 20
REMEDY = "make the file again, or remove the metadata of sdfkit from it"


def _is_transform(value: Any) -> bool:
    """Return whether a value is an affine 4×4 matrix, as nested lists, that can be inverted."""
    try:
        matrix = np.array(value, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or matrix[3].tolist() != [0, 0, 0, 1]:
            return False
        with np.errstate(all="ignore"):
            return bool(np.isfinite(np.linalg.inv(matrix)).all())
    except (ArithmeticError, TypeError, ValueError):  # LinAlgError is a ValueError
        return False


# The fields that sdfkit reads, or copies into what it writes.
FIELDS = {
    **dict.fromkeys((*TEXTS, "input"), TEXT),
    "row": INDEX,
    "rows": COUNT,
    "history": HISTORY,
    "settings": OBJECT,
    "to_original": Field(_is_transform, "an invertible affine matrix of 4 × 4 numbers"),
}


def check_info(info: Any, name: str) -> dict[str, Any]:
    """Check the metadata of a mesh file.

    Args:
        info: The parsed JSON.
        name: Name of the file in messages.

    Raises:
        InputError: The metadata are not an object, or the type of one of their `FIELDS` is wrong.
    """
    return check_fields(info, FIELDS, name, "metadata", REMEDY)


def parse_info(text: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON that follows `MARK` in a comment, and check it; see `check_info`."""
    try:
        info = parse_json(text)
    except ValueError as error:
        reason = str(error).partition(":")[0][:80]
        raise InputError(f"{name}: its metadata are not JSON ({reason}); {REMEDY}") from error
    return check_info(info, name)


def find_comment(stream: BinaryIO, name: str) -> dict[str, Any] | None:
    """Find the metadata in the comments at the start of a PLY or OBJ. None if there are none.

    Raises:
        InputError: The metadata are damaged; see `check_info`.
    """
    for _ in range(LINES):
        line = stream.readline(LONGEST)
        if line.startswith((b"comment " + MARK, b"# " + MARK)):
            return parse_info(line.split(MARK, 1)[1], name)
        if line.strip() == b"end_header":
            break
    return None
