"""Constants of the store format: its version, its columns, and the main array of each kind of store.

The manual page sdfkit-store(5) describes the format.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdfkit.errors import MissingError, UsageError
from sdfkit.io.urls.files import note_server
from sdfkit.rows import LABELS

FORMAT = 1
COLUMNS = ("uid", *LABELS)
# Columns that not all stores have. In rows of other stores they are empty.
OPTIONAL = ("origin", "sample_of")
# Name of the array as which a plain .npy file is read, by the kind of store that the command expects.
PLAIN = {
    "codes": "code",
    "deepsdf": "code",
    "denoiser": "code",
    "autoencoder": "code",
    "flow": "code",
    "weights": "weights",
    "features": "feature",
}
_VIEW = ("shape", "view")
_IMAGE = (*_VIEW, "row", "column")
# The axes of the arrays of the kinds of stores that a program may write, see `api.create_store`.
AXES: dict[str, dict[str, tuple[str, ...]]] = {
    "samples": {
        "to_original": ("shape", "to", "from"),
        "sign_agreement": ("shape",),
        "point": ("shape", "sample", "xyz"),
        "distance": ("shape", "sample"),
        "near": ("shape", "sample"),
        "surface_point": ("shape", "surface", "xyz"),
        "surface_normal": ("shape", "surface", "xyz"),
    },
    "views": {
        "camera_to_world": (*_VIEW, "to", "from"),
        "yfov": _VIEW,
        "rgb": (*_IMAGE, "channel"),
        "mask": _IMAGE,
        "depth": _IMAGE,
        "normal": (*_IMAGE, "xyz"),
    },
    "features": {"camera_to_world": (*_VIEW, "to", "from"), "feature": (*_VIEW, "dim")},
    "weights": {"weights": ("shape", "parameter")},
    "codes": {"code": ("shape", "dim")},
    "grids": {"grid": ("shape", "x", "y", "z")},
}
SAMPLES_PER_CHUNK = 8192
# Endings of outputs: a store as a folder and as one file, all arrays in one NumPy file, and the main array alone.
SUFFIXES = (".zarr", ".zip", ".npz", ".npy")
# Bytes in memory that are allocated without a look at the bytes that are stored.
SMALL = 1 << 26
# The members of a zip archive may unpack to this many bytes for each byte in the archive. sdfkit does not compress
# them, and other programs reach a few.
DENSEST_ZIP = 200


def describe_kinds(kinds: Sequence[str]) -> str:
    """Name kinds of store for a message that ends in "needed": "a store of kind codes or weights is"."""
    return f"a store{' of kind ' * bool(kinds)}{' or '.join(kinds)} is"


def local_path(path: str) -> Path | None:
    """Return the path of a file or folder on this machine, also of a URL file://; None for another URL."""
    if path.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        return Path(unquote(urlsplit(path).path))
    return None if "://" in path else Path(path)


def is_picture_folder(output: str) -> bool:
    """Return whether an output for views is a folder of pictures, by its name: neither a store nor a file."""
    path = Path(output)
    if "://" in output or path.suffix in SUFFIXES or (path / "zarr.json").exists():
        return False
    return path.is_dir() or output.endswith("/") or not (path.suffix or path.exists())


def check_url(output: str, kind: str) -> None:
    """Raise UsageError if an output at a URL is named like a file, or like a folder of pictures."""
    if output.endswith(SUFFIXES[1:]):
        what = "files of stores and arrays"
    elif kind == "views" and output.endswith("/"):
        what = "folders of pictures"
    else:
        return
    raise UsageError(f"{output}: {what} can be written on this machine only; for a store, name it *.zarr")


def open_remote(path: str) -> Any:
    """Return the Zarr store at a URL.

    Raises:
        MissingError: The package that reads URLs of this protocol is not installed.
    """
    from zarr.storage import FsspecStore

    note_server(path)
    try:
        return FsspecStore.from_url(path)
    except ImportError as error:
        raise MissingError(f"{path}: {error}; pip install 'sdfkit[cloud]'") from error


def is_bomb(unpacked: int, packed: int) -> bool:
    """Return whether zip members unpack to so many bytes that the archive was made to fill the memory."""
    return unpacked > SMALL + DENSEST_ZIP * packed
