"""Opens several stores that were made in the same way as one, without copying their rows."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from sdfkit.errors import UsageError
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import ArrayRow, StoreReader
from sdfkit.io.tables.joining import join_histories, join_settings, require_alike, with_own_uids
from sdfkit.io.tables.stores import StoreTable
from sdfkit.options import STANDARD
from sdfkit.rows import Row
from sdfkit.wording import listed


@contextmanager
def open_stores(paths: Sequence[str], *kinds: str, manifest: Path | None) -> Iterator[StoreReader]:
    """Open one store, or several as one, whose rows are those of the stores, one after another.

    Args:
        paths: Stores, as in `reader.open_store`.
        kinds: Accepted kinds of store; any kind if none is given.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        UsageError: Standard input is given beside other stores.
        InputError: A store cannot be read, the stores differ in more than their rows, or a uid occurs twice.
    """
    if len(paths) == 1:
        with open_store(paths[0], *kinds, manifest=manifest) as store:
            yield store
        return
    if STANDARD in paths:
        raise UsageError("standard input cannot be joined with stores; save it to a store first")
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(path, *kinds, manifest=manifest)) for path in paths]
        tables = [StoreTable(store, store.all_rows(), is_whole=True) for store in stores]
        for table in tables[1:]:
            require_alike(tables[0], table)
        yield JoinedStores(tables)


class JoinedStores(StoreReader):
    """Several open stores as one. What belongs to all rows, such as attributes and networks, is that of the first.

    Arrays that `array` returns are those of the first store, with its number of rows.
    """

    def __init__(self, tables: Sequence[StoreTable]) -> None:
        stores = [table.store for table in tables]
        name = listed([store.name for store in stores])
        super().__init__(stores[0].group, name, {})
        self.attributes["settings"] = join_settings(stores)
        self.history = join_histories([store.history for store in stores])
        self._stores = stores
        self._by_row = {*tables[0].arrays}
        rows = with_own_uids((row for table in tables for row in table.known or ()), rename=False, name=name)
        self._rows = [replace(row, index=index) for index, row in enumerate(rows)]
        # The first row of each store, and the number of all rows.
        self._starts = [0, *accumulate(len(table) for table in tables)]

    def __len__(self) -> int:
        return len(self._rows)

    def _locate(self, row: int) -> tuple[StoreReader, int]:
        """Return the store of a row, and the row there."""
        number = bisect_right(self._starts, row) - 1
        return self._stores[number], row - self._starts[number]

    def read(self, name: str, *axes: str) -> np.ndarray:
        """Read a whole array; see `StoreReader.read`."""
        if name not in self._by_row:
            return super().read(name, *axes)
        return np.concatenate([store.read(name, *axes) for store in self._stores])

    def read_part(self, name: str, selection: Any) -> np.ndarray:
        """Read the part of an array that a NumPy index selects, whose first part is a row."""
        first, *rest = selection if isinstance(selection, tuple) else (selection,)
        store, row = self._locate(int(first))
        return store.read_part(name, (row, *rest))

    def read_slice(self, name: str, rows: slice) -> np.ndarray:
        """Read some rows of an array."""
        return np.stack([self.read_part(name, row) for row in range(*rows.indices(len(self)))])

    def row(self, index: int) -> Row:
        """Return the columns of one row."""
        return self._rows[index]

    def all_rows(self, *, errors: bool = True) -> list[Row]:
        """Return the columns of every row."""
        return list(self._rows)

    def rows(
        self,
        *names: str,
        numbered: bool = True,
        check: Callable[[StoreReader], None] = lambda _: None,
    ) -> Iterator[ArrayRow]:
        """Yield the rows in order, each with the entries of the named arrays for this row."""
        for index in range(len(self)):
            yield self.read_row(index, names)

    def read_row(self, index: int, names: Sequence[str]) -> ArrayRow:
        """Read one row with its entries of the named arrays; a shape that failed has none."""
        store, row = self._locate(index)
        return replace(store.read_row(row, names), index=index)

    def _row_array(self, name: str) -> Any:
        return self.array(name)

    def _get(self, array: Any, name: str, selection: Any) -> np.ndarray:
        if name in self._by_row and isinstance(selection, int):
            return self.read_part(name, selection)
        return super()._get(array, name, selection)
