"""`sdfkit mesh` for codes, weights and plain arrays: files of every format, and errors."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
import trimesh
import zarr

from sdfkit.io.meshes.reader import read_info
from sdfkit.io.stores.writer import create_store
from sdfkit.models.layers import MLPConfig
from sdfkit.rows import Row
from tests.training.octahedra import DECODER, make_decoder

SIREN = MLPConfig(kind="siren", bands=0, hidden=16, layers=1, frequency=3.0)
RELU = MLPConfig(kind="relu-pe", bands=1, hidden=16, layers=2, frequency=1.0)
ROWS = [
    Row(0, "ball", category="sphere", licence="CC0-1.0", source="here"),
    Row(1, "egg", category="ellipsoid", licence="CC-BY-4.0"),
]


def flat(layers):
    """Return the weight vector of a network from the weight and bias of each layer."""
    return np.concatenate([np.ravel(part) for layer in layers for part in layer]).astype(np.float32)


def make_ellipsoid(axes):
    """A SIREN that is zero where Σ 1 - cos(x / (2 axis)) = 1 - cos(1/2).

    This surface lies up to 1 % inside the ellipsoid, and touches it on the axes. The gradient is at most 1, and is 1 at
    the ends of the shortest axis.
    """
    first, turn, out = np.zeros((16, 3)), np.zeros(16), np.zeros((1, 16))
    first[range(3), range(3)] = 0.5 / np.array(axes) / SIREN.frequency
    turn[:3] = np.pi / 2 / SIREN.frequency
    scale = min(axes) / (0.5 * np.sin(0.5))
    out[0, :3] = -scale
    return flat([(first, turn), (out, [scale * (2 + np.cos(0.5))])])


def make_octahedron(axes):
    """A ReLU network of Σ |x| / axis - 1, multiplied by the shortest axis."""
    first, second, out = np.zeros((16, 9)), np.zeros((16, 16)), np.zeros((1, 16))
    for axis in range(3):
        first[2 * axis, axis], first[2 * axis + 1, axis] = 1 / axes[axis], -1 / axes[axis]
    second[range(6), range(6)] = 1
    out[0, :6] = min(axes)
    return flat([(first, np.zeros(16)), (second, np.zeros(16)), (out, [-min(axes)])])


AXES = [[0.6, 0.6, 0.6], [0.8, 0.5, 0.4]]
ELLIPSOIDS = np.stack([make_ellipsoid(axes) for axes in AXES])


def write(path, kind, name, vectors, *, rows=None, attributes=None, decoder=None, samples=False):
    rows = rows or [Row(index, f"shape_{index}") for index in range(len(vectors))]
    history = [{"version": "0", "command": f"sdfkit made {path.name}"}]
    with create_store(
        str(path), kind, rows=rows, history=history, settings={}, attributes=attributes, overwrite=False
    ) as store:
        store.create_array(name, shape=vectors.shape, dtype="f4", axes=("shape", "dim"))
        if samples:
            column = np.array([row.sample_of for row in rows], np.dtypes.StringDType())
            store.create_array("sample_of", data=column, axes=("shape",))
        if decoder is not None:
            arrays = {key: value.numpy() for key, value in decoder.state_dict().items()}
            store.create_group("decoder", attributes=dataclasses.asdict(DECODER), arrays=arrays)
        for row, vector in zip(rows, vectors, strict=True):
            store.write(row, **({} if row.error else {name: vector}))
    return path


@pytest.fixture
def weights(tmp_path):
    network = {"network": dataclasses.asdict(SIREN)}
    return write(tmp_path / "weights.zarr", "weights", "weights", ELLIPSOIDS, rows=ROWS, attributes=network)


@pytest.fixture
def decoder(tmp_path):
    """A decoder for which the first element of the code is the radius of the shape."""
    network = make_decoder()
    codes = np.array([[0.5, 0, 0, 0], [0.9, 0, 0, 0]], np.float32)
    return write(tmp_path / "deepsdf.zarr", "deepsdf", "code", codes, decoder=network)


def fails(result, status, message):
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"sdfkit: {message}\n"


def test_each_row_of_a_weights_store_is_meshed(sdfkit, weights, tmp_path):
    result = sdfkit("mesh", weights, "--resolution", 64, "-o", f"{tmp_path}/meshes/")
    assert result.exit_code == 0, result.stderr
    for row, axes in zip(ROWS, AXES, strict=True):
        mesh = trimesh.load_mesh(tmp_path / f"meshes/{row.uid}.ply")
        assert mesh.is_watertight
        assert mesh.euler_number == 2
        assert np.allclose(mesh.bounds, [-np.array(axes), axes], atol=2e-3)
        assert mesh.volume == pytest.approx(4 / 3 * np.pi * np.prod(axes), rel=0.03)
    share, fewer = re.search(
        r"evaluated the network at (.*) % of the grid's points, (.*) times fewer", result.stderr
    ).groups()
    assert 1 < float(fewer) == pytest.approx(100 / float(share), rel=0.1)
    assert f"wrote meshes of 2 shapes to {tmp_path}/meshes/" in result.stderr


@pytest.mark.parametrize("kind", ["ply", "glb", "obj", "stl"])
def test_mesh_files_contain_their_labels(sdfkit, weights, tmp_path, kind):
    result = sdfkit("mesh", weights, "--resolution", 24, "--format", kind, "-o", f"{tmp_path}/meshes/")
    assert result.exit_code == 0, result.stderr
    path = tmp_path / f"meshes/ball.{kind}"
    assert trimesh.load_mesh(path).volume == pytest.approx(0.9, rel=0.05)
    if kind == "stl":
        assert path.read_bytes()[:80].rstrip() == b"sdfkit ball sphere CC0-1.0"
        return
    info = read_info(path)
    assert [info[key] for key in ("uid", "category", "licence", "source")] == [
        "ball",
        "sphere",
        "CC0-1.0",
        "here",
    ]
    assert info["history"][0]["command"] == "sdfkit made weights.zarr"
    assert len(info["history"]) == 3, "the test wrote the store in two steps"


@pytest.mark.parametrize("kind", ["ply", "glb", "obj"])
def test_smooth_normals_are_the_gradient_of_the_field(sdfkit, weights, tmp_path, kind):
    for name, more in (("plain", ()), ("smooth", ("--smooth-normals",))):
        path = f"{tmp_path}/{name}/"
        assert sdfkit("mesh", weights, "--resolution", 32, "--format", kind, *more, "-o", path).exit_code == 0
    files = [tmp_path / name / f"egg.{kind}" for name in ("plain", "smooth")]
    marks = {"ply": b"property float nx", "glb": b'"NORMAL"', "obj": b"\nvn "}
    assert [marks[kind] in path.read_bytes() for path in files] == [False, True]
    plain, smooth = (trimesh.load_mesh(path, process=False) for path in files)
    assert np.array_equal(plain.vertices, smooth.vertices)
    assert np.allclose(np.linalg.norm(smooth.vertex_normals, axis=1), 1, atol=1e-3)
    gradient = np.sin(0.5 * smooth.vertices / AXES[1]) / AXES[1]
    cosine = (smooth.vertex_normals * gradient).sum(axis=1) / np.linalg.norm(gradient, axis=1)
    assert cosine.min() > 0.99 and cosine.mean() > 0.999, "outward"


def test_simplified_meshes_stay_closed(sdfkit, weights, tmp_path):
    more = ("--simplify", 500, "--smooth-normals", "--largest")
    result = sdfkit("mesh", weights, "--resolution", 64, *more, "-o", f"{tmp_path}/meshes/")
    assert result.exit_code == 0, result.stderr
    mesh = trimesh.load_mesh(tmp_path / "meshes/ball.ply")
    assert 100 < len(mesh.faces) <= 500
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.9, rel=0.1)


def test_codes_of_a_plain_array_are_read_by_the_decoder(sdfkit, decoder, tmp_path):
    np.save(tmp_path / "codes.npy", np.array([[0.7, 0, 0, 0]]))
    line = ("mesh", tmp_path / "codes.npy", "--decoder", decoder, "--resolution", 40)
    assert sdfkit(*line, "-o", tmp_path / "one.ply").exit_code == 0
    mesh = trimesh.load_mesh(tmp_path / "one.ply")
    assert mesh.volume == pytest.approx(4 / 3 * 0.7**3, rel=0.01), "an octahedron"
    info = read_info(tmp_path / "one.ply")
    assert info["uid"] == "row_0"
    assert info["history"][0]["command"] == "sdfkit made deepsdf.zarr", "how the decoder was made"


def test_a_deepsdf_store_is_meshed_into_its_training_shapes_with_one_history(sdfkit, decoder, tmp_path):
    for more in ((), ("--decoder", decoder)):
        folder = tmp_path / f"meshes{len(more)}"
        assert sdfkit("mesh", decoder, *more, "--resolution", 40, "-o", f"{folder}/").exit_code == 0
        sizes = [trimesh.load_mesh(folder / f"shape_{row}.ply").bounds[1, 0] for row in range(2)]
        assert np.allclose(sizes, [0.5, 0.9], atol=0.03)
        assert len(read_info(folder / "shape_0.ply")["history"]) == 3


def test_networks_with_two_hidden_layers_are_meshed(sdfkit, tmp_path):
    vectors = make_octahedron([0.5, 0.6, 0.7])[None]
    network = {"network": dataclasses.asdict(RELU)}
    path = write(tmp_path / "w.zarr", "weights", "weights", vectors, attributes=network)
    assert sdfkit("mesh", path, "--resolution", 32, "--largest", "-o", tmp_path / "one.ply").exit_code == 0
    mesh = trimesh.load_mesh(tmp_path / "one.ply")
    assert np.allclose(mesh.bounds[1], [0.5, 0.6, 0.7], atol=0.04), "tips between grid points are cut off"
    assert mesh.volume == pytest.approx(4 / 3 * 0.5 * 0.6 * 0.7, rel=0.02)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 3)), "{path}: its codes have 3 numbers each, but the decoder of {decoder} needs 4"),
        (
            np.full((1, 4), np.nan),
            "{path}: row 0 holds numbers that are not finite; a matrix of finite numbers is needed, one row per shape",
        ),
        (np.zeros((0, 4)), "{path}: holds no shapes"),
        (
            np.zeros((1, 1, 4)),
            "{path}: holds a float64 array of shape (1, 1, 4); a matrix of finite numbers is needed, one row per shape",
        ),
    ],
)
def test_codes_of_the_wrong_shape_are_refused(sdfkit, decoder, tmp_path, codes, message):
    path = tmp_path / "codes.npy"
    np.save(path, codes)
    result = sdfkit("mesh", path, "--decoder", decoder, "-o", f"{tmp_path}/out/")
    fails(result, 3, message.format(path=path, decoder=decoder))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_several_samples_of_a_shape_are_named_after_it(sdfkit, decoder, tmp_path):
    names = [("large_s0", "small"), ("large_s1", "small"), ("small_s0", "large")]
    rows = [Row(index, uid, sample_of=of) for index, (uid, of) in enumerate(names)]
    vectors = np.array([[0.5, 0, 0, 0], [0.6, 0, 0, 0], [0.9, 0, 0, 0]], np.float32)
    path = tmp_path / "codes.zarr"
    with create_store(str(path), "codes", rows=rows, history=[], settings={}, overwrite=False) as store:
        store.create_array("code", shape=vectors.shape, dtype="f4", axes=("shape", "dim"))
        store.create_array("sample_of", shape=(3,), dtype=np.dtypes.StringDType(), axes=("shape",))
        for row, vector in zip(rows, vectors, strict=True):
            store.write(row, code=vector)
    line = ("mesh", path, "--decoder", decoder, "--resolution", 24, "-o", f"{tmp_path}/samples/")
    assert sdfkit(*line).exit_code == 0
    (tmp_path / "truth").mkdir()
    for name, size in (("small", 0.5), ("large", 0.9)):
        trimesh.creation.icosphere(2, size).export(tmp_path / f"truth/{name}.ply")
    told = sdfkit("compare", tmp_path / "samples", tmp_path / "truth", "--points", 1000, "--json")
    assert told.exit_code == 0, told.stderr
    shapes = json.loads(told.stdout)["shapes"]
    found = {uid: [one["shape"] for one in shape["predictions"]] for uid, shape in shapes.items()}
    assert found == {"small": ["large_s0", "large_s1"], "large": ["small_s0"]}


def test_codes_of_another_decoder_are_refused(sdfkit, decoder, tmp_path):
    vectors = np.array([[0.7, 0, 0, 0]], np.float32)
    out = ("--decoder", decoder, "--resolution", 16, "-o", tmp_path / "one.ply")
    arrays = zarr.open_group(decoder, mode="r")["decoder"]
    own = hashlib.sha256(b"".join(name.encode() + arrays[name][:].tobytes() for name in sorted(arrays)))
    for name, digest in (("own", own.hexdigest()), ("other", 32 * "ab")):
        attributes = {"decoder_sha256": digest}
        write(tmp_path / f"{name}.zarr", "codes", "code", vectors, attributes=attributes)
    assert sdfkit("mesh", tmp_path / "own.zarr", *out).exit_code == 0
    fails(
        sdfkit("mesh", tmp_path / "other.zarr", *out, "--overwrite"),
        3,
        f"{tmp_path}/other.zarr: its latent codes belong to another decoder (abababab) than that of {decoder} "
        f"({own.hexdigest()[:8]}); give stores that were made with the same decoder",
    )


def test_a_code_without_a_surface_is_reported_with_its_range_of_distances(sdfkit, decoder, tmp_path):
    np.save(tmp_path / "codes.npy", np.array([[-1, 0, 0, 0]]))
    result = sdfkit("mesh", tmp_path / "codes.npy", "--decoder", decoder, "-o", tmp_path / "one.ply")
    # ReLU maps the negative code to 0.
    fails(result, 4, "row_0: no surface: distances run from 0 to 3 and never cross 0")
    assert not (tmp_path / "one.ply").exists()


def test_a_shape_with_non_finite_values_is_marked_as_failed(sdfkit, weights, tmp_path):
    zarr.open_group(weights, mode="r+")["weights"][1, 3] = np.nan
    result = sdfkit("mesh", weights, "--resolution", 24, "-o", f"{tmp_path}/out/")
    assert result.exit_code == 4
    assert "sdfkit: egg: its weights holds numbers that are not finite\n" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ball.ply"]


def test_errors_of_earlier_steps_are_reported_again(sdfkit, decoder, tmp_path):
    rows = [Row(index, f"gone_{index}", error="open mesh") for index in range(2)]
    path = write(tmp_path / "codes.zarr", "codes", "code", np.zeros((2, 4), np.float32), rows=rows)
    result = sdfkit("mesh", path, "--decoder", decoder, "-o", f"{tmp_path}/out/")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "sdfkit: gone_0: open mesh",
        "sdfkit: gone_1: open mesh",
        "sdfkit: 2 of 2 shapes failed, for the reasons above; no shape was written",
    ]


def test_decoder_must_name_a_decoder_and_is_refused_for_weights(sdfkit, weights, decoder, tmp_path):
    out = ("-o", tmp_path / "one.ply")
    np.save(tmp_path / "codes.npy", np.zeros((1, 4)))
    fails(
        sdfkit("mesh", tmp_path / "codes.npy", "--decoder", weights, *out),
        3,
        f"{weights}: holds weights, but a store of kind deepsdf or autoencoder or flow is needed",
    )
    fails(
        sdfkit("mesh", tmp_path / "codes.npy", "--decoder", tmp_path / "codes.npy", *out),
        3,
        f"{tmp_path}/codes.npy: holds no decoder; give a store that train-deepsdf wrote",
    )
    fails(
        sdfkit("mesh", tmp_path / "codes.npy", *out),
        2,
        f"{tmp_path}/codes.npy: holds latent codes without their decoder; add --decoder STORE",
    )
    fails(
        sdfkit("mesh", weights, "--decoder", decoder, *out),
        2,
        f"{weights}: holds weights of whole networks, which need no decoder; leave out --decoder",
    )


def test_weights_must_match_their_network_configuration(sdfkit, tmp_path):
    out = ("-o", tmp_path / "one.ply")
    network = {"network": dataclasses.asdict(RELU)}
    other = write(tmp_path / "other.zarr", "weights", "weights", ELLIPSOIDS[:1], attributes=network)
    fails(
        sdfkit("mesh", other, *out),
        3,
        f"{other}: its weights have 81 numbers each, but their network has 449",
    )
    nameless = write(tmp_path / "nameless.zarr", "weights", "weights", ELLIPSOIDS[:1])
    result = sdfkit("mesh", nameless, *out)
    assert result.exit_code == 3
    assert f"{nameless}: has no configuration of its per-shape networks" in result.stderr
    assert "was it made by sdfkit?" in result.stderr


def test_a_decoder_that_lacks_a_layer_is_refused(sdfkit, decoder, tmp_path):
    del zarr.open_group(decoder, mode="r+")["decoder/hidden.0.weight"]
    result = sdfkit("mesh", decoder, "-o", f"{tmp_path}/out/")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert f"{decoder}: its decoder cannot be loaded (Error(s) in loading" in result.stderr
    assert 'Missing key(s) in state_dict: "hidden.0.weight".); was the store made by sdfkit?' in result.stderr


def test_a_damaged_decoder_is_refused(sdfkit, decoder, tmp_path):
    zarr.open_group(decoder, mode="r+")["decoder/out.bias"][0] = np.nan
    fails(
        sdfkit("mesh", decoder, "-o", f"{tmp_path}/out/"),
        3,
        f"{decoder}: the parameter out.bias of its decoder is not finite; train the decoder again",
    )


def test_the_mesh_file_contains_the_settings(sdfkit, weights, tmp_path):
    sdfkit("mesh", weights, "--resolution", 24, "--largest", "-o", f"{tmp_path}/out/")
    settings = read_info(tmp_path / "out/ball.ply")["settings"]
    assert json.dumps(settings)
    assert settings["resolution"] == 24
    assert settings["largest"] is True
    assert settings["simplify"] is None
