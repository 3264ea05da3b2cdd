"""Zarr stores as streams in zip format, so that a store can pass through a pipe.

`zip_writer.ZipWriter` appends each key of the store as one uncompressed zip member, with size and CRC in the member's
local header. `ZipReader` reads the members in the order of the stream and keeps each in memory until `forget` drops it.
The stream is an ordinary zip archive.
"""

import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.buffer import default_buffer_prototype
from zarr.storage import ZipStore

from sdfkit.errors import InputError
from sdfkit.io.digests import UNKNOWN, ContentDigest
from sdfkit.io.stores.layout import is_bomb
from sdfkit.rows import printable

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer, BufferPrototype

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
CENTRAL, END, END64, LOCATOR64 = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
MEMBER = b"PK\x03\x04"
LARGEST_MEMBER = 1 << 40
OUTSIDE = "the path of the zip member {!r} leads outside the store"


class ZipFileReader(ZipStore):
    """A read-only Zarr store in a zip file.

    Raises:
        InputError: A member unpacks to far more bytes than it takes in the archive, or its path is no path in a store.
    """

    def _sync_open(self) -> None:
        super()._sync_open()
        # With an empty name, a group would be a member of itself.
        for name in self._zf.namelist():
            if not is_inside(name):
                raise InputError(f"{self.path}: {OUTSIDE.format(name)}; make the store again")

    def _get(self, key: str, *rest: Any, **options: Any) -> "Buffer | None":
        if not self._is_open:
            self._sync_open()
        with suppress(KeyError):
            member = self._zf.getinfo(key)
            if is_bomb(member.file_size, member.compress_size):
                raise InputError(
                    f"{self.path}: the zip member {key} unpacks from {member.compress_size} to {member.file_size} "
                    "bytes, as in a zip bomb; make the store again"
                )
        return super()._get(key, *rest, **options)

    async def getsize(self, key: str) -> int:
        """Return the size of a member. Unlike the method of zarr, this does not unpack it."""
        return self._zf.getinfo(key).file_size


def is_inside(name: str) -> bool:
    """Return whether the name of a zip member is the path of a file or folder in the archive."""
    parts = name.rstrip("/").split("/")
    return (
        not name.startswith("/")
        and "\\" not in name
        and ":" not in parts[0]
        and all(part not in ("", ".", "..") for part in parts)
    )


def find_range(size: int, request: ByteRequest | None) -> slice:
    """Return the slice of `size` bytes that a byte request of Zarr selects.

    A suffix longer than `size` selects everything. No request selects everything too.
    """
    match request:
        case None:
            return slice(0, size)
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, size)
        case SuffixByteRequest(suffix):
            return slice(max(0, size - suffix), size)
    raise TypeError(f"{request!r} is not a byte request of Zarr")


# The store on standard input, once it is opened.
_on_standard_input: "list[ZipReader]" = []


def read_standard_input(stream: BinaryIO, name: str) -> "ZipReader":
    """Return a reader of the store on standard input, whose digest `digest_of_pipe` returns."""
    _on_standard_input[:] = [ZipReader(stream, name)]
    return _on_standard_input[0]


def digest_of_pipe() -> str:
    """Return the digest of the store on standard input, after reading the rest of it; `UNKNOWN` if there is none."""
    for reader in _on_standard_input:
        reader.finish()
        return str(reader.digest)
    return UNKNOWN


class StreamStore(Store):
    """Base of `ZipWriter` and `ZipReader`: keys cannot be deleted, and are listed in the order of the stream."""

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
        return value if byte_range is None else value[find_range(len(content), byte_range)]

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> "list[Buffer | None]":
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return self._find(key) is not None

    async def delete(self, key: str) -> None:
        raise NotImplementedError(f"{key}: keys of a stream cannot be deleted")

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


