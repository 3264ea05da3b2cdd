"""Reads image files: finds which files show which shape, and decodes them."""

import hashlib
import importlib
import io
import logging
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sdfkit.errors import GeometryError, InputError, UsageError
from sdfkit.io.manifests import label, read_manifest
from sdfkit.io.naming import FileName, FileNamer, tell_apart
from sdfkit.io.pictures.places import holds_cameras
from sdfkit.io.streams import MESH_SUFFIXES, NO_FILE, name_of, open_input, sniff
from sdfkit.options import STANDARD
from sdfkit.rows import Row
from sdfkit.wording import listed

log = logging.getLogger(__name__)
# Formats that are opened, by Pillow's names. EPS is left out, because Pillow runs Ghostscript to read it.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "HEIF", "JXL")
SUFFIXES = (
    ".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf",
    ".jpg", ".jpx", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Camera raw files. Most are TIFF files, of which Pillow would read the thumbnail.
RAW = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
# Other pictures that are not read. Those in folders are counted.
FOREIGN = (
    *RAW, ".ai", ".bpg", ".dcm", ".dds", ".djvu", ".emf", ".eps", ".exr", ".fits", ".flif", ".hdr", ".icns",
    ".ico", ".jxr", ".kra", ".ktx", ".pcx", ".pic", ".psb", ".psd", ".qoi", ".sgi", ".svg", ".svgz", ".tga",
    ".wdp", ".wmf", ".xcf", ".xpm",
)  # fmt: skip
READABLE = "PNG, JPEG, WebP, AVIF, TIFF, GIF, BMP, PPM or JPEG 2000"
# Formats that Pillow alone does not read: bytes near the start of the file, and the format's name.
MARKS = {
    b"ftyphei": "HEIC", b"ftyphev": "HEIC", b"ftypmif1": "HEIC", b"ftypmsf1": "HEIC", b"JXL \r\n\x87\n": "JPEG XL",
    b"ftypcrx": "camera raw", b"<svg": "SVG", b"%PDF": "PDF",
}  # fmt: skip
# First bytes of images of the most frequent formats.
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
# What adds such a format to Pillow: the module and, if importing it is not enough, its function to call; how to get it.
PLUGINS = {
    "HEIC": ("pi_heif", "register_heif_opener", "pip install 'sdfkit[photos]'"),
    "JPEG XL": ("pillow_jxl", "", "pip install pillow-jxl-plugin"),
}
# Maximum number of pixels along the longer side. Larger images are scaled down; no encoder uses a higher resolution.
LONGEST = 2048
# Errors that decoders raise for damaged files.
DECODER_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class ImageRow(Row):
    """One shape and its image files, one per view. `content` holds the bytes of an image read from standard input."""

    paths: Sequence[str] = ()
    content: bytes = field(default=b"", repr=False)

    @property
    def identity(self) -> str:
        if self.error:
            return ""
        content = hashlib.sha256(self.content)
        for path in self.paths:
            content.update(Path(path).read_bytes())
        return content.hexdigest()[:16]

    def load(self) -> list[np.ndarray]:
        """Decode the images, each (row, column, RGBA) uint8.

        Raises:
            InputError: A file is not an image, or is truncated, animated or too large.
            GeometryError: The file does not exist.
        """
        if self.error:
            raise GeometryError(self.error)
        if self.content:
            return [decode(self.content, name_of(STANDARD))]
        return [decode(Path(path).read_bytes(), path) for path in self.paths]


def holds_images(inputs: Sequence[str]) -> bool:
    """Return whether the inputs are image files or folders of them, rather than stores.

    A folder of pictures with cameras counts as a store; see `reader.open_store`. A file counts as a store if its first
    bytes are those of one, whatever its name.

    Raises:
        InputError: An input is a mesh, which must be rendered first.
        UsageError: A store is given together with other inputs.
    """
    stores = [
        path for path in inputs if not (len(inputs) > 1 and _is_missing_image(path)) and _is_store(path)
    ]
    if stores and len(stores) < len(inputs):
        raise UsageError(f"{stores[0]}: is a store among other inputs; give only stores, or only image files")
    return not stores


def _is_missing_image(path: str) -> bool:
    return path.lower().endswith(SUFFIXES) and not Path(path).exists()


def _is_store(path: str) -> bool:
    if "://" in path:
        return True
    if path != STANDARD and Path(path).is_dir():
        return path.endswith(".zarr") or Path(path, "zarr.json").exists() or holds_cameras(path)
    stream = open_input(path)
    try:
        kind = sniff(stream, name_of(path))
    finally:
        if path != STANDARD:
            stream.close()
    if kind in ("ply", "glb") or path.lower().endswith(MESH_SUFFIXES):
        command = "sdfkit render" if path == STANDARD else f"sdfkit render {path}"
        raise InputError(
            f"{name_of(path)}: is a mesh, but images are needed; render the mesh first: {command}"
        )
    return kind in ("zarr", "arrays", "npy", "npz")


def is_photo(path: str) -> bool:
    """Return whether a path names an image file, or a folder of image files without meshes, for which they might be
    textures, and without cameras.

    Raises:
        InputError: The file is empty.
    """
    if "://" in path or Path(path).suffix.lower() in MESH_SUFFIXES:
        return False
    if path != STANDARD and Path(path).is_dir():
        if _is_store(path):
            return False
        entries = [entry for pattern in ("*", "*/*") for entry in Path(path).glob(pattern)]
        found = {entry.suffix.lower() for entry in entries if not entry.name.startswith(".")}
        return not found.isdisjoint(SUFFIXES) and found.isdisjoint(MESH_SUFFIXES)
    stream = open_input(path)
    try:
        if sniff(stream, name_of(path)) != "unknown":
            return False
        start = stream.peek(64)[:64]
    finally:
        if path != STANDARD:
            stream.close()
    is_marked = start.startswith(SIGNATURES) or any(mark in start for mark in MARKS)
    return is_marked or Path(path).suffix.lower() in (*SUFFIXES, *FOREIGN)


def find_images(inputs: Sequence[str], *, manifest: Path | None) -> list[ImageRow]:
    """List the shapes that image files show.

    A file is a shape with one view. In a folder, each file is a shape with one view, and each subfolder is a shape
    whose views are its files in the order of their names. `-` is one file on standard input. Hidden files are skipped;
    other pictures that are not read are counted in a warning.

    Raises:
        InputError: A folder has no images.
        FileNotFoundError: The only file does not exist. Of several, a missing file fails as its own shape.
    """
    labels = read_manifest(manifest) if manifest else {}
    if list(inputs) == [STANDARD]:
        return [label(ImageRow(0, "picture", content=open_input(STANDARD).read()), labels)]
    if len(inputs) == 1:
        Path(inputs[0]).stat()
    namer = FileNamer(SUFFIXES, lambda path: "")
    found = [shape for path in inputs for shape in _shapes(Path(path), namer)]
    uids = tell_apart([name for name, _ in found])
    return [
        label(ImageRow(index, uid, error=_missing(paths), paths=[str(path) for path in paths]), labels)
        for index, (uid, (_, paths)) in enumerate(zip(uids, found, strict=True))
    ]


def _missing(paths: Sequence[Path]) -> str:
    return next((f"{path}: {NO_FILE}" for path in paths if not path.exists()), "")


def count_views(rows: Sequence[ImageRow]) -> int:
    """Return the largest number of images of a shape."""
    return max(len(row.paths) or 1 for row in rows)


def warn_of_repeats(counts: Mapping[str, int], name: str) -> None:
    """Log a warning if shapes have different numbers of pictures, so that a store repeats those of some shapes.

    Args:
        counts: Number of pictures of each shape, by uid.
        name: Name of the input.
    """
    most = max(counts.values())
    if fewer := [uid for uid, count in counts.items() if count < most]:
        log.warning(
            "%s: shapes have %d to %d pictures; those with fewer than %d repeat theirs (%s)",
            name, min(counts.values()), most, most, listed(fewer),
        )  # fmt: skip


def _shapes(path: Path, namer: FileNamer) -> Iterator[tuple[FileName, list[Path]]]:
    """Yield the name and the files of each shape of one input."""
    if not path.is_dir():
        yield namer.name(path), [path]
        return
    count, skipped = 0, Counter[str]()
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            files = _pictures_in(entry, skipped)
            name = FileName(namer.locate(entry), (0,), given=entry.name)
        else:
            files = [entry] * _is_picture(entry, skipped)
            name = namer.name(entry)
        if files:
            yield name, files
            count += 1
    others = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common())
    if not count:
        holds = f" but with {others}" * bool(others)
        raise InputError(
            f"{path}: is a folder without images ({', '.join(SUFFIXES)}){holds}; give image files"
        )
    if others:
        log.warning(
            "%s: %s are skipped; convert pictures to PNG or JPEG, and give deeper folders one by one",
            path,
            others,
        )


