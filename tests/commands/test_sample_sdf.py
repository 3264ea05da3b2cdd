"""Options of `sdfkit sample-sdf`, errors, and the check of signs."""

import re

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.runtime import opengl


@pytest.fixture
def sample(sdfkit, tmp_path):
    """Sample mesh files; return the result, and the store or None."""

    def run(*words):
        output = tmp_path / "samples.zarr"
        result = sdfkit("sample-sdf", *words, "--jobs", 1, "--overwrite", "-o", output)
        return result, zarr.open_group(output, mode="r") if output.exists() else None

    return run


def damaged(kind, path):
    """Write a ball with defects that are just acceptable or just not."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = np.array(ball.vertices), np.array(ball.faces)
    if kind == "inside out":
        faces = faces[:, ::-1]
    elif kind == "half of the faces flipped":
        faces[::2] = faces[::2, ::-1]
    elif kind == "every face twice":
        faces = np.concatenate([faces, faces])
    elif kind == "huge":
        vertices *= 1e30
    elif kind == "sheet":
        vertices, faces = (
            np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1.0]]),
            np.array([[0, 1, 2], [0, 2, 3]]),
        )
    elif kind == "bow-tie":  # two boxes that share an edge
        box = trimesh.creation.box((1, 1, 1))
        vertices = np.concatenate([box.vertices, box.vertices + [1, 1, 0]])
        faces = np.concatenate([box.faces, box.faces + 8])
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    return path


@pytest.mark.parametrize(("share", "near"), [(0, 0), (1, 100), (0.25, 25)])
def test_the_share_of_points_near_the_surface_may_be_0_or_1(sample, sphere, share, near):
    result, store = sample(
        sphere, "--points", 100, "--near-share", share, "--near-std", 0.1, "--near-std", 0.2
    )
    assert result.exit_code == 0, result.stderr
    assert store["point"].shape == (1, 100, 3)
    assert store["near"][:].sum() == near
    assert store.attrs["settings"]["near_std"] == [0.1, 0.2]
    assert store.attrs["settings"]["sign"] == "winding"


@pytest.mark.parametrize("kind", ["huge", "every face twice", "bow-tie"])
@pytest.mark.parametrize("sign", ["winding", "normal", "scan"])
def test_unusual_meshes_that_enclose_volume_get_correct_signs(sample, tmp_path, kind, sign):
    # The two boxes of the bow-tie share an edge; a duplicated face doubles the winding number.
    result, store = sample(damaged(kind, tmp_path / "odd.ply"), "--points", 2000, "--sign", sign)
    assert result.exit_code == 0, result.stderr
    point, distance = store["point"][0], store["distance"][0]
    to_original = store["to_original"][0]
    assert np.isfinite(distance).all()
    if kind == "bow-tie":
        place = point @ to_original[:3, :3].T + to_original[:3, 3]
        inside = (np.abs(place) < 0.5).all(axis=1) | (np.abs(place - [1, 1, 0]) < 0.5).all(axis=1)
        assert np.array_equal(distance < 0, inside)
    else:
        radius = np.linalg.norm(point, axis=1)
        assert np.array_equal(
            (distance < 0)[np.abs(radius - 1) > 0.01], (radius < 1)[np.abs(radius - 1) > 0.01]
        )


@pytest.mark.parametrize(
    ("kind", "sign", "message"),
    [
        ("sheet", "winding", "has no inside: all 1000 query points are outside, so the surface is a sheet"),
        ("sheet", "scan", "has no inside: all 1000 query points are outside"),
        ("inside out", "winding", "has no inside: all 1000 query points are outside"),
        (
            "inside out", "normal",
            r"the nearest normal and the winding number agree on inside and outside for \d+\.\d% of the points only; "
            "run watertight first, or lower --agreement",
        ),
        (
            "half of the faces flipped", "scan",
            r"rays to the outside and the winding number agree on inside and outside for \d+\.\d% of",
        ),
    ],
)  # fmt: skip
def test_a_shape_with_uncertain_signs_is_refused_with_the_reason(sample, tmp_path, kind, sign, message):
    result, store = sample(damaged(kind, tmp_path / "bad.ply"), "--points", 1000, "--sign", sign)
    assert (result.exit_code, store) == (4, None)
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr), result.stderr


def test_a_shape_with_uncertain_signs_is_marked_and_others_are_kept(sample, tmp_path, sphere):
    flipped = damaged("half of the faces flipped", tmp_path / "flipped.ply")
    result, store = sample(sphere, flipped, "--points", 1000, "--sign", "scan")
    assert result.exit_code == 4
    assert store["valid"][:].tolist() == [True, False]
    assert "agree on inside and outside for" in str(store["error"][1])
    agreement = store["sign_agreement"][:]
    assert agreement[0] > 0.999

    result, store = sample(flipped, "--points", 1000, "--sign", "scan", "--agreement", 0)
    assert result.exit_code == 0, result.stderr
    radius = np.linalg.norm(store["point"][0], axis=1)
    clear = np.abs(radius - 1) > 0.01
    assert np.array_equal((store["distance"][0] < 0)[clear], (radius < 1)[clear])
    assert store["sign_agreement"][0] < 0.9


def test_mesh_to_sdf_cannot_be_combined_with_the_winding_number(sample, sphere):
    result, store = sample(sphere, "--method", "scan", "--sign", "winding")
    assert (result.exit_code, store) == (2, None)
    assert result.stderr == (
        "sdfkit: --sign winding: is not available with --method scan; use --sign normal or --sign scan\n"
    )


def test_missing_opengl_is_reported_before_output_is_created(sample, sphere, monkeypatch):
    monkeypatch.setattr(opengl, "find_library", lambda name: None)
    result, store = sample(sphere, "--method", "scan")
    assert (result.exit_code, store) == (5, None)
    assert "libegl1" in result.stderr and "use --method exact" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.gl
@pytest.mark.slow
def test_mesh_to_sdf_measures_the_same_points_in_a_separate_process(sample, sphere):
    result, exact = sample(sphere, "--points", 500)
    points, distances = exact["point"][0], exact["distance"][0]
    result, scanned = sample(sphere, "--points", 500, "--method", "scan", "--agreement", 0.95)
    if result.exit_code == 5:
        pytest.skip(result.stderr)
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(scanned["point"][0], points)
    assert np.abs(np.abs(scanned["distance"][0]) - np.abs(distances)).max() < 5e-3
    assert np.mean((scanned["distance"][0] < 0) != (distances < 0)) < 0.02
    assert scanned.attrs["settings"]["sign"] == "normal"


def test_a_dropped_speck_changes_no_sample(sample, tmp_path):
    ring, speck = trimesh.creation.torus(1, 0.3), trimesh.creation.icosphere(1, 0.01)
    speck.apply_translation((0, 260, 0))
    (tmp_path / "alone").mkdir()
    ring.export(tmp_path / "alone" / "ring.ply")
    trimesh.util.concatenate([speck, ring]).export(tmp_path / "ring.ply")
    words = ("--points", 400, "--surface-points", 0)
    names = ("point", "distance", "to_original")
    result, store = sample(tmp_path / "alone" / "ring.ply", *words)
    alone = [store[name][:] for name in names]
    assert "resolution" not in result.stderr
    result, _ = sample(tmp_path / "ring.ply", *words)
    assert "the whole shape over 261, so that most of the resolution is lost" in result.stderr
    result, store = sample(tmp_path / "ring.ply", *words, "--drop-specks")
    assert "ring: dropped 1 speck, at most 0.034" in result.stderr
    for name, expected in zip(names, alone, strict=True):
        assert np.allclose(store[name][:], expected, rtol=0, atol=1e-6)
    assert store.attrs["settings"]["drop_specks"] is True
