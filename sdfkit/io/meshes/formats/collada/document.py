"""The elements of a COLLADA document, the references between them, and their numbers."""

from collections import Counter
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from sdfkit.errors import InputError
from sdfkit.io.meshes.formats.markup import read_tree
from sdfkit.io.meshes.formats.source import Source
from sdfkit.io.meshes.formats.values import parse_numbers
from sdfkit.wording import counted, omitted


class Document:
    """A COLLADA document.

    Args:
        content: The file.
        source: The file's name, and where to note what is left out.

    Raises:
        InputError: The file is not well-formed XML, or is not COLLADA 1.4 or 1.5.
    """

    def __init__(self, content: bytes, source: Source) -> None:
        self.source, self.name, self.size = source, source.name, len(content)
        self.root = read_tree(content, self.name)
        if self.root.tag != "COLLADA":
            raise InputError(f"{self.name}: is not COLLADA; its outermost element is {self.root.tag}")
        version = self.root.get("version", "1.4")
        if not version.startswith(("1.4", "1.5")):
            raise InputError(
                f"{self.name}: is COLLADA {version}, but only 1.4 and 1.5 are supported; convert it"
            )
        self.left_out = Counter[tuple[str, str]]()
        """Number of elements of each kind that are not read; a kind is a noun and the words after it."""
        self.geometries: dict[Element, Any] = {}
        """The geometries that were read, so that each is read once."""
        self._elements: dict[tuple[str, str], list[Element]] = {}
        for element in self.root.iter():
            if (identifier := element.get("id")) is not None:
                self._elements.setdefault((element.tag, identifier), []).append(element)

    def find(self, url: str | None, *tags: str, inside: Element | None = None) -> Element | None:
        """Return the element to which a reference points. None if it lies in another file, which is noted.

        Args:
            url: "#id", or a bare id.
            tags: Names that the element may have.
            inside: The element in which to look first. Some programs use an id more than once.

        Raises:
            InputError: There is no such element, or there are several.
        """
        url = (url or "").strip()
        document, _, fragment = url.rpartition("#")
        if document and PurePosixPath(unquote(document)).name != PurePosixPath(self.name).name:
            self.left_out["element", f"in the file {unquote(document)}"] += 1
            return None
        for identifier in (fragment, unquote(fragment)):
            found = [element for tag in tags for element in self._elements.get((tag, identifier), ())]
            if len(found) > 1 and inside is not None:
                local = set(inside.iter())
                found = [element for element in found if element in local] or found
            if len(found) > 1:
                raise InputError(f"{self.name}: has {len(found)} elements {tags[0]} with the id {identifier}")
            if found:
                return found[0]
        raise InputError(
            f"{self.name}: refers to a {' or '.join(tags)} with the id {fragment!r}, which does not exist; "
            "is it damaged?"
        )

    def first(self, tag: str, url: str) -> Element | None:
        """Return the first element of a name to which a reference within the document points, if there is any."""
        identifier = url.strip().rpartition("#")[2]
        found = self._elements.get((tag, identifier)) or self._elements.get((tag, unquote(identifier)))
        return found[0] if found else None

    def numbers(self, element: Element | None, count: int | None = None) -> Float[np.ndarray, " number"]:
        """Return the numbers in an element; none if it is missing.

        Args:
            element: The element.
            count: How many there must be.

        Raises:
            InputError: Its text is not numbers, or there are more or fewer.
        """
        if element is None:
            return np.zeros(0)
        numbers = parse_numbers((element.text or "").encode(), self.name)
        if count is not None and len(numbers) != count:
            raise InputError(
                f"{self.name}: an element {element.tag} has {counted(len(numbers), 'number')} in place of "
                f"{count}; is it damaged?"
            )
        return numbers

    def integer(self, element: Element, attribute: str, default: int) -> int:
        """Return an attribute that is a natural number.

        Raises:
            InputError: It is something else.
        """
        text = element.get(attribute, str(default)).strip()
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise InputError(
                f"{self.name}: {attribute}={text[:40]!r} of an element {element.tag} is not a number"
            )
        return int(text)

    def note_left_out(self) -> None:
        """Note in the source what was left out."""
        unused = set(self.root.findall("library_geometries/geometry")) - self.geometries.keys()
        if unused:
            self.left_out["geometry", "outside the scene"] = len(unused)
        self.source.left_out.extend(omitted(count, *kind) for kind, count in self.left_out.items())