def _pictures_in(folder: Path, skipped: Counter[str]) -> list[Path]:
    """List the pictures of one shape, and count those that lie deeper."""
    entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith(".") and not entry.name.endswith(".zarr"):
            deeper = sum(_is_picture(path, Counter()) for path in entry.rglob("*"))
            if deeper:
                skipped["pictures in folders of folders"] += deeper
    return [path for path in entries if _is_picture(path, skipped)]


def _is_picture(path: Path, skipped: Counter[str]) -> bool:
    """Return whether a file is a picture that is read, and count it by its suffix if it is another picture."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or suffix not in (*SUFFIXES, *FOREIGN) or path.is_dir():
        return False
    if suffix in FOREIGN:
        skipped[suffix] += 1
    return suffix in SUFFIXES


def _add_reader(start: bytes, name: str) -> str:
    """Make Pillow able to read a format that it does not read alone, and return the format's name; otherwise "".

    Raises:
        InputError: Nothing reads the format, or the package that reads it is not installed.
    """
    kind = next((kind for mark, kind in MARKS.items() if mark in start), "")
    if kind == "HEIC" and b"avif" in start[8:64]:
        kind = ""
    elif start.startswith(b"\xff\x0a"):
        kind = "JPEG XL"
    elif Path(name).suffix.lower() in RAW or start[8:10] == b"CR":
        kind = "camera raw"
    if not kind:
        return ""
    module, function, remedy = PLUGINS.get(kind, ("", "", ""))
    try:
        if not module:
            raise ImportError
        plugin = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{name}: {kind} files are not supported; convert it to {READABLE}{f', or {remedy}' * bool(remedy)}"
        ) from error
    if function:
        getattr(plugin, function)()
    return kind


def decode(content: bytes, name: str, *, turned: bool = True) -> np.ndarray:
    """Decode an image to 8-bit RGBA.

    Args:
        content: The bytes of its file.
        name: Name of the file in messages.
        turned: Rotate it by its EXIF orientation. Programs that find cameras do not.

    Raises:
        InputError: The file is not an image, or is truncated, animated or too large.
    """
    start = content[:1024]
    if not start:
        raise InputError(f"{name}: is an empty file; was it copied completely?")
    Image.init()
    kind = _add_reader(start, name)
    try:
        with warnings.catch_warnings():
            # Pillow raises an error only above twice its limit of pixels; below that it warns.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # about metadata, which is not used
            file = Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS if kind in Image.OPEN])
            # An MPO file of a camera holds a photo followed by its preview; a HEIC file begins at its main photo.
            count = getattr(file, "n_frames", 1)
            if count > 1 and file.format not in ("MPO", "HEIF"):
                raise InputError(
                    f"{name}: holds {count} images (an animation or pages); save the one to use as a file"
                )
            file.draft("RGB", (LONGEST, LONGEST))
            upright = ImageOps.exif_transpose(file) if turned else file
            image = _in_8_bits(upright, name).convert("RGBA")
            image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            return np.array(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{name}: has more than {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels; scale it down"
        ) from error
    except UnidentifiedImageError as error:
        if kind:
            raise InputError(f"{name}: cannot be decoded as {kind}; is it truncated or damaged?") from error
        raise InputError(
            f"{name}: is not an image in a supported format; convert it to {READABLE}"
        ) from error
    except DECODER_ERRORS as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: cannot be decoded ({reason}); is it truncated or damaged?") from error


def _in_8_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey values to 8 bits; Pillow's own conversion would clip all values above 255."""
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.rint(grey / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(
            f"{name}: has 32-bit pixel values, whose white level is unknown; save it with 8 or 16 bits"
        )
    return image
