"""Vectors that `sdfkit rank` refuses in one line."""

import io
import pickle

import numpy as np
import pytest


def save_pickle(path):
    path.write_bytes(pickle.dumps({"code": [1, 2]}))


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


BAD = {
    "nan": (
        lambda path: np.save(path, np.array([[1, 2], [np.nan, 1]])),
        "row_1: the vector holds numbers that are not finite; drop it or make it again",
    ),
    "too large": (
        lambda path: np.save(path, np.array([[1, 2], [1e300, 1]])),
        "row_1: the vector holds numbers that are not finite; drop it or make it again",
    ),
    "zero": (
        lambda path: np.save(path, np.array([[1, 2], [0, 0]])),
        "row_1: the vector is all zeros, so it has no direction",
    ),
    "no rows": (lambda path: np.save(path, np.zeros((0, 4))), "has no row that can be used"),
    "a vector": (
        lambda path: np.save(path, np.zeros(4)),
        "holds a float64 array of shape (4,); a matrix of finite numbers",
    ),
    "text": (
        lambda path: np.save(path, np.array([["a", "b"]])),
        "holds a <U1 array of shape (1, 2); a matrix of finite numbers",
    ),
    "objects": (
        lambda path: np.save(path, np.array([[{}, {}]])),
        "is not a NumPy array of numbers (it holds objects, which need pickle; pickles are not read)",
    ),
    "no numbers": (lambda path: np.save(path, np.zeros((4, 0))), "its rows have no columns"),
    "cut rows": (
        lambda path: path.write_bytes(saved(np.ones((4, 4)))[:-8]),
        "is truncated after 120 of 128 bytes; make it again",
    ),
    "text file": (lambda path: path.write_text("1 2 3\n"), "holds data in an unknown format"),
    "pickle": (save_pickle, "holds data in an unknown format"),
    "mesh": (
        lambda path: path.write_bytes(b"ply\n"),
        "holds meshes, but a store of kind codes or deepsdf or denoiser or weights or autoencoder or flow is needed",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is empty; did the command that wrote it fail?"),
    "cut": (
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"),
        "is not a NumPy array of numbers",
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("side", ["predicted", "known"])
def test_invalid_vectors_are_refused_in_one_line(sdfkit, tmp_path, bad, side):
    make, message = BAD[bad]
    path, plain = tmp_path / "bad.npy", tmp_path / "plain.npy"
    make(path)
    np.save(plain, np.random.default_rng(0).normal(size=(4, 2)))
    words = [path] if side == "predicted" else [plain, "--known", path]
    result = sdfkit("rank", *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    assert result.stderr.startswith(f"sdfkit: {path}: {message}")
