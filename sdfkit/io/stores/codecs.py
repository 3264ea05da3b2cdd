"""Codecs of Zarr that check how much memory a chunk asks for before they decode it.

Those of zarr allocate what the first bytes of a chunk say: four damaged bytes in a column of texts took 16 GB and 35 s.
"""

import math
from typing import TYPE_CHECKING

import zarr
from zarr import codecs
from zarr.registry import register_codec

if TYPE_CHECKING:
    from zarr.abc.codec import Codec
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer


class VLenUTF8Codec(codecs.VLenUTF8Codec):
    """Texts of any length. A chunk begins with their number. Zarr needs this name of the class."""

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "NDBuffer":
        count = int.from_bytes(chunk_bytes[:4].to_bytes(), "little")
        if count != math.prod(chunk_spec.shape):
            raise ValueError(f"it declares {count} texts, but {math.prod(chunk_spec.shape)} are needed")
        return await super()._decode_single(chunk_bytes, chunk_spec)


class ZstdCodec(codecs.ZstdCodec):
    """Zstandard. Its frame declares the size of the decoded bytes."""

    async def _decode_single(self, chunk_bytes: "Buffer", chunk_spec: "ArraySpec") -> "Buffer":
        needed = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        declared = content_size(chunk_bytes[:18].to_bytes())
        if declared is None or (declared > needed and chunk_spec.dtype.to_native_dtype().kind != "T"):
            raise ValueError(f"it declares {declared} bytes, but {needed} are needed")
        return await super()._decode_single(chunk_bytes, chunk_spec)


def content_size(start: bytes) -> int | None:
    """Return the number of decoded bytes that a Zstandard frame declares. None if it declares none.

    Reference: RFC 8878, section 3.1.1.1.
    """
    if len(start) < 6 or start[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = start[4]
    is_single = bool(flags & 0x20)
    at = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    width = (int(is_single), 2, 4, 8)[flags >> 6]
    if not width or len(start) < at + width:
        return None
    return int.from_bytes(start[at : at + width], "little") + 256 * (width == 2)


def use_checked_codecs() -> None:
    """Let zarr decode texts and Zstandard with the codecs of this module."""
    checked: dict[str, type[Codec]] = {"vlen-utf8": VLenUTF8Codec, "zstd": ZstdCodec}
    for name, codec in checked.items():
        register_codec(name, codec)
        zarr.config.set({f"codecs.{name}": f"{codec.__module__}.{codec.__qualname__}"})
