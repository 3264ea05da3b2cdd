"""Splits the text of OBJ and MTL files into lines."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt8

# Microsoft's spelling of numbers that are not finite.
NOT_FINITE = re.compile(rb"[-+]?1\.#(?:IND|QNAN|SNAN|INF)\w*")
COMMENT = re.compile(rb"#[^\n]*")
SPACE, NEWLINE = b" \n"  # White space has codes up to that of the space.


@dataclass(frozen=True)
class Lines:
    """The lines of an OBJ, each of which begins with its keyword and ends with a newline."""

    text: bytes

    @cached_property
    def letters(self) -> UInt8[np.ndarray, " letter"]:
        """The text, and blanks so that no keyword ends beyond the array."""
        return np.frombuffer(self.text + 8 * b" ", dtype=np.uint8)

    @cached_property
    def ends(self) -> Int[np.ndarray, " line"]:
        """Positions of the newlines."""
        ends: np.ndarray = np.flatnonzero(self.letters == NEWLINE)
        return ends

    @cached_property
    def starts(self) -> Int[np.ndarray, " line"]:
        """Positions of the first letters."""
        return np.concatenate([[0], self.ends[:-1] + 1])

    @cached_property
    def initials(self) -> UInt8[np.ndarray, " line"]:
        """The first letters. Empty lines have a newline."""
        initials: np.ndarray = self.letters[self.starts]
        return initials

    def find(self, keyword: bytes) -> Int[np.ndarray, " line"]:
        """Return the lines with a keyword, in order."""
        at = np.flatnonzero(self.initials == keyword[0])
        for place, letter in enumerate(keyword[1:], start=1):
            at = at[self.letters[self.starts[at] + place] == letter]
        found: np.ndarray = at[self.letters[self.starts[at] + len(keyword)] <= SPACE]
        return found

    def read(self, line: int) -> tuple[str, str]:
        """Return the keyword of a line, and what follows it."""
        keyword, _, rest = decode_name(self.text[self.starts[line] : self.ends[line]]).partition(" ")
        return keyword, rest.strip()

    def join(
        self, at: Int[np.ndarray, " line"], keyword: bytes
    ) -> tuple[UInt8[np.ndarray, " letter"], Int[np.ndarray, " line"]]:
        """Return one text of lines with spaces in place of their keyword and comment, and its newlines' positions."""
        # Lines that follow each other are copied together.
        is_first, is_last = np.diff(at, prepend=-2) != 1, np.diff(at, append=-2) != 1
        starts, stops = self.starts[at[is_first]], self.ends[at[is_last]] + 1
        text = b"".join(map(self.text.__getitem__, map(slice, starts.tolist(), stops.tolist())))
        if b"#" in text:
            text = COMMENT.sub(b"", NOT_FINITE.sub(b"nan", text))
        letters = np.frombuffer(bytearray(text), dtype=np.uint8)
        ends = np.flatnonzero(letters == NEWLINE)
        starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
        for place in range(len(keyword)):
            letters[starts + place] = SPACE
        return letters, ends


def to_lines(content: bytes) -> bytes:
    """Convert an OBJ or MTL to bytes with one statement a line, without byte order mark and indentation.

    Files in UTF-16 begin with a byte order mark. Others are in ASCII, UTF-8 or Latin-1, which differ in names only.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        content = content.decode("utf-16", errors="replace").encode()
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\\" in text:  # A comment that ends in a backslash, such as a path, does not continue.
        text = re.sub(
            rb"(?m)^[ \t]*#.*|\\[ \t]*\n", lambda found: b" " if found[0][:1] == b"\\" else found[0], text
        )
    if b"\n " in text or b"\n\t" in text:
        text = re.sub(rb"\n[ \t]+", b"\n", text)
    return text if text.endswith(b"\n") else text + b"\n"


def decode_name(name: bytes) -> str:
    """Decode a name, which may be in UTF-8 or Latin-1, and strip white space around it."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return text.replace("\t", " ").strip()
