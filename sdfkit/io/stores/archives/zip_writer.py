"""Writes a Zarr store to a stream as a zip archive; see `sdfkit.io.stores.archives.zip_stream`."""

import zipfile
from typing import TYPE_CHECKING, BinaryIO

from sdfkit.io.stores.archives.zip_stream import StreamStore

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer


class _MemberBuffer:
    """A seekable file object that buffers the current zip member and passes it on with `send`.

    zipfile writes size and CRC into the local header, before the data, only if its file object can seek. Otherwise it
    writes them after the data, which is too late for a reader that cannot seek.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sent = 0
        self._held = bytearray()
        self._at = 0

    def write(self, content: bytes) -> int:
        self._held[self._at : self._at + len(content)] = content
        self._at += len(content)
        return len(content)

    def tell(self) -> int:
        return self._sent + self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset - self._sent
        return offset

    def flush(self) -> None:
        """Do nothing. zipfile calls this before the local header is final, so `ZipWriter` calls `send` instead."""

    def send(self) -> None:
        # A copy, because a bytearray cannot be cleared while a stream holds a reference to it for a later write.
        self._stream.write(bytes(self._held))
        self._stream.flush()
        self._sent += len(self._held)
        self._held.clear()
        self._at = 0


class ZipWriter(StreamStore):
    """A write-only Zarr store. Each key is written once, in the order in which the reader needs the keys."""

    supports_writes = True

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(read_only=False)
        self._stream = stream
        self._buffer = _MemberBuffer(stream)
        self._archive = zipfile.ZipFile(self._buffer, "w")  # type: ignore[call-overload]
        self._written: set[str] = set()

    async def set(self, key: str, value: "Buffer") -> None:
        if key in self._written:
            raise ValueError(f"{key}: written twice, but a stream cannot be rewritten")
        self._written.add(key)
        content = value.to_bytes()
        # ZipInfo's default date is 1980, so that equal inputs give equal bytes.
        self._archive.writestr(zipfile.ZipInfo(key), content)
        self._buffer.send()
        if key.endswith("zarr.json"):
            self._members[key] = content

    def restart(self) -> None:
        """End the archive, and begin another one behind it on the same stream."""
        self.finish()
        self._buffer = _MemberBuffer(self._stream)
        self._archive = zipfile.ZipFile(self._buffer, "w")  # type: ignore[call-overload]
        self._written.clear()
        self._members.clear()

    def finish(self) -> None:
        """Write the central directory of the zip archive; a reader takes a stream without it for truncated."""
        self._archive.close()
        self._buffer.send()
