"""The zip package of a 3MF file, and the relationships between its parts."""

import io
import lzma
import struct
import zipfile
import zlib
from urllib.parse import unquote

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.markup import read_tree

# Largest compression ratio. XML reaches 10 to 50; ratios of 1,000 mean a zip bomb.
LARGEST_RATIO = 200
SMALLEST_BOMB = 1 << 20
MODEL = "/3dmodel"
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, LookupError, NotImplementedError, OSError,
    RuntimeError, ValueError,
)  # fmt: skip


class Package:
    """The parts of a zip package. A part is unpacked when it is read.

    Args:
        content: The file.
        name: Name of the file in messages.

    Attributes:
        parts: Names of the parts as the file has them, by their name in lower case without the leading slash.

    Raises:
        InputError: The file is not a zip file, is damaged, or is a zip bomb.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except ZIP_ERRORS as error:
            raise InputError(
                f"{name}: is not a complete zip file ({error}); is it truncated or damaged?"
            ) from error
        members = self._archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(LARGEST_RATIO * len(content), SMALLEST_BOMB):
            raise InputError(
                f"{name}: its {len(content)} bytes would unpack to {unpacked} bytes, as in a zip bomb; it is not read"
            )
        self.parts = {_normalise(member.filename): member.filename for member in members}

    def find(self, part: str) -> str | None:
        """Return the normal form of a part's name; None if there is no such part. Names do not depend on case."""
        for name in (_normalise(part), _normalise(unquote(part))):
            if name in self.parts:
                return name
        return None

    def read(self, part: str) -> bytes:
        """Return the content of a part.

        Raises:
            InputError: The part is missing, damaged or encrypted.
        """
        name = self.find(part)
        if name is None:
            raise InputError(f"{self.name}: refers to its part {part}, which does not exist; is it damaged?")
        try:
            return self._archive.read(self.parts[name])
        except ZIP_ERRORS as error:
            raise InputError(
                f"{self.name}: its part {part} cannot be unpacked ({error}); is it damaged?"
            ) from error

    def find_root(self) -> tuple[str, bool]:
        """Return the name of the root model, and whether the relationships of the package name it.

        Raises:
            InputError: There is no root model, or the package is encrypted.
        """
        entries = []
        if self.find("_rels/.rels") is not None:
            tree = read_tree(self.read("_rels/.rels"), f"{self.name}, part _rels/.rels")
            entries = [entry for entry in tree.iter("Relationship") if entry.get("TargetMode") != "External"]
        kinds = [entry.get("Type", "").lower() for entry in entries]
        if any("keystore" in kind or "encrypted" in kind for kind in kinds):
            raise InputError(f"{self.name}: is encrypted (3MF secure content); export it without protection")
        for entry, kind in zip(entries, kinds, strict=True):
            if kind.endswith(MODEL):
                return entry.get("Target", ""), True
        models = [part for part in self.parts if part.endswith(".model")]
        if len(models) != 1:
            raise InputError(
                f"{self.name}: does not say which of its {len(models)} parts is the model; is it a 3MF file?"
            )
        return models[0], False


def _normalise(part: str) -> str:
    return part.replace("\\", "/").lstrip("/").lower()