class ZipReader(StreamStore):
    """A read-only Zarr store on a stream, which is read once from start to end.

    To get a key, the stream is read up to the zip member of that name. All metadata precede the first chunk, so
    metadata that have not arrived before the first chunk do not exist.

    Raises:
        InputError: The stream ends early, a CRC is wrong, the path of a member leads outside the store, or a member
            occurs twice.
    """

    supports_writes = False

    def __init__(self, stream: BinaryIO, name: str, *, has_begun: bool = False) -> None:
        super().__init__(read_only=True)
        self._stream = stream
        # Whether the first bytes, which tell that an archive follows another one, have been read.
        self._has_begun = has_begun
        self._is_followed = False
        self._name = name
        # Hashes of the members' names take less memory than the names: 10,000 shapes have about 100,000 members.
        self._seen: set[int] = set()
        self._packed = self._unpacked = 0
        self.digest = ContentDigest()
        self._chunks_have_begun = False
        self.has_ended = False

    async def set(self, key: str, value: "Buffer") -> None:
        raise NotImplementedError(f"{key}: this store is read-only")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        # The list is complete once the first chunk has been read, because all metadata precedes it.
        while not (self._chunks_have_begun or self.has_ended):
            self._read_member()
        async for name in super().list_dir(prefix):
            yield name

    def forget(self, prefix: str) -> None:
        """Drop the data of a key, or of all keys below a prefix, to free their memory."""
        for key in [key for key in self._members if key == prefix or key.startswith(f"{prefix}/")]:
            del self._members[key]

    def read_to(self, prefix: str) -> None:
        """Read the stream up to the first member whose name starts with `prefix`, or to its end."""
        while not self.has_ended and not any(f"{key}/".startswith(prefix) for key in self._members):
            self._read_member()

    def require(self, key: str) -> None:
        """Read the stream up to a member. InputError if there is none: `get` returns None, which is read as zeros."""
        if self._find(key) is None:
            raise self._fault(f"is damaged; it has no zip member {key}")

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the number of bytes of the members below `prefix` that have arrived and are not forgotten."""
        return sum(len(content) for key, content in self._members.items() if key.startswith(prefix))

    def finish_archive(self) -> None:
        """Read to the end of the archive and check that it is complete."""
        while not self.has_ended:
            self._read_member()
            for key in [key for key in self._members if not key.endswith("zarr.json")]:
                del self._members[key]

    def finish(self) -> None:
        """Read to the end of the stream and check that it is complete, and that it holds no further archive.

        Raises:
            InputError: Another archive follows, whose rows the caller does not read.
        """
        self.finish_archive()
        if self._is_followed:
            while self._stream.read(1 << 16):  # so that the command that writes it gets no error of its own
                pass
            raise self._fault(
                "holds several stores, one after another, which this command cannot join; give it one store"
            )

    def take_next(self) -> "ZipReader | None":
        """Return a reader of the archive that follows this one on the stream, which is finished. None if none does."""
        if not self._is_followed:
            return None
        self._is_followed = False
        following = ZipReader(self._stream, self._name, has_begun=True)
        following.digest = self.digest
        return following

    def _find(self, key: str) -> bytes | None:
        is_metadata = key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"))
        while (
            key not in self._members and not self.has_ended and not (is_metadata and self._chunks_have_begun)
        ):
            self._read_member()
        return self._members.get(key)

    def _fault(self, fault: str) -> InputError:
        self.has_ended = True
        # The name of a member may hold anything.
        return InputError(f"{self._name}: {printable(fault)}")

    def _read_exactly(self, size: int) -> bytes:
        if size > LARGEST_MEMBER:
            raise self._fault(f"is damaged; a zip member declares an impossible size of {size} bytes")
        parts = []
        while size:
            # In pieces, so that a damaged size does not allocate memory for bytes that never arrive.
            part = self._stream.read(min(size, 1 << 24))
            if not part:
                raise self._fault("ends early; the command that wrote it did not finish")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _read_member(self) -> None:
        signature = MEMBER if self._has_begun else self._read_exactly(4)
        self._has_begun = False
        if signature in (CENTRAL, END, END64):
            self._finish_archive(signature)
            return
        if signature != MEMBER:
            raise self._fault("is damaged; the data after a zip member are not another member")
        header = signature + self._read_exactly(LOCAL_HEADER.size - 4)
        _, _, flags, method, _, _, crc, stored, size, name_length, extra_length = LOCAL_HEADER.unpack(header)
        name_bytes, extra = self._read_exactly(name_length), self._read_exactly(extra_length)
        try:
            name = name_bytes.decode()
        except UnicodeDecodeError as error:
            raise self._fault("is damaged; the name of a zip member is not UTF-8") from error
        if flags & 0x08 or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._fault(
                f"the zip member {name} is compressed in a way that cannot be read from a pipe; save the stream to a "
                "file and give that file"
            )
        self._check_name(name)
        if 0xFFFFFFFF in (stored, size):
            stored, size = self._large_sizes(extra)
        content = self._read_exactly(stored)
        self._packed, self._unpacked = self._packed + stored, self._unpacked + size
        if is_bomb(self._unpacked, self._packed):
            raise self._fault(
                f"its zip members unpack from {self._packed} to {self._unpacked} bytes, as in a zip bomb; is it "
                "damaged?"
            )
        if method == zipfile.ZIP_DEFLATED:
            try:
                content = zlib.decompressobj(-15).decompress(content, size + 1)
            except zlib.error as error:
                raise self._fault(
                    f"is damaged; the zip member {name} cannot be unpacked ({error})"
                ) from error
        if len(content) != size or zlib.crc32(content) != crc:
            raise self._fault(f"is damaged; the zip member {name} has a wrong checksum")
        if name.endswith("/"):
            return
        self._chunks_have_begun |= not name.endswith("zarr.json")
        self.digest.add(name, content)
        self._members[name] = content

    def _check_name(self, name: str) -> None:
        if not is_inside(name):
            raise self._fault(f"{OUTSIDE.format(name)}; it is not read")
        if hash(name) in self._seen:
            raise self._fault(f"has two zip members named {name}; such a stream is not read")
        self._seen.add(hash(name))

    def _large_sizes(self, extra: bytes) -> tuple[int, int]:
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1 and length >= 16:
                size, stored = struct.unpack_from("<2Q", extra, at + 4)
                return int(stored), int(size)
            at += 4 + length
        raise self._fault("is damaged; a zip member larger than 4 GB does not declare its size")

    def _finish_archive(self, signature: bytes) -> None:
        """Read the central directory, its end record, and whatever follows, of which there must be nothing."""
        entries = 0
        while signature == CENTRAL:
            lengths = struct.unpack_from("<3H", self._read_exactly(42), 24)
            self._read_exactly(sum(lengths))
            entries += 1
            signature = self._read_exactly(4)
        if signature == END64:
            self._read_exactly(struct.unpack("<Q", self._read_exactly(8))[0])
            signature = self._read_exactly(4)
            if signature == LOCATOR64:
                self._read_exactly(16)
                signature = self._read_exactly(4)
        if signature != END:
            raise self._fault("is damaged; its central directory has no end")
        record = self._read_exactly(18)
        self._read_exactly(struct.unpack_from("<H", record, 16)[0])
        count = struct.unpack_from("<H", record, 6)[0]
        if entries != len(self._seen) or count != min(entries, 0xFFFF):
            raise self._fault(
                f"is damaged; it has {len(self._seen)} zip members, but its end record declares {count}"
            )
        following = self._stream.read(4)
        if following == MEMBER:
            self._is_followed = True
        elif following:
            raise self._fault("is damaged; bytes follow the end of the archive")
        self.has_ended = True
