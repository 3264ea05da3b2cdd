"""Pictures with cameras in folders, read as a views store is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdfkit.errors import SdfkitError
from sdfkit.io.manifests import Entry
from sdfkit.io.pictures.folders import PictureFolder, read_picture_folder
from sdfkit.io.stores.layout import AXES, FORMAT
from sdfkit.io.stores.store_reader import ArrayRow, StoreReader, open_root
from sdfkit.rows import LABELS

# Arrays that not all views have: those of sdfkit pose, and of pictures of other programs.
POSE_AXES = {
    "pose_overlap": ("shape", "view"),
    "pose_error": ("shape", "view"),
    "to_original": ("shape", "to", "from"),
}
# Types of the arrays that are not float32.
TYPES = {"rgb": np.dtype("u1"), "mask": np.dtype("u1"), "to_original": np.dtype("f8")}


class PictureReader(StoreReader):
    """The views of the shapes in a folder of pictures, which are read when the arrays of their row are.

    Pictures that cannot be read are the error of their row.
    """

    folder: PictureFolder
    _latest: tuple[int, Mapping[str, np.ndarray]] = (-1, {})

    def read_row(self, index: int, names: Sequence[str]) -> ArrayRow:
        try:
            return super().read_row(index, names)
        except SdfkitError as error:
            if len(self.folder.shapes) == 1:
                raise
            row = self.row(index)
            return ArrayRow(**vars(row) | {"error": str(error)}, steps=self.history)

    def _get(self, array: Any, name: str, selection: Any) -> np.ndarray:
        if name not in self.folder.arrays:
            return super()._get(array, name, selection)
        if selection is ...:
            selection = slice(None)
        first, *rest = selection if isinstance(selection, tuple) else (selection,)
        rows = np.arange(len(self.folder.shapes))[first]
        if rows.ndim == 0:
            found = self._load(int(rows))[name]
        else:
            found = np.stack([self._load(int(row))[name] for row in rows])
            rest = [slice(None), *rest]
        return np.asarray(found[tuple(rest)])

    def _load(self, index: int) -> Mapping[str, np.ndarray]:
        if self._latest[0] != index:
            if self.folder.shapes[index].error:
                arrays = {name: self.array(name) for name in self.folder.arrays}
                return {name: np.zeros(array.shape[1:], array.dtype) for name, array in arrays.items()}
            self._latest = index, self.folder.load(index)
        return self._latest[1]


def open_pictures(path: str, kinds: Sequence[str], labels: Mapping[str, Entry]) -> PictureReader:
    """Open a folder of pictures with cameras as a views store; see `reader.open_store`.

    Raises:
        InputError: The cameras cannot be read, or none of `kinds` is views.
    """
    import zarr
    from zarr.storage import MemoryStore

    folder = read_picture_folder(path)
    infos = [shape.scene.info for shape in folder.shapes if not shape.error]
    settings = infos[0].get("settings", {})
    history: list[Any] = []
    for step in [step for info in infos for step in info.get("history", [])]:
        if step not in history:
            history.append(step)
    store = MemoryStore()
    root = zarr.create_group(
        store,
        attributes={
            "kind": "views", "format": FORMAT, "complete": True, "history": history,
            "settings": settings if all(info.get("settings", {}) == settings for info in infos) else {},
        },
    )  # fmt: skip
    text = np.dtypes.StringDType()
    columns: dict[str, Any] = {
        "uid": [shape.uid for shape in folder.shapes],
        **{name: [shape.scene.info.get(name, "") for shape in folder.shapes] for name in (*LABELS, "origin")},
        "error": [shape.error for shape in folder.shapes],
    }
    for name, values in columns.items():
        root.create_array(name, data=np.array(values, text), dimension_names=("shape",))
    valid = np.array([not shape.error for shape in folder.shapes])
    root.create_array("valid", data=valid, dimension_names=("shape",))
    for name, (dtype, sizes, axes) in _describe_arrays(folder).items():
        count = len(folder.shapes)
        chunks = (1, *(max(size, 1) for size in sizes))
        root.create_array(
            name, shape=(count, *sizes), chunks=chunks, dtype=dtype, dimension_names=("shape", *axes), compressors=None
        )  # fmt: skip
    reader = open_root(store, path, kinds, labels, partial=False, reader=PictureReader)
    assert isinstance(reader, PictureReader)
    reader.folder = folder
    return reader


def _describe_arrays(folder: PictureFolder) -> dict[str, tuple[Any, tuple[int, ...], tuple[str, ...]]]:
    """Return type, shape and axes of a row of each array."""
    sizes = {
        "view": folder.views,
        "row": folder.side,
        "column": folder.side,
        "channel": 3,
        "to": 4,
        "from": 4,
    }
    own = {name: axes[1:] for name, axes in (AXES["views"] | POSE_AXES).items() if name in folder.arrays}
    return {
        name: (TYPES.get(name, np.dtype("f4")), tuple(sizes[axis] for axis in axes), axes)
        for name, axes in own.items()
    }
