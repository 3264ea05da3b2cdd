"""`sdfkit mesh --views`: shapes cut by the visual hull of their images."""

import dataclasses

import numpy as np
import pytest
import trimesh

from sdfkit.io.meshes.reader import read_info
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.commands.test_mesh import ELLIPSOIDS, SIREN, fails, write
from tests.commands.views_store import write_views

SMALL = trimesh.creation.icosphere(3, 0.45)
LARGE = trimesh.creation.icosphere(3, 0.95)


@pytest.fixture
def weights(tmp_path):
    """A ball of radius 0.6 and an ellipsoid with the axes 0.8, 0.5 and 0.4."""
    rows = [Row(0, "ball", origin="1" * 16), Row(1, "egg", origin="2" * 16)]
    network = {"network": dataclasses.asdict(SIREN)}
    return write(tmp_path / "weights.zarr", "weights", "weights", ELLIPSOIDS, rows=rows, attributes=network)


def test_each_row_is_cut_by_its_own_images(sdfkit, weights, tmp_path):
    views = write_views(tmp_path / "views.zarr", [(Row(0, "egg"), LARGE), (Row(1, "ball"), SMALL)])
    line = ("mesh", weights, "--resolution", 40, "--views", views, "-o", f"{tmp_path}/cut/")
    done = sdfkit(*line)
    assert done.exit_code == 0, done.stderr
    ball, egg = (trimesh.load_mesh(tmp_path / f"cut/{uid}.ply") for uid in ("ball", "egg"))
    # Six cones around a ball of radius 0.45 leave corners.
    assert ball.is_watertight and 0.44 < np.abs(ball.bounds).max() < 0.6
    assert ball.volume < 0.7 * 4 / 3 * np.pi * 0.6**3
    assert np.allclose(egg.bounds[1], [0.8, 0.5, 0.4], atol=5e-3)
    again = sdfkit(*line)
    assert again.exit_code == 0
    assert read_info(tmp_path / "cut/ball.ply")["settings"]["views"].startswith("sha256:")


def test_meshes_are_made_again_if_the_images_have_changed(sdfkit, weights, tmp_path):
    line = ("mesh", weights, "--resolution", 24, "--views", tmp_path / "views.zarr", "-o", f"{tmp_path}/cut/")
    write_views(tmp_path / "views.zarr", [(Row(0, "ball"), LARGE), (Row(1, "egg"), LARGE)])
    assert sdfkit(*line).exit_code == 0
    (tmp_path / "views.zarr").rename(tmp_path / "old.zarr")
    write_views(tmp_path / "views.zarr", [(Row(0, "ball"), SMALL), (Row(1, "egg"), LARGE)])
    changed = sdfkit(*line)
    assert changed.exit_code == 3 and "views: its content has changed" in changed.stderr


def test_samples_of_a_shape_are_cut_by_the_images_of_the_shape(sdfkit, tmp_path):
    rows = [Row(index, f"ball_s{index}", sample_of="ball") for index in range(2)]
    network = {"network": dataclasses.asdict(SIREN)}
    vectors = ELLIPSOIDS[[0, 0]]
    path = write(
        tmp_path / "w.zarr", "weights", "weights", vectors, rows=rows, attributes=network, samples=True
    )
    views = write_views(tmp_path / "views.zarr", [(Row(0, "ball"), SMALL)])
    done = sdfkit("mesh", path, "--resolution", 24, "--views", views, "-o", f"{tmp_path}/cut/")
    assert done.exit_code == 0, done.stderr
    sizes = [trimesh.load_mesh(tmp_path / f"cut/ball_s{index}.ply").volume for index in range(2)]
    assert sizes[0] == sizes[1] < 0.7 * 4 / 3 * np.pi * 0.6**3


def test_rows_without_images_or_with_images_of_another_mesh_are_refused(sdfkit, weights, tmp_path):
    views = write_views(tmp_path / "one.zarr", [(Row(0, "ball"), SMALL)])
    fails(
        sdfkit("mesh", weights, "--views", views, "-o", f"{tmp_path}/cut/"), 3,
        f"{views}: has no images of egg; render all of the shapes of {weights}",
    )  # fmt: skip
    views = write_views(
        tmp_path / "other.zarr",
        [(Row(0, "ball", origin="1" * 16), SMALL), (Row(1, "egg", origin="3" * 16), SMALL)],
    )
    refused = sdfkit("mesh", weights, "--views", views, "-o", f"{tmp_path}/cut2/")
    assert refused.exit_code == 3 and refused.stderr.count("\n") == 1
    assert (
        f"egg: the images of {views} were made from another mesh file than the shapes of {weights}"
        in refused.stderr
    )


def test_views_without_masks_and_two_pipes_are_refused(sdfkit, weights, tmp_path):
    views = write_views(tmp_path / "bare.zarr", [(Row(0, "ball"), SMALL)], leave_out=["mask"])
    fails(
        sdfkit("mesh", weights, "--views", views, "-o", tmp_path / "x.ply"), 3,
        f"{views}: has views without the array mask, from which their outlines follow; render the meshes again",
    )  # fmt: skip
    fails(
        sdfkit("mesh", "--views", "-"), 2,
        "standard input can be read only once; give files for the other stores",
    )  # fmt: skip


def test_a_shape_with_an_empty_mask_fails_and_others_are_cut(sdfkit, weights, tmp_path):
    outside = SMALL.copy()
    outside.apply_translation([50, 0, 0])
    views = write_views(tmp_path / "views.zarr", [(Row(0, "ball"), SMALL), (Row(1, "egg"), outside)])
    done = sdfkit("mesh", weights, "--resolution", 24, "--views", views, "-o", f"{tmp_path}/cut/")
    assert done.exit_code == 4 and "egg: view 0: the mask is empty" in done.stderr
    assert (tmp_path / "cut/ball.ply").exists() and not (tmp_path / "cut/egg.ply").exists()


def test_grids_of_distances_are_cut_too(sdfkit, tmp_path):
    row = Row(0, "ball")
    path = str(tmp_path / "grids.zarr")
    with create_store(path, "grids", rows=[row], history=[], settings={}, overwrite=False) as store:
        store.create_array("grid", shape=(1, 9, 9, 9), dtype="f4", axes=("shape", "x", "y", "z"))
        store.write(row, grid=np.full((9, 9, 9), -1, np.float32))
    views = write_views(tmp_path / "views.zarr", [(row, SMALL)], views=24)
    done = sdfkit("mesh", path, "--resolution", 32, "--views", views, "-o", tmp_path / "hull.ply")
    assert done.exit_code == 0, done.stderr
    hull = trimesh.load_mesh(tmp_path / "hull.ply")
    assert hull.is_watertight and 0.92 < hull.volume / (4 / 3 * np.pi * 0.45**3) < 1.3
