"""Numbers, faces and colours of mesh files, checked while they are read."""

import warnings

import numpy as np
from jaxtyping import Float, Int, Num

from sdfkit.errors import GeometryError, InputError
from sdfkit.geometry.polygons import triangulate_faces
from sdfkit.io.meshes.formats.source import Source
from sdfkit.wording import counted, omitted

SPACE = b" \t\n\v\f\r"


def parse_numbers(text: bytes, name: str) -> Float[np.ndarray, " number"]:
    """Parse the numbers of a text, which are separated by white space. NaN and infinite numbers are allowed.

    Args:
        text: The numbers.
        name: Name of the file in messages.

    Raises:
        InputError: A word is not a number.
    """
    text = text.strip(SPACE)
    if not text:  # NumPy reads one number from white space.
        return np.zeros(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy before 2.4 only warns.
            return np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        word = next((word for word in text.split() if not _is_number(word)), b"")
        raise InputError(
            f"{name}: has {word[:40].decode(errors='replace')!r} in place of a number; is it damaged, or are its "
            "decimals written with commas?"
        ) from error


def find_line_ends(text: bytes) -> Int[np.ndarray, " line"]:
    """Return how many words stand before the end of each line of a text. Lines without words are left out."""
    letters = np.frombuffer(b" " + text, np.uint8)
    is_space = letters <= ord(" ")
    words = np.flatnonzero(is_space[:-1] & ~is_space[1:])
    counts = np.append(np.searchsorted(words, np.flatnonzero(letters == ord("\n")) - 1), len(words))
    return counts[np.diff(counts, prepend=0) > 0]


def may_be_lines(rows: Int[np.ndarray, " row"], lines: Int[np.ndarray, " line"]) -> bool:
    """Return whether rows of numbers may have been written in lines like these.

    If a number is missing, the rows after it end within lines, while there are still nearly as many lines as rows.

    Args:
        rows: How many numbers stand before the end of each row.
        lines: How many numbers stand before the end of each line.
    """
    are_aligned = np.isin(rows, lines).all() or np.isin(lines, rows).all()
    return bool(are_aligned or abs(len(lines) - len(rows)) > 1)


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def check_corners(corners: Num[np.ndarray, "..."], count: int, name: str) -> Int[np.ndarray, "..."]:
    """Convert indices of vertices, numbers of any type, to int64.

    Args:
        corners: The indices.
        count: Number of vertices.
        name: Name of the file in messages.

    Raises:
        InputError: An index is negative, too large or not an integer.
    """
    with np.errstate(invalid="ignore"):
        index = corners.astype(np.int64)
    if index.size and (index.min() < 0 or index.max() >= count or not np.array_equal(index, corners)):
        wrong = corners[(index < 0) | (index >= count) | (index != corners)].flat[0]
        raise InputError(
            f"{name}: a face refers to a vertex that does not exist (vertex {float(wrong):.15g} of {count}, counted "
            "from 0); is the file damaged?"
        )
    return index


def cut_faces(
    vertices: Float[np.ndarray, "vertex 3"],
    sizes: Int[np.ndarray, " face"],
    corners: Num[np.ndarray, " corner"],
    source: Source,
) -> tuple[Int[np.ndarray, " corner"], Int[np.ndarray, "triangle 3"], Int[np.ndarray, " triangle"]]:
    """Check the faces of a mesh, and cut them into triangles.

    Args:
        vertices: Positions.
        sizes: Number of corners of each face. Faces with fewer than 3 corners are left out, which `source` notes.
        corners: The vertices of all faces, one face after another, as numbers of any type.
        source: The file.

    Returns:
        corners: The vertices of all faces, as integers.
        triangles: For each triangle, three indices into `corners`.
        faces: The face of each triangle.

    Raises:
        InputError: A face refers to a vertex that does not exist.
    """
    index = check_corners(corners, len(vertices), source.name)
    if (sizes == 3).all():  # as most meshes are
        return index, np.arange(len(index)).reshape(-1, 3), np.arange(len(sizes))
    small = int((sizes < 3).sum())
    if small:
        source.left_out.append(omitted(small, "face", "with fewer than 3 corners"))
    return index, *triangulate_faces(vertices, sizes, index)


def no_faces(source: Source, points: int, others: str = "") -> GeometryError:
    """Return the error for a file without faces.

    Args:
        source: The file.
        points: Number of vertices in the file.
        others: What else it holds, for the message: ", 3 lines".
    """
    held = f"a point cloud of {counted(points, 'point')}" if points else "no vertices"
    return GeometryError(f"{source.name}: holds {held}{others} and no faces; sdfkit needs a surface")


def decode_colours(
    colours: Num[np.ndarray, "row channel"], largest: float
) -> Float[np.ndarray, "row channel"]:
    """Convert sRGB colours to linear light from 0 to 1.

    Args:
        colours: The colours. NaN and infinite values become black.
        largest: The value that stands for white.
    """
    from sdfkit.images.rendering.paint import decode_srgb

    share = np.clip(np.nan_to_num(colours / largest, posinf=0, neginf=0), 0, 1)
    return decode_srgb(np.rint(255 * share).astype(np.uint8))
