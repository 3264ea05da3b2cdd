"""The 80 bytes at the start of a binary STL, the only place for text in it, as sdfkit writes them."""

import re
from collections.abc import Mapping
from typing import Any

MARK = b"sdfkit "
LENGTH = 80
# Where the origin of the shape begins, if it is known.
ORIGIN = 64


def write_title(info: Mapping[str, Any]) -> bytes:
    """Return the title for a mesh with this metadata: its uid, category and licence, cut to fit, and its origin."""
    words = [MARK.decode().strip(), *(str(info.get(name, "")) for name in ("uid", "category", "licence"))]
    text = " ".join(words).encode("ascii", "replace")
    origin = str(info.get("origin", "")).encode()
    if not origin:
        return text[:LENGTH].ljust(LENGTH)
    return text[: ORIGIN - 1].ljust(ORIGIN) + origin


def read_title(start: bytes) -> dict[str, Any]:
    """Return the metadata that the start of an STL holds: `origin`, or nothing for files of other programs.

    The words before the origin are not read, because they may be cut.
    """
    if not start.startswith(MARK):
        return {}
    origin = start[ORIGIN:LENGTH]
    return {"origin": origin.decode() if re.fullmatch(rb"[0-9a-f]{16}", origin) else ""}
