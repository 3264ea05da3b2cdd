"""`sdfkit render`: what is in the store, and what is refused."""

import math

import numpy as np
import zarr


def test_views_of_a_sphere(sdfkit, tmp_path, sphere):
    output = tmp_path / "views.zarr"
    line = ("render", sphere, "--views", 3, "--size", 64, "--depth", "--normal", "-o", output)
    assert sdfkit(*line).exit_code == 0
    store = zarr.open_group(output, mode="r")
    assert store["rgb"].shape == (1, 3, 64, 64, 3)
    assert store["mask"].metadata.dimension_names == ("shape", "view", "row", "column")
    np.testing.assert_allclose(np.linalg.norm(store["camera_to_world"][0, :, :3, 3], axis=1), 2.5, rtol=1e-6)
    assert np.allclose(store["yfov"][:], math.radians(60))
    # A sphere of radius 1 at distance 2.5 covers a disc whose radius is tan(asin(1 / 2.5)).
    radius = 32 * math.tan(math.asin(1 / 2.5)) / math.tan(math.radians(30))
    covered = store["mask"][0].mean(axis=(1, 2)) / 255 * 64**2
    np.testing.assert_allclose(covered, math.pi * radius**2, rtol=0.03)
    assert np.allclose(store["depth"][0, :, 32, 32], 1.5, atol=0.03)
    towards = store["camera_to_world"][0, :, :3, 2]
    assert ((store["normal"][0, :, 32, 32] * towards).sum(axis=1) > 0.95).all()
    assert (store["rgb"][0][store["mask"][0] == 0] == 0).all(), "black background"


def test_gray_blue(sdfkit, tmp_path, sphere):
    sdfkit("render", sphere, "--views", 1, "--size", 32, "-o", tmp_path / "views.zarr")
    red, green, blue = zarr.open_group(tmp_path / "views.zarr")["rgb"][0, 0, 16, 16].astype(int)
    assert red < green < blue < 255


def test_a_camera_inside_the_shape_is_refused(sdfkit, tmp_path, sphere):
    result = sdfkit("render", sphere, "--distance", 0.9, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 4
    assert "a camera at distance 0.9 stands inside the shape's bounding sphere" in result.stderr
    assert not (tmp_path / "views.zarr").exists()


def test_no_views_is_wrong_usage(sdfkit, sphere):
    result = sdfkit("render", sphere, "--views", 0)
    assert result.exit_code == 2
    assert "--views" in result.stderr


def test_a_crop_that_cuts_is_told(sdfkit, tmp_path, sphere, monkeypatch):
    from sdfkit.commands.embed import _warn_of_cut
    from sdfkit.store import open_store

    sdfkit("render", sphere, "--views", 1, "--size", 32, "--yfov", 50, "-o", tmp_path / "views.zarr")
    told = []
    monkeypatch.setattr("logging.Logger.warning", lambda self, text, *values: told.append(text % values))
    with open_store(str(tmp_path / "views.zarr"), "views", manifest=None) as views:
        _warn_of_cut(views, (1.0, 1.0))
        assert told == [], "47.2 degrees are enough without a crop"
        _warn_of_cut(views, (0.875, 0.875))
    assert "cuts" in told[0] and "render with a larger --yfov" in told[0]
