"""`sdfkit pose`: cameras of images of known shapes, their uncertainty, pipes, resumption and refusals."""

import math
import subprocess
import sys

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

from sdfkit.images.rendering.rasteriser import render_views
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

# Boxes of a chair whose one arm is high: centre and half extents. No two directions show the same silhouette.
CHAIR = [
    ((0, -0.3, 0), (0.4, 0.12, 0.4)),
    ((0, 0.25, -0.32), (0.4, 0.5, 0.09)),
    ((0.33, 0, 0.05), (0.09, 0.3, 0.3)),
    ((-0.2, -0.55, 0.25), (0.1, 0.2, 0.1)),
]


def box_distance(points, middle, half):
    beyond = np.abs(points - middle) - half
    return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(axis=-1), 0)


def nodes():
    axis = np.linspace(-1, 1, 33)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def chair_grid():
    return np.min([box_distance(nodes(), *box) for box in CHAIR], axis=0)


def vase_grid():
    """Return the distances from a body of revolution about the vertical axis."""
    radius = np.hypot(nodes()[..., 0], nodes()[..., 2])
    widest = 0.3 + 0.2 * nodes()[..., 1]
    return np.maximum(radius - widest, np.abs(nodes()[..., 1]) - 0.7)


def chair_mesh():
    parts = [
        trimesh.creation.box(2 * np.array(half), trimesh.transformations.translation_matrix(middle))
        for middle, half in CHAIR
    ]
    return trimesh.util.concatenate(parts)


def vase_mesh():
    return trimesh.creation.revolve([(0, -0.7), (0.16, -0.7), (0.44, 0.7), (0, 0.7)]).apply_transform(
        trimesh.transformations.rotation_matrix(-math.pi / 2, (1, 0, 0))
    )


