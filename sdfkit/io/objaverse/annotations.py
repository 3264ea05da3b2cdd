"""Categories, licences and authors of Objaverse's shapes, through the package objaverse."""

import gzip
import io
import logging
import socket
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

from sdfkit.errors import MissingError
from sdfkit.wording import counted

log = logging.getLogger(__name__)
T = TypeVar("T")
# Sketchfab's names of the Creative Commons licences, all of version 4.0.
LICENCES = {
    "cc0": "CC0-1.0",
    "by": "CC-BY-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "by-nd": "CC-BY-ND-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-nc-nd": "CC-BY-NC-ND-4.0",
}
# What the functions of the package raise for a file in its cache that is not whole, because a killed download leaves it
# under its final name; and what they raise in all.
DAMAGED = (EOFError, ValueError, gzip.BadGzipFile, zlib.error)
FAILURES = (*DAMAGED, OSError, HTTPException, KeyError)
# Seconds after which a server that sends nothing is given up; the package sets no limit.
SILENCE = 60.0


class Annotations:
    """The annotations of Objaverse, which the package downloads when they are first needed, and keeps.

    Args:
        subject: Option or command to name in messages.
        remedy: What to do if they cannot be downloaded.

    Raises:
        MissingError: The package is not installed; or, of the methods, something cannot be downloaded.
    """

    def __init__(self, subject: str, remedy: str = "connect to the network") -> None:
        self._subject, self._remedy = subject, remedy
        try:
            import objaverse
        except ImportError as error:
            raise MissingError(
                f"{subject}: the package objaverse is not installed; pip install 'sdfkit[lvis]'"
            ) from error
        self._package: Any = objaverse

    def categories(self) -> dict[str, str]:
        """Return the category of each shape of LVIS, the labelled subset of Objaverse, by its uid."""
        lvis: Mapping[str, Sequence[str]] = self._call(self._package.load_lvis_annotations)
        return {uid: category for category, members in lvis.items() for uid in members}

    def credits(self, uids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the licence and the source of shapes by their uids. The source is the author and the shape's page."""
        facts: Mapping[str, Any] = self._call(self._package.load_annotations, list(uids)) if uids else {}
        return {uid: _credit(facts.get(uid, {})) for uid in uids}

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            with supervised():
                try:
                    return function(*arguments)
                except DAMAGED:
                    if not self._remove_damaged():
                        raise
                    return function(*arguments)
        except FAILURES as error:
            reason = " ".join(str(error).split())
            raise MissingError(
                f"{self._subject}: Objaverse's annotations cannot be downloaded ({reason}); {self._remedy}"
            ) from error

    def _remove_damaged(self) -> int:
        """Remove the annotations in the cache of the package that cannot be read, and return their number."""
        damaged = [path for path in Path(self._package.BASE_PATH).rglob("*.json.gz") if not _is_whole(path)]
        for path in damaged:
            path.unlink()
        if damaged:
            log.warning(
                "%s: %s of an interrupted download; downloading again", damaged[0].parent,
                f"removed {counted(len(damaged), 'incomplete file')}",
            )  # fmt: skip
        return len(damaged)


def _is_whole(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


@contextmanager
def supervised() -> Iterator[None]:
    """Give up servers that send nothing, and show what the package prints on a terminal only, on standard error."""
    shown = sys.stderr if sys.stderr.isatty() else io.StringIO()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _credit(fact: Mapping[str, Any]) -> dict[str, str]:
    slug = str(fact.get("license") or "").lower()
    author = dict(fact.get("user") or {}).get("username")
    source = ", ".join(str(part) for part in (author, fact.get("viewerUrl")) if part)
    return {"licence": LICENCES.get(slug, slug), "source": source}
