"""Reads image files: finds which files show which shape, and decodes them."""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sdfkit.errors import InputError, UsageError
from sdfkit.io.manifests import label, read_manifest
from sdfkit.io.streams import MESH_SUFFIXES, name_of, open_input, sniff
from sdfkit.options import STANDARD
from sdfkit.rows import Row, unique

# Formats that are opened, by Pillow's names. EPS is left out, because Pillow runs Ghostscript to read it.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
READABLE = "PNG, JPEG, WebP, AVIF, TIFF, GIF, BMP, PPM or JPEG 2000"
# Common formats that Pillow cannot read: bytes near the start of the file, and the format's name.
UNREADABLE = {b"ftyphei": "HEIC", b"ftyphev": "HEIC", b"ftypmif1": "HEIC", b"<svg": "SVG", b"%PDF": "PDF"}
# Maximum number of pixels along the longer side. Larger images are scaled down; no encoder uses a higher resolution.
LONGEST = 2048
# Errors that decoders raise for damaged files.
DECODER_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
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
        content = hashlib.sha256(self.content)
        for path in self.paths:
            content.update(Path(path).read_bytes())
        return content.hexdigest()[:16]

    def load(self) -> list[np.ndarray]:
        """Decode the images, each (row, column, RGBA) uint8.

        Raises:
            InputError: A file is not an image, or is truncated, animated or too large.
        """
        if self.content:
            return [_decode(self.content, name_of(STANDARD))]
        return [_decode(Path(path).read_bytes(), path) for path in self.paths]


def holds_images(inputs: Sequence[str]) -> bool:
    """Return whether the inputs are image files or folders of them, rather than one store.

    A file counts as a store if its first bytes are those of one, whatever its name.

    Raises:
        InputError: An input is a mesh, which must be rendered first.
        UsageError: A store is given together with other inputs.
    """
    stores = [path for path in inputs if _is_store(path)]
    if stores and len(inputs) > 1:
        raise UsageError(f"{stores[0]}: is a store among other inputs; give one store, or only image files")
    return not stores


def _is_store(path: str) -> bool:
    if "://" in path:
        return True
    if path != STANDARD and Path(path).is_dir():
        return path.endswith(".zarr") or Path(path, "zarr.json").exists()
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
    return kind in ("zarr", "npy", "npz")


def find_images(inputs: Sequence[str], *, manifest: Path | None) -> list[ImageRow]:
    """List the shapes that image files show.

    A file is a shape with one view. In a folder, each file is a shape with one view, and each subfolder is a shape
    whose views are its files in the order of their names. `-` is one file on standard input.

    Raises:
        InputError: A folder has no images, or shapes have different numbers of views.
    """
    labels = read_manifest(manifest) if manifest else {}
    if list(inputs) == [STANDARD]:
        return [label(ImageRow(0, "picture", content=open_input(STANDARD).read()), labels)]
    found = [shape for path in inputs for shape in _shapes(Path(path))]
    uids = unique([name for name, _ in found])
    rows = [
        label(ImageRow(index, uid, paths=[str(path) for path in paths]), labels)
        for index, (uid, (_, paths)) in enumerate(zip(uids, found, strict=True))
    ]
    for row in rows:
        if len(row.paths) != len(rows[0].paths):
            raise InputError(
                f"{rows[0].uid} has {len(rows[0].paths)} images, but {row.uid} has {len(row.paths)}; "
                "every shape needs the same number of images"
            )
    return rows


def _shapes(path: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the name and the files of each shape of one input."""
    if not path.is_dir():
        path.stat()
        yield path.stem, [path]
        return
    count = 0
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if files := _pictures_in(entry) if entry.is_dir() else [entry] * _is_picture(entry):
            yield entry.name if entry.is_dir() else entry.stem, files
            count += 1
    if not count:
        raise InputError(f"{path}: is a folder without images ({', '.join(SUFFIXES)}); give image files")


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_picture(path)]


def _is_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES and not path.is_dir()


def _decode(content: bytes, name: str) -> np.ndarray:
    """Decode an image to 8-bit RGBA, rotated by its EXIF orientation."""
    start = content[:1024]
    if not start:
        raise InputError(f"{name}: is an empty file; was it copied completely?")
    foreign = next((kind for mark, kind in UNREADABLE.items() if mark in start), "")
    if foreign:
        raise InputError(f"{name}: {foreign} files are not supported; convert it to {READABLE}")
    Image.init()
    try:
        with warnings.catch_warnings():
            # Pillow raises an error only above twice its limit of pixels; below that it warns.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # about metadata, which is not used
            file = Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS if kind in Image.OPEN])
            # An MPO file of a camera holds a photo followed by its preview.
            count = getattr(file, "n_frames", 1)
            if count > 1 and file.format != "MPO":
                raise InputError(
                    f"{name}: holds {count} images (an animation or pages); save the one to use as a file"
                )
            file.draft("RGB", (LONGEST, LONGEST))
            image = _in_8_bits(ImageOps.exif_transpose(file), name).convert("RGBA")
            image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            return np.array(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{name}: has more than {(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels; scale it down"
        ) from error
    except UnidentifiedImageError as error:
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
