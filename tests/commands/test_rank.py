"""`sdfkit rank`: text and JSON reports, the output store, and errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import zarr
from PIL import Image

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

RNG = np.random.default_rng(0)
KNOWN = RNG.normal(size=(12, 16)).astype(np.float32)


def write(path, kind, array, vectors, uids, errors=()):
    rows = [Row(i, uid, error="no surface" if uid in errors else "") for i, uid in enumerate(uids)]
    history = [{"version": "0", "command": f"sdfkit made {path.name}"}]
    with create_store(str(path), kind, rows=rows, history=history, settings={}, overwrite=False) as store:
        store.create_array(array, shape=vectors.shape, dtype="f4", axes=("shape", "dim"))
        for row, vector in zip(rows, vectors, strict=True):
            store.write(row, **({} if row.error else {array: vector}))
    return path


@pytest.fixture
def known(tmp_path):
    return write(tmp_path / "known.zarr", "deepsdf", "code", KNOWN, [f"obj_{i:04d}" for i in range(12)])


@pytest.fixture
def predicted(tmp_path):
    """Predictions of three training shapes, the second of which is wrong, and of one unknown shape."""
    vectors = np.stack([KNOWN[3], KNOWN[8] + 0.1 * KNOWN[1], KNOWN[11], -KNOWN[0]])
    return write(
        tmp_path / "predicted.zarr", "codes", "code", vectors, ["obj_0003", "obj_0005", "obj_0011", "new"]
    )


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "predicted.npy"
    np.save(path, KNOWN[:4])
    return path


def fails(result, status, message):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"sdfkit: {message}\n"


def test_without_training_vectors_predictions_are_compared_with_each_other(sdfkit, plain):
    result = sdfkit("rank", plain)
    assert result.exit_code == 0
    title, _, verdict, _, header, cosine, *_ = result.stdout.splitlines()
    assert verdict.startswith("verdict: ")
    assert title == f"{plain}: 4 predictions of 16 numbers"
    assert header.split() == ["mean", "min", "max"]
    unit = KNOWN[:4] / np.linalg.norm(KNOWN[:4], axis=1, keepdims=True)
    pairs = (unit @ unit.T)[np.triu_indices(4, 1)]
    assert cosine.split() == [
        "pairwise",
        "cosine",
        *(f"{x:.4f}" for x in (pairs.mean(), pairs.min(), pairs.max())),
    ]


def test_of_many_predictions_ten_are_listed(sdfkit, tmp_path, known):
    vectors = np.concatenate([KNOWN, RNG.normal(size=(3, 16))]).astype(np.float32)
    uids = [f"obj_{i:04d}" for i in range(15)]
    predicted = write(tmp_path / "many.zarr", "codes", "code", vectors, uids)

    def listed(*options):
        """The first words of the lines of each table, by the first word of its header."""
        parts = sdfkit("rank", predicted, "--known", known, *options).stdout.split("\n\n")
        return {
            header: [line.split()[0] for line in part.splitlines() if line.startswith("obj_")]
            for part in parts
            for header in ["prediction  rank", "prediction  nearest", "truth of"]
            if any(line.startswith(header) for line in part.splitlines())
        }

    short, full = listed(), listed("--all")
    assert list(short.values()) == [uids[:10]] * 3
    assert list(full.values()) == [[uid for uid in uids for _ in range(5)], uids, uids[:12]]
    facts = json.loads(sdfkit("rank", predicted, "--known", known, "--json").stdout)
    assert [len(row["neighbours"]) for row in facts["predictions"]] == [5] * 15


def test_the_report_names_a_collapse(sdfkit, tmp_path):
    np.save(tmp_path / "same.npy", np.tile(KNOWN[0], (5, 1)))
    facts = json.loads(sdfkit("rank", tmp_path / "same.npy", "--json").stdout)
    assert facts["likeness"]["cosine"]["min"] == pytest.approx(1)
    assert facts["likeness"]["variance_share"] == pytest.approx(0, abs=1e-9)


def test_predictions_are_ranked_and_matched_to_truths_by_uid(sdfkit, predicted, known):
    facts = json.loads(sdfkit("rank", predicted, "--known", known, "--json").stdout)
    rows = {row["uid"]: row for row in facts["predictions"]}
    assert [row["neighbours"][0]["uid"] for row in facts["predictions"]][:3] == [
        "obj_0003",
        "obj_0008",
        "obj_0011",
    ]
    assert all(len(row["neighbours"]) == 5 for row in facts["predictions"])
    assert rows["new"]["truth"] is None
    assert (rows["obj_0003"]["truth"]["rank"], rows["obj_0003"]["truth"]["cosine"]) == (1, 1)
    assert rows["obj_0005"]["truth"]["rank"] > 1
    assert rows["obj_0005"]["truth"]["margin"] < 0
    mean = KNOWN.mean(axis=0)
    baseline = mean @ KNOWN[3] / np.linalg.norm(mean) / np.linalg.norm(KNOWN[3])
    assert rows["obj_0003"]["truth"]["mean_cosine"] == pytest.approx(baseline, abs=1e-6)


def test_the_table_contains_neighbours_truths_and_the_baseline(sdfkit, predicted, known):
    lines = sdfkit("rank", predicted, "--known", known, "--top", 2).stdout.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("prediction ")))
    header = "prediction rank neighbour category cosine centred margin to mean"
    assert lines[start].split() == header.split()
    assert [line.split()[:3] for line in lines[start + 1 : start + 3]] == [
        ["obj_0003", "1", "obj_0003"],
        ["obj_0003", "2", lines[start + 2].split()[2]],
    ]
    truths = lines.index(next(line for line in lines if line.startswith("truth of")))
    assert "mean's cosine" in lines[truths]
    assert lines[truths + 1].split()[:3] == ["obj_0003", "1", "1.0000"]
    first = (
        "the true vector ranks first for 2 of 3 predictions; 2 predictions are more similar to the true vector than "
        "the training mean is"
    )
    assert first in lines
    assert lines[2].startswith(
        "verdict: unclear: of the 3 predictions, 2 are recalled and 1 is copied from the training set. "
    )


def test_row_numbers_of_plain_arrays_are_not_used_as_uids(sdfkit, plain):
    facts = json.loads(sdfkit("rank", plain, "--known", plain, "--json").stdout)
    assert [row["truth"] for row in facts["predictions"]] == [None] * 4


def test_one_prediction_can_be_ranked_but_not_compared(sdfkit, tmp_path, known):
    np.save(tmp_path / "one.npy", KNOWN[:1])
    facts = json.loads(sdfkit("rank", tmp_path / "one.npy", "--known", known, "--json").stdout)
    assert (facts["likeness"], facts["spread"]) == (None, None)
    assert facts["predictions"][0]["neighbours"][0]["uid"] == "obj_0000"
    assert sdfkit("rank", tmp_path / "one.npy", "--known", known).stdout.startswith(
        f"{tmp_path / 'one.npy'}: 1 prediction of 16 numbers\n"
    )
    fails(
        sdfkit("rank", tmp_path / "one.npy"),
        3,
        f"{tmp_path / 'one.npy'}: has one row and nothing to compare it with; add --known STORE",
    )


def test_the_ranking_is_plotted(sdfkit, predicted, known, tmp_path):
    picture = tmp_path / "ranks.png"
    assert sdfkit("rank", predicted, "--known", known, "-o", picture).exit_code == 0
    with Image.open(picture) as drawn:
        assert drawn.width == 2400
    refused = sdfkit("rank", predicted, "--known", known, "--top", 2, "-o", tmp_path / "no" / "x.png")
    assert refused.exit_code == 3 and refused.stdout == ""


def test_failed_shapes_are_left_out_and_order_refers_to_rows_of_the_store(sdfkit, tmp_path, predicted):
    known = write(
        tmp_path / "some.zarr", "weights", "weights", KNOWN, [f"obj_{i:04d}" for i in range(12)], {"obj_0000"}
    )
    output = tmp_path / "ranks.zarr"
    result = sdfkit("rank", predicted, "--known", known, "--top", 3, "-o", output)
    assert result.exit_code == 0
    ranks = zarr.open_group(output, mode="r")
    assert dict(ranks.attrs)["kind"] == "ranks"
    assert dict(ranks.attrs)["complete"] is True
    commands = [step["command"] for step in dict(ranks.attrs)["history"]]
    assert [text for text in commands if "made" in text] == [
        "sdfkit made predicted.zarr",
        "sdfkit made some.zarr",
    ]
    assert ranks["uid"][:].tolist() == ["obj_0003", "obj_0005", "obj_0011", "new"]
    assert ranks["valid"][:].all()
    for name in ("order", "cosine", "centred_cosine", "uid_of_neighbour"):
        assert ranks[name].shape == (4, 3)
        assert ranks[name].metadata.dimension_names == ("prediction", "neighbour")
    assert ranks["order"][:3, 0].tolist() == [3, 8, 11]
    assert ranks["uid_of_neighbour"][:3, 0].tolist() == ["obj_0003", "obj_0008", "obj_0011"]
    assert ranks["cosine"][0, 0] == 1
    assert 0 not in ranks["order"][:]


def test_the_number_of_neighbours_is_limited_to_the_number_of_shapes(sdfkit, predicted, known):
    facts = json.loads(sdfkit("rank", predicted, "--known", known, "--top", 99, "--json").stdout)
    assert all(len(row["neighbours"]) == 12 for row in facts["predictions"])


def test_existing_output_is_not_overwritten(sdfkit, predicted, known, tmp_path):
    output = tmp_path / "ranks.zarr"
    for _ in range(2):  # the same command again
        assert sdfkit("rank", predicted, "--known", known, "-o", output).exit_code == 0
    fails(
        sdfkit("rank", predicted, "--known", known, "--top", 2, "-o", output),
        3,
        f"{output}: exists; choose another name or add --overwrite (it was made in another way: top: 5 then, 2 now)",
    )
    assert sdfkit("rank", predicted, "--known", known, "--top", 2, "-o", output, "--overwrite").exit_code == 0


def test_a_store_with_non_finite_values_is_refused(sdfkit, tmp_path):
    vectors = KNOWN.copy()
    vectors[4, 2] = np.nan
    path = write(tmp_path / "known.zarr", "codes", "code", vectors, [f"obj_{i}" for i in range(12)])
    message = f"{path}: obj_4: the vector holds numbers that are not finite; drop it or make it again"
    fails(sdfkit("rank", path), 3, message)


def test_a_store_of_another_kind_is_refused(sdfkit, tmp_path):
    path = write(tmp_path / "features.zarr", "features", "feature", KNOWN, [f"obj_{i}" for i in range(12)])
    fails(
        sdfkit("rank", path),
        3,
        f"{path}: holds features, but a store of kind codes or deepsdf or denoiser or weights or autoencoder or flow "
        "is needed",
    )


def test_vectors_of_another_length_are_refused(sdfkit, plain, tmp_path):
    np.save(tmp_path / "short.npy", KNOWN[:, :9])
    message = (
        f"{plain}: each vector has 16 numbers, but those of {tmp_path / 'short.npy'} have 9; "
        "give vectors of the same kind"
    )
    fails(sdfkit("rank", plain, "--known", tmp_path / "short.npy"), 3, message)


def test_one_known_shape_is_refused(sdfkit, plain, tmp_path):
    np.save(tmp_path / "one.npy", KNOWN[:1])
    message = (
        f"{tmp_path / 'one.npy'}: holds one vector, but a ranking needs two or more; "
        "give the vectors of all training shapes"
    )
    fails(sdfkit("rank", plain, "--known", tmp_path / "one.npy"), 3, message)


def test_incompatible_options_are_usage_errors(sdfkit, plain, tmp_path):
    fails(
        sdfkit("rank", plain, "-o", tmp_path / "x.zarr"),
        2,
        "-o and --truth need training vectors; add --known STORE",
    )
    fails(
        sdfkit("rank", plain, "--truth", plain),
        2,
        "-o and --truth need training vectors; add --known STORE",
    )
    message = "standard input can be read only once; give files for --known and --truth"
    fails(sdfkit("rank", "--known", "-"), 2, message)
    fails(sdfkit("rank", plain, "--known", "-", "--truth", "-"), 2, message)


def test_a_plain_folder_and_equal_training_vectors_are_refused(sdfkit, plain, tmp_path):
    result = sdfkit("rank", plain, "--known", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert result.stderr.startswith(f"sdfkit: {tmp_path}: is not a Zarr store")
    np.save(tmp_path / "same.npy", np.tile(KNOWN[0], (5, 1)))
    message = f"{tmp_path / 'same.npy'}: all training vectors are equal; give the vectors of different shapes"
    fails(sdfkit("rank", plain, "--known", tmp_path / "same.npy"), 3, message)


def test_truths_outside_the_training_set_are_matched_by_uid_or_row(sdfkit, known, tmp_path):
    rng = np.random.default_rng(1)
    unseen = rng.normal(size=(8, 16)).astype(np.float32)
    guesses = (0.8 * unseen + 0.2 * rng.normal(size=(8, 16))).astype(np.float32)
    uids = [f"new_{i}" for i in range(8)]
    truth = write(tmp_path / "truth.zarr", "codes", "code", unseen[::-1], uids[::-1])
    predicted = write(tmp_path / "guesses.zarr", "codes", "code", guesses, uids)
    np.save(tmp_path / "truth.npy", unseen)
    np.save(tmp_path / "guesses.npy", guesses)
    facts = [
        json.loads(sdfkit("rank", p, "--known", known, "--truth", t, "--json").stdout)
        for p, t in ((predicted, truth), (tmp_path / "guesses.npy", tmp_path / "truth.npy"))
    ]
    assert [fact["verdict"]["name"] for fact in facts] == ["generalisation", "generalisation"]
    assert facts[0]["verdict"] == facts[1]["verdict"]
    error = np.square(guesses - unseen).sum() / np.square(unseen - KNOWN.mean(axis=0)).sum()
    assert facts[0]["verdict"]["fvu"] == pytest.approx(error, rel=1e-5)
    distance = np.linalg.norm(guesses[0] - KNOWN, axis=1)
    assert facts[0]["predictions"][0]["nearest"]["distance"] == pytest.approx(distance.min(), rel=1e-5)
    assert facts[0]["predictions"][0]["nearest"]["uid"] == f"obj_{distance.argmin():04d}"
    alone = json.loads(sdfkit("rank", predicted, "--known", known, "--json").stdout)["verdict"]
    assert (alone["name"], alone["fvu"]) == ("unclear", None)
    assert "give --truth to compare them with the true vectors" in alone["evidence"]


def test_truths_that_match_nothing_are_refused(sdfkit, predicted, known, plain, tmp_path):
    np.save(tmp_path / "three.npy", KNOWN[:3])
    message = (
        f"{tmp_path / 'three.npy'}: holds 3 true vectors for 4 predictions, and there are no uids to match them by; "
        "give one true vector for each prediction"
    )
    fails(sdfkit("rank", plain, "--known", known, "--truth", tmp_path / "three.npy"), 3, message)
    other = write(tmp_path / "other.zarr", "codes", "code", KNOWN[:1], ["else"])
    message = (
        f"{other}: has no uid in common with {predicted} (the first uids are else and obj_0003); "
        "use the same uids in both"
    )
    fails(sdfkit("rank", predicted, "--known", known, "--truth", other), 3, message)


def test_samples_are_matched_to_the_shape_in_their_name(sdfkit, known, tmp_path):
    path = tmp_path / "samples.zarr"
    rows = [Row(i, f"draw {i}", sample_of=f"obj_{i // 3:04d}") for i in range(12)]
    with create_store(str(path), "codes", count=12, history=[], settings={}, overwrite=False) as store:
        store.create_array("code", shape=(12, 16), dtype="f4", axes=("shape", "dim"))
        store.create_array("sample_of", shape=(12,), dtype=np.dtypes.StringDType(), axes=("shape",))
        for row in rows:
            store.write(row, code=KNOWN[row.index // 3])
    facts = json.loads(sdfkit("rank", path, "--known", known, "--json").stdout)
    assert [row["truth"]["rank"] for row in facts["predictions"]] == [1] * 12
    assert [row["class"] for row in facts["predictions"]] == ["recalled"] * 12
    assert (facts["verdict"]["name"], facts["verdict"]["shapes"]) == ("recall", 4)
    assert facts["verdict"]["within"] == pytest.approx(0, abs=1e-9)


def test_codes_that_were_fitted_to_samples_are_ranked(sdfkit, known, tmp_path):
    """The setting `samples` of fit-code is the digest of a store, and that of predict a number."""
    path, settings = tmp_path / "fitted.zarr", {"samples": "sha256:0123456789abcdef"}
    rows = [Row(i, f"obj_{i:04d}") for i in range(4)]
    with create_store(str(path), "codes", count=4, history=[], settings=settings, overwrite=False) as store:
        store.create_array("code", shape=(4, 16), dtype="f4", axes=("shape", "dim"))
        for row in rows:
            store.write(row, code=KNOWN[row.index])
    facts = json.loads(sdfkit("rank", path, "--known", known, "--json").stdout)
    assert [row["truth"]["rank"] for row in facts["predictions"]] == [1] * 4


def test_a_missing_file_is_reported(sdfkit, tmp_path):
    fails(sdfkit("rank", tmp_path / "none.npy"), 3, f"{tmp_path / 'none.npy'}: No such file or directory")


def run(*words, stdin, env=None):
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "from sdfkit.cli import main; main()",
        *map(str, words),
    ]
    return subprocess.run(
        command, stdin=stdin, capture_output=True, env={**os.environ, **(env or {})}, check=False
    )


def test_a_plain_array_on_standard_input_needs_neither_torch_nor_zarr(plain):
    with plain.open("rb") as stdin:
        result = run("rank", stdin=stdin)
    assert result.returncode == 0
    assert result.stdout.startswith(b"standard input: 4 predictions of 16 numbers\n")
    imported = {line.split("|")[-1].strip().split(".")[0] for line in result.stderr.decode().splitlines()}
    assert "numpy" in imported
    assert not imported & {"torch", "zarr", "scipy", "trimesh", "numba"}


def test_the_report_goes_to_standard_error_if_the_ranking_is_piped(plain, tmp_path):
    with plain.open("rb") as stdin:
        result = run("rank", "--known", plain, "-o", "-", stdin=stdin, env={"PYTHONUNBUFFERED": ""})
    assert result.returncode == 0
    assert b"standard input: 4 predictions of 16 numbers\n" in result.stderr
    (tmp_path / "ranks.zarr.zip").write_bytes(result.stdout)
    ranks = zarr.open_group(zarr.storage.ZipStore(tmp_path / "ranks.zarr.zip"), mode="r")
    assert ranks["order"][:, 0].tolist() == [0, 1, 2, 3]


def test_a_manifest_labels_the_neighbours(sdfkit, tmp_path, predicted, known):
    label = {"obj_idx": 3, "path": "x.glb", "category": "chair", "licence": "", "source": "", "sha256": ""}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"format": 1, "shapes": [{"uid": "obj_0003", **label}]}))
    facts = json.loads(sdfkit("rank", predicted, "--known", known, "--manifest", manifest, "--json").stdout)
    near = {n["uid"]: n["category"] for row in facts["predictions"] for n in row["neighbours"]}
    assert near["obj_0003"] == "chair"
    assert {category for uid, category in near.items() if uid != "obj_0003"} == {""}
