"""A Zarr store that is a zip stream, so that a store can pass through a pipe.

`ZipWriter` appends each key as one uncompressed member, with its size and CRC in the local header; `ZipReader` reads
the members in the order they come and keeps them until they are forgotten. The stream is an ordinary zip archive.
"""

import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, BinaryIO

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage._utils import _normalize_byte_range_index

from sdfkit.errors import InputError

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
CENTRAL, END, END64 = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"
LARGEST_MEMBER = 1 << 40


class _Window:
    """Makes `zipfile` believe that a stream can seek, by holding back the member being written.

    zipfile writes sizes and CRC into the local header only where it can seek; a stream would get them behind
    the data, where a reader that goes front to back cannot use them.
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
        """Called by zipfile when a member is whole, and by the writer at the end."""

    def send(self) -> None:
        # A copy: the stream keeps hold of what it could not write, and a held bytearray cannot be cleared.
        self._stream.write(bytes(self._held))
        self._stream.flush()
        self._sent += len(self._held)
        self._held.clear()
        self._at = 0


class _StreamStore(Store):
    """What both ends share: no deletion, keys in the order they came."""

    supports_deletes = False
    supports_listing = True

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._members: dict[str, bytes] = {}

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _find(self, key: str) -> bytes | None:
        return self._members.get(key)

    async def get(
        self, key: str, prototype: "BufferPrototype | None" = None, byte_range: ByteRequest | None = None
    ) -> "Buffer | None":
        content = self._find(key)
        if content is None:
            return None
        value = (prototype or default_buffer_prototype()).buffer.from_bytes(content)
        if byte_range is None:
            return value
        start, stop = _normalize_byte_range_index(value, byte_range)
        return value[start:stop]

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> "list[Buffer | None]":
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return self._find(key) is not None

    async def delete(self, key: str) -> None:
        raise NotImplementedError(f"{key}: nothing can be taken back from a stream")

    async def list(self) -> AsyncIterator[str]:
        for key in tuple(self._members):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in tuple(self._members):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        names = (key[len(start) :].split("/")[0] for key in tuple(self._members) if key.startswith(start))
        for name in dict.fromkeys(names):
            yield name


class ZipWriter(_StreamStore):
    """A store that can only be written, each key once, in the order in which the reader will need them."""

    supports_writes = True

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(read_only=False)
        self._window = _Window(stream)
        self._archive = zipfile.ZipFile(self._window, "w")  # type: ignore[call-overload]
        self._is_open = True

    async def set(self, key: str, value: "Buffer") -> None:
        if key in self._archive.NameToInfo:
            raise ValueError(f"{key}: written twice, but a stream cannot be rewritten")
        content = value.to_bytes()
        # ZipInfo's own date, 1980: equal inputs give equal bytes.
        self._archive.writestr(zipfile.ZipInfo(key), content)
        self._window.send()
        if key.endswith("zarr.json"):
            self._members[key] = content

    def finish(self) -> None:
        """Write the central directory, without which a reader takes the stream for cut."""
        self._archive.close()
        self._window.send()


class ZipReader(_StreamStore):
    """A store read front to back from a stream.

    A key is waited for until its member has come. Metadata comes before the first chunk, so metadata
    that is not there by then does not exist.

    Raises:
        InputError: The stream ends early, a CRC is wrong, a name leaves the store or comes twice.
    """

    supports_writes = False

    def __init__(self, stream: BinaryIO, name: str) -> None:
        super().__init__(read_only=True)
        self._stream = stream
        self._name = name
        self._seen: set[int] = set()  # hashes of names: 10,000 shapes bring a hundred thousand
        self._chunks_have_begun = False
        self.has_ended = False
        self._is_open = True

    async def set(self, key: str, value: "Buffer") -> None:
        raise NotImplementedError(f"{key}: this stream is read")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        # What a store holds is known when its first chunk comes: the metadata lies before it.
        while not (self._chunks_have_begun or self.has_ended):
            self._pull()
        async for name in super().list_dir(prefix):
            yield name

    def forget(self, prefix: str) -> None:
        """Drop what is no longer needed, so that memory stays flat."""
        for key in [key for key in self._members if key == prefix or key.startswith(f"{prefix}/")]:
            del self._members[key]

    def finish(self) -> None:
        """Read to the end, to learn whether the stream was whole."""
        while not self.has_ended:
            self._pull()
            for key in [key for key in self._members if not key.endswith("zarr.json")]:
                del self._members[key]

    def _find(self, key: str) -> bytes | None:
        is_metadata = key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"))
        while (
            key not in self._members and not self.has_ended and not (is_metadata and self._chunks_have_begun)
        ):
            self._pull()
        return self._members.get(key)

    def _fail(self, fault: str) -> InputError:
        self.has_ended = True
        return InputError(f"{self._name}: {fault}")

    def _take(self, size: int) -> bytes:
        if size > LARGEST_MEMBER:
            raise self._fail(f"a member claims {size} bytes; the stream is damaged")
        parts = []
        while size:
            # In pieces: a damaged size must not allocate what never comes.
            part = self._stream.read(min(size, 1 << 24))
            if not part:
                raise self._fail("ends early; the command that wrote it did not finish")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _pull(self) -> None:
        signature = self._take(4)
        if signature in (CENTRAL, END, END64):
            self._finish_archive(signature)
            return
        if signature != b"PK\x03\x04":
            raise self._fail("is damaged; a zip member was expected")
        header = signature + self._take(LOCAL_HEADER.size - 4)
        _, _, flags, method, _, _, crc, stored, size, name_length, extra_length = LOCAL_HEADER.unpack(header)
        name_bytes, extra = self._take(name_length), self._take(extra_length)
        try:
            name = name_bytes.decode()
        except UnicodeDecodeError as error:
            raise self._fail("is damaged; a member has no readable name") from error
        if flags & 0x08 or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._fail(
                f"{name}: packed so that it cannot be read from a pipe; save it to a file, name that file"
            )
        self._check_name(name)
        if 0xFFFFFFFF in (stored, size):
            stored, size = self._large_sizes(extra)
        content = self._take(stored)
        if method == zipfile.ZIP_DEFLATED:
            try:
                content = zlib.decompressobj(-15).decompress(content, size + 1)
            except zlib.error as error:
                raise self._fail(f"{name}: is damaged; {error}") from error
        if len(content) != size or zlib.crc32(content) != crc:
            raise self._fail(f"{name}: the checksum is wrong; the stream was damaged on its way")
        if name.endswith("/"):
            return
        self._chunks_have_begun |= not name.endswith("zarr.json")
        self._members[name] = content

    def _check_name(self, name: str) -> None:
        parts = name.rstrip("/").split("/")
        if (
            name.startswith("/")
            or "\\" in name
            or ":" in parts[0]
            or any(part in ("", ".", "..") for part in parts)
        ):
            raise self._fail(f"{name!r}: a member's name leaves the store; refused")
        if hash(name) in self._seen:
            raise self._fail(f"{name}: comes twice; refused")
        self._seen.add(hash(name))

    def _large_sizes(self, extra: bytes) -> tuple[int, int]:
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1 and length >= 16:
                size, stored = struct.unpack_from("<2Q", extra, at + 4)
                return int(stored), int(size)
            at += 4 + length
        raise self._fail("is damaged; a large member without its size")

    def _finish_archive(self, signature: bytes) -> None:
        """Read the central directory and insist on its end record."""
        tail = signature
        while part := self._stream.read(1 << 16):
            tail = (tail + part)[-(1 << 17) :]
        end = tail.rfind(END)
        if end < 0 or len(tail) < end + 22:
            raise self._fail("ends early; the command that wrote it did not finish")
        count, directory = struct.unpack_from("<H", tail, end + 10)[0], tail[end:]
        if len(directory) != 22 + struct.unpack_from("<H", directory, 20)[0]:
            raise self._fail("is damaged; bytes follow its end")
        if count != min(len(self._seen), 0xFFFF):
            raise self._fail(f"holds {len(self._seen)} members, but its end names {count}; it is damaged")
        self.has_ended = True
