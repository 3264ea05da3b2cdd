"""Codes of shapes that the decoder was not trained on, with a decoder after a few training steps."""

import hashlib

import numpy as np
import pytest
import trimesh
import zarr


@pytest.fixture
def trained(sdfkit, tmp_path):
    """A store with samples of three boxes, and a decoder after two training steps."""
    for index, extents in enumerate(([1, 1, 1], [1, 2, 1], [1, 1, 3])):
        (tmp_path / "closed").mkdir(exist_ok=True)
        trimesh.creation.box(extents).export(tmp_path / f"closed/box_{index}.ply")
    options = ("--points", 2000, "--surface-points", 0, "--jobs", 1)
    made = sdfkit("sample-sdf", tmp_path / "closed", *options, "-o", tmp_path / "samples.zarr")
    assert made.exit_code == 0, made.stderr
    options = ("--steps", 2, "--device", "cpu", "--precision", "fp32")
    made = sdfkit("train-deepsdf", tmp_path / "samples.zarr", *options, "-o", tmp_path / "deepsdf.zarr")
    assert made.exit_code == 0, made.stderr
    return tmp_path


def fit(sdfkit, folder, *options):
    samples, decoder = folder / "samples.zarr", folder / "deepsdf.zarr"
    return sdfkit("fit-code", samples, "--decoder", decoder, "--steps", 3, "--device", "cpu", *options)


def test_each_shape_gets_a_code_and_its_error(sdfkit, trained):
    done = fit(sdfkit, trained, "-o", trained / "codes.zarr")
    assert done.exit_code == 0, done.stderr
    assert "SDF L1 clamped at 0.1: mean" in done.stderr and "wrote codes of 3 shapes" in done.stderr
    codes = zarr.open_group(trained / "codes.zarr", mode="r")
    assert codes.attrs["kind"] == "codes" and codes["code"].shape == (3, 64)
    assert (codes["sdf_l1"][:] > 0).all() and (codes["sdf_l1"][:] < 0.1).all()
    assert codes["uid"][:].tolist() == ["box_0", "box_1", "box_2"]
    assert len(codes.attrs["history"]) == 2


def test_codes_store_the_digest_of_their_decoder(sdfkit, trained):
    assert fit(sdfkit, trained, "-o", trained / "codes.zarr").exit_code == 0
    decoder = zarr.open_group(trained / "deepsdf.zarr", mode="r")
    arrays = sorted(decoder["decoder"].arrays())
    content = b"".join(name.encode() + array[:].tobytes() for name, array in arrays)
    digest = hashlib.sha256(content).hexdigest()
    assert decoder.attrs["decoder_sha256"] == digest
    assert zarr.open_group(trained / "codes.zarr", mode="r").attrs["decoder_sha256"] == digest
    options = ("--steps", 2, "--seed", 1, "--device", "cpu")
    sdfkit("train-deepsdf", trained / "samples.zarr", *options, "-o", trained / "other.zarr")
    assert zarr.open_group(trained / "other.zarr", mode="r").attrs["decoder_sha256"] != digest


def test_fitting_fewer_or_half_of_the_samples_changes_the_code(sdfkit, trained):
    found = []
    for name, options in (("all", ()), ("few", ("--points", 50)), ("half", ("--half-space", "-z"))):
        assert fit(sdfkit, trained, *options, "-o", trained / f"{name}.zarr").exit_code == 0
        found.append(zarr.open_group(trained / f"{name}.zarr", mode="r")["code"][:])
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[0], found[2])


def test_a_shape_without_samples_is_marked_as_failed_and_others_are_fitted(sdfkit, trained):
    store = zarr.open_group(trained / "samples.zarr")
    point = store["point"][:]
    point[1, :, 0] = -np.abs(point[1, :, 0])
    store["point"][:] = point
    done = fit(sdfkit, trained, "--half-space", "+x", "-o", trained / "codes.zarr")
    assert done.exit_code == 4 and "no sample lies in the half-space" in done.stderr
    codes = zarr.open_group(trained / "codes.zarr", mode="r")
    assert codes["valid"][:].tolist() == [True, False, True]


def test_training_reports_the_worst_shapes_and_plots_the_loss(sdfkit, trained, tmp_path):
    options = (
        "--steps",
        3,
        "--kl",
        1e-5,
        "--eikonal",
        0.1,
        "--interpolation",
        0.1,
        "--near-focus",
        0.5,
        "--points",
        64,
        "--lr",
        1e-3,
    )
    model, curve = tmp_path / "other.zarr", tmp_path / "curve.png"
    done = sdfkit(
        "train-deepsdf", trained / "samples.zarr", *options, "--device", "cpu", "--curve", curve, "-o", model
    )
    assert done.exit_code == 0, done.stderr
    (worst,) = [line for line in done.stderr.splitlines() if line.startswith("sdfkit: worst: ")]
    errors = [float(part.split()[-1]) for part in worst.removeprefix("sdfkit: worst: ").split(";")]
    assert len(errors) == 3 and errors == sorted(errors, reverse=True)
    settings = zarr.open_group(model, mode="r").attrs["settings"]
    assert (settings["kl"], settings["near"], settings["points"]) == (1e-5, 0.5, 64)
    assert curve.read_bytes().startswith(b"\x89PNG")
    refused = sdfkit(
        "train-deepsdf", trained / "samples.zarr", "--curve", "curve.svg", "-o", tmp_path / "x.zarr"
    )
    assert refused.exit_code == 2 and "plots are written as PNG" in refused.stderr


def test_stores_of_other_kinds_are_refused(sdfkit, trained):
    refused = sdfkit("fit-code", trained / "deepsdf.zarr", "--decoder", trained / "deepsdf.zarr")
    assert (
        refused.exit_code == 3
        and "holds deepsdf, but a store of kind samples or views is needed" in refused.stderr
    )
    refused = sdfkit("fit-code", trained / "samples.zarr", "--decoder", trained / "samples.zarr")
    assert refused.exit_code == 3 and "holds samples, but a store of kind deepsdf is needed" in refused.stderr
