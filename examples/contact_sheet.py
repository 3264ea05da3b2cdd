#!/usr/bin/env python3
"""Draw meshes beside their predictions, shape by shape, into one PNG.

    python contact_sheet.py closed/ predicted/ -o picture.png
    python contact_sheet.py closed/ predicted/ retrieved/ -o picture.png

The meshes of a shape are the files of one name in all folders. Shapes keep the order of the first folder, and each mesh
is drawn in its own unit frame, from the same side. A mesh that is missing or fails leaves an empty frame with the
reason.
"""

import argparse
from pathlib import Path

import numpy as np

from sdfkit.errors import SdfkitError
from sdfkit.geometry.frame import normalise
from sdfkit.images.turntable import draw_turntable
from sdfkit.io.meshes.reader import MeshRow, is_empty, open_meshes
from sdfkit.report.contact_sheet import Tile, caption, draw_sheet


def read_folder(path: str) -> dict[str, MeshRow]:
    if is_empty(path):
        return {}
    with open_meshes([path], manifest=None) as meshes:
        return {Path(row.path).stem: row for row in meshes}


def draw(row: MeshRow | None, size: int) -> np.ndarray | str:
    """A picture of a mesh, or the reason why there is none."""
    if row is None:
        return "no mesh"
    try:
        return draw_turntable(normalise(row.load())[0], views=1, size=size)[0]
    except SdfkitError as error:
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folders", nargs="+", help="folders of meshes: the shapes, then what to draw beside them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--columns", type=int, default=4, help="shapes in a row")
    parser.add_argument("--size", type=int, default=180, help="pixels along a side of a picture")
    options = parser.parse_args()

    folders = [read_folder(path) for path in options.folders]
    shapes = folders[0]
    if not shapes:
        parser.error(f"{options.folders[0]}: a folder without meshes")
    tiles = [
        Tile(caption(row), "", "", [draw(folder.get(name), options.size) for folder in folders])
        for name, row in shapes.items()
    ]
    title = f"{len(shapes)} shapes, each from left to right: {', '.join(options.folders)}"
    options.output.write_bytes(draw_sheet(title, [], tiles, columns=options.columns, size=options.size))
    print(f"{len(shapes)} shapes drawn to {options.output}")


if __name__ == "__main__":
    main()
