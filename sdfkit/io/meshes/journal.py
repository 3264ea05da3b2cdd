"""Which files of an output folder stay, because this run would make the same ones."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.io.outputs import beside
from sdfkit.io.reuse import describe_difference
from sdfkit.rows import LABELS, Row, digest_text

log = logging.getLogger(__name__)


class EarlierFile(NamedTuple):
    """The file or folder of a shape at the path of an output: whether this run would make the same one, and how its
    settings differ.
    """

    is_same: bool
    difference: str


def compare_info(info: Mapping[str, Any], settings: Mapping[str, Any], row: Row) -> EarlierFile:
    """Compare the metadata of an existing file with those of the file that the running command makes of a row."""
    if "settings" not in info:
        return EarlierFile(False, "they are unknown")
    difference = describe_difference(info["settings"], settings)
    same = info.get("input") == row.identity and all(
        info.get(name, "") == getattr(row, name) for name in ("uid", *LABELS)
    )
    return EarlierFile(same and not difference, difference)


class Journal:
    """The list of the files that a run with --overwrite has written to a folder, so that it can be continued.

    Attributes:
        replaces: Whether the run replaces existing files.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, replaces: bool) -> None:
        self.replaces = replaces
        self._path = beside(folder, "run")
        self._uids: set[str] = set()
        title = digest_text(json.dumps(dict(settings), sort_keys=True))
        if not replaces:
            self._path.unlink(missing_ok=True)
            return
        with suppress(OSError, UnicodeDecodeError):
            # The last line has no end if the process was killed while it wrote it.
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            if lines[:1] == [title]:
                self._uids.update(json.loads(line) for line in lines[1:])
                return
        self._path.write_text(f"{title}\n", encoding="utf-8")

    def keeps(self, path: Path, earlier: EarlierFile, row: Row) -> bool:
        """Return whether the file or folder of a row stays as it is.

        Args:
            path: Path of the file or folder, which exists.
            earlier: How it compares with that which this run would make.
            row: The row.

        Raises:
            InputError: It was made with other settings, and the run replaces nothing.
        """
        if self.replaces:
            return earlier.is_same and row.uid in self._uids
        if earlier.difference:
            raise InputError(f"{path}: was made with other settings ({earlier.difference}); add --overwrite")
        if not earlier.is_same:
            log.warning("%s: its input has changed since the earlier run, so it is made again", row.uid)
        return earlier.is_same

    def add(self, uid: str) -> None:
        if self.replaces:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(uid) + "\n")

    def finish(self) -> None:
        self._path.unlink(missing_ok=True)
