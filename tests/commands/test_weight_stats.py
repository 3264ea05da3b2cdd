"""`sdfkit weight-stats`: text and JSON reports, the output store, plots, and errors."""

import json
import pickle

import numpy as np
import pytest
import zarr

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

NETWORK = {"kind": "relu-pe", "bands": 1, "hidden": 4, "layers": 1, "frequency": 1.0}
DIM = 9 * 4 + 4 + 4 + 1


def draw(seed, count=20, dim=DIM, centre=3.0):
    return np.random.default_rng(seed).normal(centre, 1, (count, dim)).astype(np.float32)


def write(path, vectors, network=None, kind="weights", array="weights"):
    rows = [Row(i, f"obj_{i:04d}") for i in range(len(vectors))]
    attributes = {"network": network} if network else {}
    with create_store(
        str(path), kind, rows=rows, history=[{"version": "0", "command": "sdfkit fit-mlp"}], settings={},
        attributes=attributes, overwrite=False,
    ) as store:  # fmt: skip
        store.create_array(array, shape=vectors.shape, dtype="f4", axes=("shape", "dim"))
        for row, vector in zip(rows, vectors, strict=True):
            store.write(row, **{array: vector})
    return path


def fails(result, status, message):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"sdfkit: {message}\n"


def test_statistics_agree_with_a_direct_computation(sdfkit, tmp_path):
    vectors = draw(0)
    path = write(tmp_path / "weights.zarr", vectors, NETWORK)
    facts = json.loads(sdfkit("weight-stats", path, "--json").stdout)
    exact = vectors.astype(np.float64)
    mean = exact.mean(axis=0)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(20, 1)]
    to_mean = unit @ mean / np.linalg.norm(mean)
    assert (facts["rows"], facts["dim"], facts["floored"]) == (20, DIM, 0)
    assert facts["norm"]["mean"] == pytest.approx(np.linalg.norm(exact, axis=1).mean())
    assert facts["cosine"]["mean"] == pytest.approx(cosines.mean())
    assert facts["cosine"]["min"] == pytest.approx(cosines.min())
    assert (sum(facts["cosine"]["counts"]), facts["cosine"]["rows_paired"]) == (190, 20)
    assert facts["to_mean"]["most"][0]["uid"] == f"obj_{to_mean.argmax():04d}"
    assert facts["to_mean"]["least"][0]["uid"] == f"obj_{to_mean.argmin():04d}"
    assert facts["std"]["measured"] == pytest.approx(exact.var(axis=0).mean() ** 0.5)
    variance = np.square(np.linalg.svd(exact - mean, compute_uv=False))
    assert facts["variance_in_components"]["10"] == pytest.approx(variance[:10].sum() / variance.sum())
    assert facts["effective_rank"] == pytest.approx(variance.sum() ** 2 / np.square(variance).sum())
    assert [part["dims"] for part in facts["parts"]] == [36, 4, 4, 1]
    assert sum(part["variance_share"] for part in facts["parts"]) == pytest.approx(1)
    assert facts["meaning"].startswith("Thin shell: 9")


@pytest.mark.slow
def test_two_sets_are_reported_side_by_side(sdfkit, tmp_path):
    anchored = write(tmp_path / "anchored.zarr", draw(0, centre=9), NETWORK)
    np.save(tmp_path / "independent.npy", draw(1, centre=0))
    picture = tmp_path / "geometry.png"
    result = sdfkit("weight-stats", anchored, "--compare", tmp_path / "independent.npy", "-o", picture)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [str(anchored), str(tmp_path / "independent.npy")]
    assert any(line.startswith("std per dimension, implied ") for line in lines)
    assert f"{anchored}: Thin shell: 99% of the squared length is common to all vectors" in result.stdout
    assert f"{tmp_path / 'independent.npy'}: Centred on the origin:" in result.stdout
    assert "layer 2 bias" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    facts = json.loads(
        sdfkit("weight-stats", anchored, "--compare", tmp_path / "independent.npy", "--json").stdout
    )
    assert facts["shared"] > 0.95 > 0.2 > facts["compared"]["shared"]


