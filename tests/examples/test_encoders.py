"""The table that compares encoders, for features with known retrieval scores."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row

PATH = Path(__file__).parents[2] / "examples/encoders.py"
COUNT, VIEWS, SIZE = 12, 16, 32
ROWS = [Row(index, f"obj_{index}", category=("chair", "lamp")[index % 2]) for index in range(COUNT)]


@pytest.fixture(scope="module")
def encoders():
    spec = importlib.util.spec_from_file_location("encoders", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path, kind, name, axes, array, rows, **attributes):
    with create_store(
        str(path), kind, rows=rows, history=[], settings={}, attributes=attributes, overwrite=True
    ) as store:
        store.create_array(name, shape=array.shape, dtype=array.dtype, axes=("shape", "view", *axes))
        for row in rows:
            store.write(row, **{name: array[row.index]})
    return str(path)


@pytest.fixture
def run(encoders, tmp_path, monkeypatch, capsys):
    """Return the rows of the table as {name: cells}, for features and images of twelve objects."""

    def run(feature, rgb, *more, seen=ROWS):
        encoder = {"model": "ours"}
        words = [
            write(tmp_path / "f.zarr", "features", "feature", ["dim"], feature, ROWS, encoder=encoder),
            write(tmp_path / "v.zarr", "views", "rgb", ["row", "column", "channel"], rgb, seen),
        ]
        monkeypatch.setattr(sys, "argv", ["encoders.py", *words, *more])
        encoders.main()
        lines = [line.strip("|").split(" | ") for line in capsys.readouterr().out.splitlines()]
        return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines if len(line) > 1}

    return run


def white(views=VIEWS):
    return np.full((COUNT, views, SIZE, SIZE, 3), 255, np.uint8)


def test_perfect_features_score_100_and_uniform_images_score_chance(run):
    feature = np.eye(COUNT, COUNT + 2, dtype=np.float32)
    feature[np.arange(COUNT), COUNT + np.arange(COUNT) % 2] = 0.5
    table = run(np.repeat(feature[:, None], VIEWS, axis=1), white())
    assert table.pop("12 objects; 12 of 2 types") == [
        *("object, 1 view", "object, 2 views", "object, 4 views", "object, 8 views"),
        *("type, 1 view", "type, 2 views", "type, 4 views", "type, 8 views"),
    ]
    assert table.pop("chance") == ["8.3"] * 4 + ["45.5"] * 4
    assert table.pop("ours") == table.pop("ours, centred") == ["100.0 (100 to 100)"] * 8
    # If all features are equal, the first object is always retrieved: one of twelve; five others have its type.
    for name in ("16×16 pixels", "16×16 pixels, centred"):
        cells = table.pop(name)
        assert all(cell.startswith("8.3 (0 to ") for cell in cells[:4])
        assert all(cell.startswith("41.7 (") for cell in cells[4:])
    assert table == {}


def test_the_pixel_baseline_distinguishes_objects_by_their_position(run):
    rgb = np.zeros((COUNT, VIEWS, SIZE, SIZE, 3), np.uint8)
    for index in range(COUNT):
        rgb[index, :, 2 * index : 2 * index + 2, :2, 1] = 200
    rng = np.random.default_rng(0)
    feature = rng.standard_normal((COUNT, VIEWS, 8)).astype(np.float32)
    table = run(feature, rgb, "--draws", "2")
    assert table["16×16 pixels"][:4] == ["100.0 (100 to 100)"] * 4
    assert float(table["ours"][0].split()[0]) < 40


def test_a_mean_of_more_views_is_less_noisy(run):
    rng = np.random.default_rng(0)
    feature = rng.standard_normal((COUNT, 1, 32)) + 2 * rng.standard_normal((COUNT, VIEWS, 32))
    cells = run(feature.astype(np.float32), white(), "--draws", "20")["ours"][:4]
    shares = [float(cell.split()[0]) for cell in cells]
    assert shares == sorted(shares)
    assert shares[0] < 60 < shares[3]


def test_centring_removes_a_common_offset_of_the_features(run):
    rng = np.random.default_rng(0)
    feature = rng.standard_normal((COUNT, 1, 32)) + 0.3 * rng.standard_normal((COUNT, VIEWS, 32)) + 1000
    table = run(feature.astype(np.float32), white())
    assert table["ours, centred"][0] == "100.0 (100 to 100)"


def test_types_with_a_single_object_are_not_queried(encoders):
    types = np.array(["chair"] * 3 + ["lamp"])
    asked = np.array([True, True, True, False])
    assert encoders.chance(types, asked) == pytest.approx(2 / 3)


def test_at_least_one_type_must_have_several_objects(run):
    with pytest.raises(SystemExit, match="there are 16; and a type with at least 7 objects"):
        run(np.ones((COUNT, VIEWS, 4), np.float32), white(), "--least", "7")


def test_too_few_views_are_refused(run):
    with pytest.raises(SystemExit, match="16 views of each object are needed, there are 15"):
        run(np.ones((COUNT, 15, 4), np.float32), white(15))


def test_a_different_number_of_views_is_refused(run):
    with pytest.raises(
        SystemExit, match=r"v.zarr: the images of an object have shape 14 × 32 × 32 × 3; 16 views are needed"
    ):
        run(np.ones((COUNT, VIEWS, 4), np.float32), white(14))


def test_objects_without_views_are_named(run):
    others = [Row(row.index, f"other_{row.index}") for row in ROWS]
    with pytest.raises(SystemExit, match="has no views of 12 of the objects; the first of these is obj_0"):
        run(np.ones((COUNT, VIEWS, 4), np.float32), white(), seen=others)
