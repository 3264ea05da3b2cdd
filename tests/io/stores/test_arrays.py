"""Plain arrays: files that lie about their size, hold objects, or are locked or damaged are refused in one line."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest

from sdfkit.errors import InputError
from sdfkit.io.stores.arrays import load_arrays, load_matrix
from sdfkit.io.stores.contents.vectors import open_vectors
from sdfkit.io.stores.layout import SMALL

MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)
HUGE = 2**40


def npy(descr="'<f4'", shape="(3, 4)", body=MATRIX.tobytes(), *, order="False", version=(1, 0)):
    """Return a .npy file with a header written as text."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode("latin-1")
    length = 2 if version == (1, 0) else 4
    header += b" " * (-(len(header) + 9 + length) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(header).to_bytes(length, "little") + header + body


def npz(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def locked():
    """Return a .npz whose member is marked as encrypted."""
    content = bytearray(npz({"a.npy": npy()}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def read(tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with open_vectors(str(path), "codes", manifest=None) as vectors:
        return vectors.vectors[:]


@pytest.mark.parametrize(
    "content",
    [
        npy(),
        npy(version=(2, 0)),
        npy(body=MATRIX.tobytes() + b"more"),
        npy(body=MATRIX.tobytes("F"), order="True"),
        npy("'>f8'", body=MATRIX.astype(">f8").tobytes()),
        npz({"a.npy": npy()}),
        npz({"a.npy": npy()}, zipfile.ZIP_DEFLATED),
        npz({"a.npy": npy(version=(3, 0))}),
    ],
)
def test_every_layout_of_a_matrix_is_read(tmp_path, content):
    assert np.array_equal(read(tmp_path, content), MATRIX)


BAD = {
    "many rows without columns": (npy(shape=f"({HUGE}, 0)", body=b""), "its rows have no columns"),
    "no rows but columns": (npy(shape=f"(0, {HUGE})", body=b""), "has no row that can be used"),
    "more rows than bytes": (npy(shape=f"({HUGE}, 4)"), f"is truncated before the last of its {HUGE} rows"),
    "more columns than bytes": (npy(shape=f"(3, {HUGE})"), "is truncated"),
    "one number is missing": (npy(body=MATRIX.tobytes()[:-4]), "is truncated after 44 of 48 bytes"),
    "large and by columns": (npy(shape=f"({HUGE}, 4)", order="True"), "is stored in column-major order"),
    "a number beyond 64 bits": (npy(shape=f"({10**30}, 1)"), "is truncated"),
    "a negative size": (npy(shape="(-3, -4)"), "holds a float32 array of shape (-3, -4)"),
    "three axes": (npy(shape="(1, 3, 4)"), "holds a float32 array of shape (1, 3, 4)"),
    "objects": (npy("'|O'", body=pickle.dumps(MATRIX)), "pickles are not read"),
    "a structure": (npy("[('a', '<f4')]", "(3,)"), "array of shape (3,)"),
    "a structure in a matrix": (npy("[('a', '<f4')]"), "array of shape (3, 4)"),
    "texts": (npy("'<U2'", "(3, 4)"), "holds a <U2 array of shape (3, 4)"),
    "no bytes in an item": (npy("'|V0'", f"({HUGE}, {HUGE})"), "holds a |V0 array"),
    "complex numbers": (npy("'<c8'"), "holds a complex64 array"),
    "a version of the future": (npy(version=(9, 0)), "is not a NumPy array of numbers"),
    "an unknown type": (npy("'<f3'"), "is not a NumPy array of numbers"),
    "code as a size": (npy(shape="__import__('os')"), "is not a NumPy array of numbers"),
    "a nested size": (npy(shape="(" * 500), "is not a NumPy array of numbers"),
    "many signs": (npy(shape="-" * 9000 + "1"), "is not a NumPy array of numbers"),
    "a long header": (npy(shape="(" + "1, " * 5000 + ")"), "is not a NumPy array of numbers"),
    "a long number": (npy(shape=f"({'1' * 5000}, 1)"), "is not a NumPy array of numbers"),
    "header of Python 2": (npy(shape="(3L, 5L)"), "is truncated after 48 of 60 bytes"),
    "no header": (b"\x93NUMPY\x01\x00", "is not a NumPy array of numbers"),
    "a header longer than the file": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{", "is not a NumPy array of numbers"),
    "npz: two arrays": (npz({"a.npy": npy(), "b.npy": npy()}), "must hold one array, but holds a, b"),
    "npz: no array": (npz({"a.npy": b"text"}), "holds a |S4 array of shape ()"),
    "npz: a lying header": (npz({"a.npy": npy(shape=f"({HUGE}, 4)")}), "is not a NumPy array of numbers"),
    "npz: rows without columns": (npz({"a.npy": npy(shape=f"({HUGE}, 0)", body=b"")}), "its rows have no columns"),
    "npz: objects": (npz({"a.npy": npy("'|O'", body=pickle.dumps(MATRIX))}), "is not a NumPy array of numbers"),
    "npz: locked": (locked(), "is encrypted"),
    "npz: bomb": (
        npz({"a.npy": npy(shape=f"({SMALL}, 1)", body=bytes(4 * SMALL))}, zipfile.ZIP_DEFLATED),
        f"to {4 * SMALL + 128} bytes, as in a zip bomb; save its arrays with numpy.savez",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_other_arrays_are_refused(tmp_path, fault):
    content, message = BAD[fault]
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        read(tmp_path, content)
    text = str(refusal.value)
    assert "\n" not in text and text.startswith(f"{tmp_path}/x.npy: ")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_within_a_compressed_member_is_refused(method):
    content = bytearray(
        npz({"a.npy": npy(shape="(3, 400)", body=np.random.default_rng(0).bytes(4800))}, method)
    )
    for at in range(40, len(content) - 100, 97):
        damaged = content.copy()
        damaged[at : at + 8] = b"\xff" * 8
        with pytest.raises(InputError, match="x: is not a NumPy array of numbers"):
            load_matrix(io.BufferedReader(io.BytesIO(damaged)), "x")


def test_all_arrays_of_a_file_are_listed_even_those_without_numbers():
    content = npz({"a.npy": npy(), "b.npy": npy("'<U2'", "(1,)", b"a\0\0\0b\0\0\0")})
    arrays = load_arrays(io.BufferedReader(io.BytesIO(content)), "x")
    assert {name: array.dtype.name for name, array in arrays.items()} == {"a": "float32", "b": "str64"}
