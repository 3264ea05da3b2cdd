"""Read the lists in sdfkit-store(5), and compare them with stores that commands create."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sdfkit
from sdfkit.io.stores.store_writer import StoreWriter

PACKAGE = Path(sdfkit.__file__).parent
PAGE = (Path(__file__).parents[1] / "man/man5/sdfkit-store.5").read_text(encoding="utf-8").replace("\\-", "-")


def section(title: str) -> str:
    """Return the text between a heading and the next heading of the same or a higher level."""
    start = re.search(rf"^\.(SH|SS) {re.escape(title)}$", PAGE, re.MULTILINE)
    assert start, f"the page has no section {title}"
    following = r"^\.S[HS] " if start[1] == "SS" else r"^\.SH "
    return re.split(following, PAGE[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def entries(title: str) -> dict[str, tuple[tuple[str, ...], str] | None]:
    """Return the entries of a section: name -> (axes, type) for an array, or None for a group or an attribute."""
    found: dict[str, tuple[tuple[str, ...], str] | None] = {}
    for name, text in re.findall(r'^\.TP\n\.BR? (\S+)(?: "(.*)")?$', section(title), re.MULTILINE):
        array = re.fullmatch(r" \((.*)\) (\w+)", text)
        found[name] = (tuple(array[1].split(", ")), array[2]) if array else None
    return found


def kinds() -> list[str]:
    """Return the kinds of stores that the page describes."""
    return re.findall(r"^\.SS (\S+)$", section("KINDS"), re.MULTILINE)


@contextmanager
def stores_compared_with_the_page() -> Iterator[None]:
    """Check that every array and group of each store that sdfkit creates is on the page."""
    create_array, create_group = StoreWriter.create_array, StoreWriter.create_group

    def is_called_by_a_test() -> bool:
        return PACKAGE not in Path(sys._getframe(2).f_code.co_filename).parents

    def checked_array(self: StoreWriter, name: str, **options: object) -> None:
        create_array(self, name, **options)
        if name in entries("Columns") or is_called_by_a_test():
            return
        kind, array = self.group.attrs["kind"], self.group[name]
        described = entries(kind)
        assert name in described, f"{kind}: array {name} is not in sdfkit-store(5)"
        made = (array.metadata.dimension_names, "string" if array.dtype.kind == "T" else array.dtype.name)
        assert made == described[name], f"{kind}: array {name} differs from sdfkit-store(5)"

    def checked_group(self: StoreWriter, name: str, **options: object) -> None:
        create_group(self, name, **options)
        if not is_called_by_a_test():
            kind = self.group.attrs["kind"]
            assert f"{name}/" in entries(kind), f"{kind}: group {name} is not in sdfkit-store(5)"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreWriter, "create_array", checked_array)
        patch.setattr(StoreWriter, "create_group", checked_group)
        yield
