"""What every store has in common: its format, its columns, the array of each kind, and stores at URLs.

sdfkit-store(5) describes the format.
"""

from collections.abc import Sequence
from typing import Any

from sdfkit.errors import MissingError
from sdfkit.rows import LABELS

FORMAT = 1
COLUMNS = ("uid", *LABELS)
# Columns of some stores only; a row of the others has them empty.
OPTIONAL = ("sample_of",)
# The array that a plain .npy file stands for, by the kind of store that was asked for.
PLAIN = {
    "codes": "code",
    "deepsdf": "code",
    "denoiser": "code",
    "autoencoder": "code",
    "flow": "code",
    "weights": "weights",
    "features": "feature",
}
SAMPLES_PER_CHUNK = 8192


def needed(kinds: Sequence[str]) -> str:
    """The kinds of store that a message asks for, with their verb."""
    return f"{' or '.join(kinds) or 'a store'} {'is' if not kinds else 'are'}"


def remote(path: str) -> Any:
    """The Zarr store at a URL.

    Raises:
        MissingError: The package for that kind of URL is not installed.
    """
    from zarr.storage import FsspecStore

    try:
        return FsspecStore.from_url(path)
    except ImportError as error:
        raise MissingError(f"{path}: {error}; pip install 'sdfkit[cloud]'") from error
