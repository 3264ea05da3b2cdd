"""What an input is that may be anything: a store, plain arrays, or meshes."""

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from sdfkit.errors import InputError
from sdfkit.options import STANDARD
from sdfkit.stream import name_of, open_input, sniff


def find_kind(path: str) -> Literal["store", "arrays", "mesh"]:
    """Tell what lies at a path, by its first bytes where it is one file.

    Raises:
        InputError: Empty, or nothing sdfkit knows.
    """
    from sdfkit.meshfile import SUFFIXES

    if "://" in path or Path(path, "zarr.json").is_file() or (Path(path).is_dir() and path.endswith(".zarr")):
        return "store"
    if Path(path).is_dir() or Path(path).suffix.lower() in SUFFIXES:
        return "mesh"
    stream = open_input(path)
    with nullcontext() if path == STANDARD else stream:
        kind = sniff(stream, name_of(path))
    if kind == "unknown":
        raise InputError(f"{name_of(path)}: holds nothing sdfkit knows; name a store, a mesh or a .npy")
    if kind == "zarr":
        return "store"
    return "arrays" if kind in ("npy", "npz") else "mesh"