def camera_at(azimuth, elevation):
    from sdfkit.images.rendering.cameras import look_at

    a, e = math.radians(azimuth), math.radians(elevation)
    eye = 2.5 * np.array([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    return look_at(eye, np.zeros(3), np.array([0.0, 1.0, 0.0])).astype(np.float32)


def take_photo(mesh, camera, path, *, matte="alpha"):
    """Save a picture in which the object is off the centre and small, before a transparent or white background."""
    views = render_views(
        mesh, camera[None], yfov=math.radians(60), size=120, crease=0.7, cull=False, depth=False, normal=False,
        paint=None,
    )  # fmt: skip
    photo = np.zeros((150, 220, 4), np.uint8)
    photo[20:140, 70:190] = np.concatenate([views.rgb[0], views.mask[0][..., None]], axis=-1)
    if matte == "plain":
        cover = photo[..., 3:] / 255
        photo[..., :3] = np.rint(photo[..., :3] * cover + 255 * (1 - cover))
        photo[..., 3] = 255
    Image.fromarray(photo).save(path)
    return path


def angle_between(first, second):
    return math.degrees(math.acos(np.clip(float(first[:3, 2] @ second[:3, 2]), -1, 1)))


def write_model(path, grids, kind="recon"):
    """Write the part of a train-recon store that pose reads."""
    rows = [Row(index, f"shape{index}") for index in range(len(grids))]
    with create_store(str(path), kind, rows=rows, history=[], settings={}, overwrite=True) as store:
        data = np.stack(grids).astype(np.float16)
        store.create_array("grid", data=data, axes=("shape", "x", "y", "z"))
        for row in rows:
            store.write(row)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "recon.zarr", [chair_grid(), vase_grid()])


@pytest.mark.parametrize(
    ("azimuth", "elevation", "matte"), [(35, 20, "alpha"), (-130, 40, "plain"), (160, 5, "alpha")]
)
def test_the_camera_of_a_known_shape_is_found(sdfkit, model, tmp_path, azimuth, elevation, matte):
    camera = camera_at(azimuth, elevation)
    photo = take_photo(chair_mesh(), camera, tmp_path / "chair.png", matte=matte)
    result = sdfkit("pose", photo, "--model", model, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 0, result.stderr
    views = zarr.open_group(tmp_path / "views.zarr", mode="r")
    assert views.attrs["kind"] == "views" and views["uid"][:].tolist() == ["chair"]
    found = views["camera_to_world"][0, 0]
    assert angle_between(found, camera) < 8
    assert np.allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-5)
    assert views["pose_overlap"][0, 0] > 0.85
    assert views["pose_error"][0, 0] < 25
    assert "camera of chair: azimuth" in result.stderr and "other directions" not in result.stderr
    # The crop shows the object as the renderer would, without the photo's margins.
    truth = render_views(
        chair_mesh(), camera[None], yfov=math.radians(60), size=224, crease=0.7, cull=False, depth=False,
        normal=False, paint=None,
    ).mask[0]  # fmt: skip
    both, either = np.minimum(truth, views["mask"][0, 0]).sum(), np.maximum(truth, views["mask"][0, 0]).sum()
    assert both / either > 0.75


def test_a_round_shape_has_an_uncertain_camera(sdfkit, model, tmp_path):
    photo = take_photo(vase_mesh(), camera_at(70, 15), tmp_path / "vase.png")
    result = sdfkit("pose", photo, "--model", model, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 0, result.stderr
    assert zarr.open_group(tmp_path / "views.zarr", mode="r")["pose_error"][0, 0] > 45
    assert "vase: other directions explain the silhouette almost as well" in result.stderr


@pytest.mark.slow
def test_the_cameras_of_a_store_are_ignored(sdfkit, model, tmp_path):
    chair_mesh().export(tmp_path / "chair.ply")
    vase_mesh().export(tmp_path / "vase.ply")
    options = ("--views", 2, "--size", 64, "--jobs", 1)
    sdfkit("render", tmp_path / "chair.ply", tmp_path / "vase.ply", *options, "-o", tmp_path / "known.zarr")
    known = zarr.open_group(tmp_path / "known.zarr", mode="r+")
    wanted = ("pose", tmp_path / "known.zarr", "--model", model, "--lowest", -60)
    assert sdfkit(*wanted, "-o", tmp_path / "one.zarr").exit_code == 0
    cameras = known["camera_to_world"][:]
    known["camera_to_world"][:] = cameras[:, ::-1]
    assert sdfkit(*wanted, "-o", tmp_path / "other.zarr").exit_code == 0
    one, other = (zarr.open_group(tmp_path / name, mode="r") for name in ("one.zarr", "other.zarr"))
    for name in ("camera_to_world", "rgb", "mask", "pose_error"):
        assert np.array_equal(one[name][:], other[name][:]), name
    for view in range(2):
        assert angle_between(one["camera_to_world"][0, view], cameras[0, view]) < 8


def test_a_finished_output_is_kept_and_a_changed_photo_is_estimated_again(sdfkit, model, tmp_path):
    photo = take_photo(chair_mesh(), camera_at(35, 20), tmp_path / "chair.png")
    wanted = ("pose", photo, "--model", model, "-o", tmp_path / "views.zarr")
    assert sdfkit(*wanted).exit_code == 0
    again = sdfkit(*wanted)
    assert again.exit_code == 0 and "nothing was to be done" in again.stderr
    camera = camera_at(-60, 30)
    take_photo(chair_mesh(), camera, photo)
    assert sdfkit(*wanted).exit_code == 0
    found = zarr.open_group(tmp_path / "views.zarr", mode="r")["camera_to_world"][0, 0]
    assert angle_between(found, camera) < 8
    other = sdfkit(*wanted, "--highest", 50)
    assert other.exit_code == 3 and "highest: 75" in other.stderr


def test_a_photo_without_an_object_fails_alone(sdfkit, model, tmp_path):
    (tmp_path / "photos").mkdir()
    take_photo(chair_mesh(), camera_at(35, 20), tmp_path / "photos/chair.png")
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos/noise.png")
    (tmp_path / "list").write_text(f"{tmp_path / 'gone.jpg'}\n")
    photos = (tmp_path / "photos", "--files-from", tmp_path / "list")
    result = sdfkit("pose", *photos, "--model", model, "-o", tmp_path / "views.zarr")
    assert result.exit_code == 4
    assert "gone.jpg: no such file" in result.stderr
    assert "noise: the background is neither transparent nor of one colour" in result.stderr
    assert zarr.open_group(tmp_path / "views.zarr", mode="r")["valid"][:].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("white.png", "--model", "MODEL"), 3, "no object differs from the background"),
        (("empty.png", "--model", "MODEL"), 3, "empty.png: is empty"),
        (("junk.png", "--model", "MODEL"), 3, "junk.png: is not an image"),
        (("white.png", "--model", "codes.zarr"), 3, "holds codes, but"),
        (("white.png",), 2, "Missing option '--model'"),
        (("-", "--model", "-"), 2, "standard input can be read only once"),
        (("white.png", "--model", "MODEL", "--lowest", 80), 2, "--lowest 80 is above --highest 75"),
        (("white.png", "--model", "nothing.zarr"), 4, "no training shape has a silhouette"),
        (("mesh.ply", "--model", "MODEL"), 3, "is a mesh, but images are needed"),
        (("cover.zarr", "--model", "MODEL"), 3, "has views without masks"),
    ],
)
def test_refusals(sdfkit, model, tmp_path, monkeypatch, words, status, message):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), "white").save("white.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "junk.png").write_bytes(b"no picture" * 9)
    trimesh.creation.box().export("mesh.ply")
    write_model(tmp_path / "nothing.zarr", [np.ones((33, 33, 33))])
    with create_store(
        "codes.zarr", "codes", rows=[Row(0, "a")], history=[], settings={}, overwrite=True
    ) as store:
        store.create_array("code", data=np.zeros((1, 4), np.float32), axes=("shape", "dim"))
    with create_store(
        "cover.zarr", "views", rows=[Row(0, "a")], history=[], settings={}, overwrite=True
    ) as store:
        axes = ("shape", "view", "row", "column", "channel")
        store.create_array("rgb", data=np.zeros((1, 1, 8, 8, 3), np.uint8), axes=axes)
    result = sdfkit("pose", *(model if word == "MODEL" else word for word in words), "-o", "out.zarr")
    assert result.exit_code == status, result.stderr
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
def test_standard_input_and_output(model, tmp_path):
    take_photo(chair_mesh(), camera_at(35, 20), tmp_path / "chair.png")
    program = f"{sys.executable} -m sdfkit pose - --model {model}"
    line = f"set -o pipefail; {program} < chair.png | {program} > views.zarr.zip"
    result = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with zarr.storage.ZipStore(tmp_path / "views.zarr.zip", mode="r") as stored:
        views = zarr.open_group(stored, mode="r")
        assert [step["command"] for step in views.attrs["history"]] == [f"sdfkit pose - --model {model}"] * 2
        assert angle_between(views["camera_to_world"][0, 0], camera_at(35, 20)) < 10