def test_statistics_are_written_to_a_store(sdfkit, tmp_path):
    vectors = draw(2)
    path = write(tmp_path / "codes.zarr", vectors, kind="codes", array="code")
    assert sdfkit("weight-stats", path, "-o", tmp_path / "stats.zarr").exit_code == 0
    assert sdfkit("weight-stats", path, "-o", tmp_path / "stats.npz").exit_code == 0
    with np.load(tmp_path / "stats.npz", allow_pickle=False) as arrays:
        assert np.allclose(arrays["norm"], np.linalg.norm(vectors, axis=1), rtol=1e-6)
    kept = zarr.open_group(tmp_path / "stats.zarr", mode="r")
    assert (kept.attrs["kind"], kept.attrs["complete"]) == ("stats", True)
    assert kept["uid"][:].tolist() == [f"obj_{i:04d}" for i in range(20)]
    assert kept["valid"][:].all()
    assert np.allclose(kept["norm"][:], np.linalg.norm(vectors, axis=1), rtol=1e-6)
    assert np.allclose(kept["mean"][:], vectors.mean(axis=0), rtol=1e-5)
    assert np.allclose(kept["std"][:], vectors.std(axis=0), rtol=1e-5)
    assert kept["component_variance"][:].sum() == pytest.approx(vectors.var(axis=0).sum(), rel=1e-5)
    assert kept["cosine_count"][:].sum() == 190
    assert len(kept["cosine_edge"][:]) == len(kept["cosine_count"][:]) + 1
    fails(
        sdfkit("weight-stats", path, "--bins", 7, "-o", tmp_path / "stats.zarr"),
        3,
        f"{tmp_path / 'stats.zarr'}: exists; choose another name or add --overwrite (it was made in another way: "
        "bins: 50 then, 7 now)",
    )


def test_the_report_states_if_pairs_were_sampled(sdfkit, tmp_path, monkeypatch):
    monkeypatch.setattr("sdfkit.analysis.vectors.PAIRED_ROWS", 7)
    np.save(tmp_path / "x.npy", draw(3))
    text = sdfkit("weight-stats", tmp_path / "x.npy").stdout
    assert "the range of pairwise cosines was measured on 7 evenly spaced rows" in text


BAD = {
    "nan": (
        lambda path: np.save(path, np.array([[1, 2], [np.nan, 1]])),
        "row_1: the vector holds numbers that are not finite",
    ),
    "zero": (
        lambda path: np.save(path, np.array([[1, 2], [0, 0]])),
        "row_1: the vector is all zeros, so it has no direction",
    ),
    "one row": (
        lambda path: np.save(path, np.ones((1, 4))),
        "has one vector, but statistics need two or more; give a set of vectors",
    ),
    "no rows": (lambda path: np.save(path, np.zeros((0, 4))), "has no row that can be used"),
    "no numbers": (lambda path: np.save(path, np.zeros((4, 0))), "its rows have no columns"),
    "a vector": (lambda path: np.save(path, np.zeros(4)), "holds a float64 array of shape (4,)"),
    "objects": (
        lambda path: np.save(path, np.array([[{}, {}]])),
        "is not a NumPy array of numbers (it holds objects",
    ),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1])), "holds data in an unknown format"),
    "text": (lambda path: path.write_text("1 2 3\n"), "holds data in an unknown format"),
    "empty": (lambda path: path.write_bytes(b""), "is empty; did the command that wrote it fail?"),
    "folder": (lambda path: path.mkdir(), "is not a Zarr store"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("side", ["first", "compared"])
def test_invalid_vectors_are_refused_in_one_line(sdfkit, tmp_path, bad, side):
    make, message = BAD[bad]
    path = tmp_path / "bad.npy"
    make(path)
    np.save(tmp_path / "good.npy", draw(4, dim=2))
    words = [path] if side == "first" else [tmp_path / "good.npy", "--compare", path]
    result = sdfkit("weight-stats", *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    assert result.stderr.startswith(f"sdfkit: {path}: {message}")


def test_incomparable_sets_are_refused(sdfkit, tmp_path):
    path = write(tmp_path / "a.zarr", draw(0), NETWORK)
    siren = {**NETWORK, "kind": "siren"}
    other = write(tmp_path / "b.zarr", draw(1), siren)
    fails(
        sdfkit("weight-stats", path, "--compare", other),
        3,
        f"{other}: has weights of another architecture than {path} ({siren}, {NETWORK}); "
        "compare weights of one architecture",
    )
    short = write(tmp_path / "c.zarr", draw(1, dim=9))
    fails(
        sdfkit("weight-stats", path, "--compare", short),
        3,
        f"{short}: its vectors have 9 numbers, but those of {path} have {DIM}; compare weights of one architecture, "
        "or codes of one length",
    )
    wrong = write(tmp_path / "d.zarr", draw(1, dim=9), NETWORK)
    fails(
        sdfkit("weight-stats", wrong),
        3,
        f"{wrong}: its vectors have 9 numbers, but its network has {DIM}; make the store again",
    )


def test_incompatible_options_are_usage_errors(sdfkit, tmp_path):
    np.save(tmp_path / "x.npy", draw(4))
    fails(
        sdfkit(
            "weight-stats", tmp_path / "x.npy", "--compare", tmp_path / "x.npy", "-o", tmp_path / "s.zarr"
        ),
        2,
        "an output store holds the statistics of one set only; leave out --compare, or plot both sets as .png",
    )
    fails(
        sdfkit("weight-stats", "--compare", "-"),
        2,
        "standard input can be read only once; give a file for --compare",
    )
    fails(
        sdfkit("weight-stats", tmp_path / "x.npy", "-o", tmp_path / "x.jpg"),
        2,
        f"{tmp_path / 'x.jpg'}: plots are written as PNG; choose a name that ends in .png",
    )
