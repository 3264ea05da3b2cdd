"""Rows with the same uid but of different mesh files are refused by every command that pairs them."""

from dataclasses import asdict

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.io.meshes.formats.ply.writer import write_comment
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.training import octahedra

SHAPES = 3
RNG = np.random.default_rng(0)
ORIGINS = ["a" * 16, "b" * 16, "c" * 16]
OTHER = [ORIGINS[0], "d" * 16, ORIGINS[2]]
CAMERAS = np.tile(np.eye(4, dtype=np.float32), (SHAPES, 2, 1, 1))
CAMERAS[..., 2, 3] = 3


def write(path, kind, origins, attributes=None, **arrays):
    """Write a store of shapes with these origins."""
    rows = [Row(index, f"chair_{index}", origin=origin) for index, origin in enumerate(origins)]
    with create_store(
        str(path), kind, rows=rows, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        for name, (values, *axes) in arrays.items():
            store.create_array(name, data=values, axes=("shape", *axes))
        for row in rows:
            store.write(row)
    return path


def write_vectors(path, kind, origins):
    array = {"features": "feature", "weights": "weights"}.get(kind, "code")
    axes = ("view", "dim") if kind == "features" else ("dim",)
    numbers = RNG.normal(size=(SHAPES, *[2] * (len(axes) - 1), 8)).astype(np.float32)
    more = {"camera_to_world": (CAMERAS, "view", "to", "from")} if kind == "features" else {}
    return write(path, kind, origins, {"encoder": {"model": "none"}}, **{array: (numbers, *axes)}, **more)


def write_views(path, origins):
    masks = np.zeros((SHAPES, 2, 32, 32), np.uint8)
    masks[:, :, 8:24, 8:24] = 255
    return write(
        path, "views", origins,
        rgb=(np.repeat(masks[..., None], 3, axis=-1), "view", "row", "column", "channel"),
        mask=(masks, "view", "row", "column"),
        camera_to_world=(CAMERAS, "view", "to", "from"),
        yfov=(np.full((SHAPES, 2), 0.9, np.float32), "view"),
    )  # fmt: skip


def write_samples(path, origins):
    return write(
        path, "samples", origins,
        point=(RNG.uniform(-1, 1, (SHAPES, 600, 3)).astype(np.float32), "sample", "xyz"),
        distance=(np.zeros((SHAPES, 600), np.float32), "sample"),
        near=(np.zeros((SHAPES, 600), bool), "sample"),
    )  # fmt: skip


def write_weights(path, origins):
    weights = octahedra.octahedra(np.linspace(0.4, 0.7, SHAPES))
    return write(
        path, "weights", origins, {"network": asdict(octahedra.NETWORK)}, weights=(weights, "parameter")
    )


def is_refused(result, one, other):
    assert result.exit_code == 3, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "from another mesh" in line]
    assert line.startswith(
        f"sdfkit: chair_1: {one} were made from another mesh file than {other} (origin "
    ), line
    assert "make both from the same files" in line


def test_train_dit_refuses_pictures_of_other_meshes_than_the_codes(sdfkit, tmp_path):
    features = write_vectors(tmp_path / "f.zarr", "features", ORIGINS)
    codes = write_vectors(tmp_path / "c.zarr", "codes", OTHER)
    result = sdfkit("train-dit", features, "--codes", codes, "-o", tmp_path / "dit.zarr")
    is_refused(result, f"the features of {features}", f"the codes of {codes}")
    assert not (tmp_path / "dit.zarr").exists()


def test_train_flow_refuses_features_of_other_meshes_than_the_views(sdfkit, tmp_path):
    views = write_views(tmp_path / "v.zarr", ORIGINS)
    features = write_vectors(tmp_path / "f.zarr", "features", OTHER)
    result = sdfkit("train-flow", views, "--features", features, "--steps", 1, "-o", tmp_path / "flow.zarr")
    is_refused(result, f"the views of {views}", f"the features of {features}")


def test_train_ae_refuses_samples_of_other_meshes_than_the_weights(sdfkit, tmp_path):
    weights = write_weights(tmp_path / "w.zarr", ORIGINS)
    samples = write_samples(tmp_path / "s.zarr", OTHER)
    result = sdfkit("train-ae", weights, "--samples", samples, "--epochs", 1, "-o", tmp_path / "ae.zarr")
    is_refused(result, "the weights", f"the samples of {samples}")


@pytest.mark.parametrize("option", ["--known", "--truth"])
def test_rank_refuses_vectors_of_other_meshes_than_the_predictions(sdfkit, tmp_path, option):
    predicted = write_vectors(tmp_path / "p.zarr", "codes", ORIGINS)
    wrong = write_vectors(tmp_path / "k.zarr", "codes", OTHER)
    right = write_vectors(tmp_path / "r.zarr", "codes", [""] * SHAPES)
    known = ("--known", wrong) if option == "--known" else ("--known", right, "--truth", wrong)
    result = sdfkit("rank", predicted, *known)
    is_refused(result, f"the predictions of {predicted}", f"the vectors of {wrong}")


def test_stores_without_the_column_are_paired_as_before(sdfkit, tmp_path):
    predicted = write_vectors(tmp_path / "p.zarr", "codes", ORIGINS)
    known = write_vectors(tmp_path / "k.zarr", "codes", OTHER)
    group = zarr.open_group(known, mode="r+")
    del group["origin"]
    assert sdfkit("rank", predicted, "--known", known).exit_code == 0


def test_compare_drops_a_shape_whose_prediction_is_of_another_mesh(sdfkit, tmp_path):
    (tmp_path / "predicted").mkdir()
    (tmp_path / "truth").mkdir()
    for name in ("ball", "chair_1"):
        path = tmp_path / f"truth/{name}.ply"
        trimesh.creation.icosphere(2).export(path)
        origin = "d" * 16 if name == "chair_1" else ""
        comment = {"uid": name, "origin": origin}
        (tmp_path / f"predicted/{name}.ply").write_bytes(write_comment(path.read_bytes(), comment))
    command = ("compare", tmp_path / "predicted", tmp_path / "truth", "--points", 1000, "--jobs", 1)
    result = sdfkit(*command)
    assert result.exit_code == 4
    assert (
        "sdfkit: chair_1: the prediction was made from another mesh file than the true mesh (origin dddddddd…, "
        in result.stderr
    )
    assert "ball" in result.stdout
    # By order, names and origins do not matter; and a prediction of another program says nothing of its origin.
    assert sdfkit(*command, "--pair", "order").exit_code == 0
    assert sdfkit("compare", tmp_path / "truth", tmp_path / "truth", *command[3:]).exit_code == 0


def test_compare_pairs_by_file_names_where_folders_are_part_of_the_uids(sdfkit, tmp_path):
    for folder in ("ours", "scanned"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name in "ab":
            trimesh.creation.icosphere(1).export(tmp_path / f"data/{folder}/{name}.ply")
    (tmp_path / "data/ours/b.ply").unlink()
    trimesh.creation.box().export(tmp_path / "data/ours/c.ply")
    data = tmp_path / "data"
    result = sdfkit("compare", data / "ours", data / "scanned", "--points", 1000, "--jobs", 1, "--json")
    assert "have no uid in common; they are paired by their file names" in result.stderr
    assert '"not_predicted": 1' in result.stdout
