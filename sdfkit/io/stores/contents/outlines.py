"""The masks and cameras of the images in a views store, found by the uids of shapes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sdfkit.errors import InputError
from sdfkit.rows import Row, require_same_origins

if TYPE_CHECKING:
    from sdfkit.io.stores.store_reader import ArrayRow, StoreReader

# The arrays from which outlines in space follow.
OUTLINES = ("mask", "camera_to_world", "yfov")


@dataclass(frozen=True)
class ImagesByUid:
    """An open views store whose rows are read by uid, one at a time.

    Attributes:
        store: The store.
        rows: Its rows that did not fail, by uid.
    """

    store: "StoreReader"
    rows: Mapping[str, Row]

    def join(self, rows: "Iterable[ArrayRow]", what: str) -> "Iterator[ArrayRow]":
        """Yield rows of another store with the arrays `OUTLINES` of their images; rows that failed stay unchanged.

        Args:
            rows: The rows. One that is one of several samples of a shape gets the images of this shape.
            what: What these rows are, for messages: "the shapes of codes.zarr".

        Raises:
            InputError: The store has no images of a row, or images of another mesh file.
        """
        for row in rows:
            if row.error:
                yield row
                continue
            known = self.rows.get(row.shape)
            if known is None:
                raise InputError(f"{self.store.name}: has no images of {row.shape}; render all of {what}")
            require_same_origins([(known, row)], f"the images of {self.store.name}", what)
            images = {name: self.store.read_part(name, known.index) for name in OUTLINES}
            yield replace(row, arrays={**row.arrays, **images})


def index_images(store: "StoreReader") -> ImagesByUid:
    """Return the images of an open views store by uid.

    Raises:
        InputError: The views have no masks.
    """
    require_outlines(store)
    return ImagesByUid(store, {row.uid: row for row in store.all_rows() if not row.error})


def require_outlines(store: "StoreReader") -> None:
    """Raise InputError if an open views store has no masks or no cameras."""
    for name in OUTLINES:
        if name not in store:
            raise InputError(
                f"{store.name}: has views without the array {name}, from which their outlines follow; render the "
                "meshes again"
            )
