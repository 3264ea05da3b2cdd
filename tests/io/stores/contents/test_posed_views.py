"""Views with masks and cameras: their size, and shapes and stores that cannot be used."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import GeometryError, InputError
from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.images.visual_hull import VisualHull
from sdfkit.io.stores.contents.posed_views import distinct_views, prepare_views, read_view_set, repeat_views
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from tests.training.balls import CENTRES, RADII, arrays_of

CAMERAS = fibonacci_cameras(3, 2.5)
AXES = {
    "rgb": ("view", "row", "column", "channel"),
    "mask": ("view", "row", "column"),
    "camera_to_world": ("view", "to", "from"),
    "yfov": ("view",),
}


def write(path, shapes, errors=()):
    """Write a views store. Shapes without arrays have failed."""
    first = next(arrays for arrays in shapes.values() if arrays)
    with create_store(
        str(path), "views", count=len(shapes), history=[{"version": "1", "command": "x"}], settings={}, overwrite=False
    ) as store:  # fmt: skip
        for name, array in first.items():
            shape = (len(shapes), *array.shape)
            store.create_array(name, shape=shape, dtype=array.dtype, axes=("shape", *AXES[name]))
        for index, (uid, arrays) in enumerate(shapes.items()):
            store.write(Row(index, uid, "ball", error="" if arrays else "no surface"), **arrays)
    return str(path)


def ball(row=0, **changes):
    return arrays_of(CENTRES[row], RADII[row], CAMERAS, size=56) | changes


def test_views_are_scaled_and_have_coverage_and_outlines():
    arrays = ball(1)
    found = prepare_views(arrays, 28)
    assert found.pictures.shape == (3, 4, 28, 28) and found.pictures.dtype == np.uint8
    means = arrays["mask"].reshape(3, 28, 2, 28, 2).mean(axis=(2, 4))
    assert np.abs(found.pictures[:, 3] - means).max() <= 0.5
    assert np.abs(found.pictures[:, 0] - means // 2).max() <= 1
    assert np.array_equal(found.cameras, arrays["camera_to_world"])
    assert np.array_equal(found.yfov, arrays["yfov"])
    # Outlines are in pixels of the small images, and negative inside.
    assert found.outlines.dtype == np.float16 and found.outlines.shape == (3, 28, 28)
    clear = np.abs(means - 127.5) > 127
    assert np.array_equal((found.outlines < 0)[clear], (means > 127)[clear])
    assert VisualHull(arrays["mask"], arrays["camera_to_world"], arrays["yfov"]).distance(CENTRES[1:2])[0] < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros((3, 56, 56), np.uint8)}, "view 0: the mask is empty"),
        ({"mask": np.full((3, 56, 56), 255, np.uint8)}, "view 0: the mask is full"),
        (
            {"camera_to_world": np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))},
            "is inside the shape's bounding",
        ),
    ],
)
def test_views_without_an_outline_or_too_near_are_refused(changes, message):
    with pytest.raises(GeometryError, match=message):
        prepare_views(ball(**changes), 28)


def test_shapes_that_cannot_be_used_are_left_out_with_the_reason(tmp_path, caplog):
    empty = ball(mask=np.zeros((3, 56, 56), np.uint8))
    path = write(tmp_path / "v.zarr", {"a": ball(0), "failed": {}, "empty": empty, "b": ball(2)})
    found = read_view_set([path], 28, manifest=None)
    assert [(row.uid, row.index, row.category) for row in found.rows] == [("a", 0, "ball"), ("b", 1, "ball")]
    assert found.arrays.pictures.shape == (2, 3, 4, 28, 28) and found.arrays.yfov.shape == (2, 3)
    assert np.array_equal(found.arrays.outlines[1], prepare_views(ball(2), 28).outlines)
    assert found.history[0] == {"version": "1", "command": "x"} and found.name == path
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "failed: is left out: no surface"
    assert told[1].startswith("empty: is left out: view 0: the mask is empty") and len(told) == 2


def test_fewer_than_two_usable_shapes_are_refused_with_the_first_reason(tmp_path):
    path = write(tmp_path / "v.zarr", {"a": ball(0), "failed": {}})
    message = r"v\.zarr: has 1 usable shape, but training needs two or more \(failed: no surface\)$"
    with pytest.raises(InputError, match=message):
        read_view_set([path], 28, manifest=None)


def test_stores_without_masks_or_with_oblong_images_are_refused(tmp_path):
    path = write(tmp_path / "v.zarr", {"a": ball(0), "b": ball(1)})
    del zarr.open_group(path)["mask"]
    with pytest.raises(
        InputError, match=r"v\.zarr: has views without masks, which are needed; render the meshes"
    ):
        read_view_set([path], 28, manifest=None)
    shapes = {uid: {**ball(), "rgb": ball()["rgb"][:, :40], "mask": ball()["mask"][:, :40]} for uid in "ab"}
    oblong = write(tmp_path / "o.zarr", shapes)
    with pytest.raises(InputError, match=r"o\.zarr: has images of 40×56 pixels; images must be square$"):
        read_view_set([oblong], 28, manifest=None)


@given(st.integers(1, 4), st.integers(1, 9))
def test_repeated_views_are_left_out_again(count, most):
    """As many as there are of them; equal images from other cameras, and others from equal cameras, are kept."""
    arrays = {
        "camera_to_world": np.tile(np.eye(4, dtype=np.float32), (count, 1, 1)),
        "rgb": np.zeros((count, 2, 2, 3), np.uint8),
        "yfov": np.arange(count, dtype=np.float32),
    }
    arrays["camera_to_world"][count // 2 :, 0, 3] = 1
    arrays["rgb"][:] = np.arange(count).reshape(-1, 1, 1, 1)
    repeated = repeat_views(arrays, count + most)
    assert len(repeated["rgb"]) == count + most
    assert np.array_equal(repeated["yfov"], np.arange(count + most) % count)
    for name, array in distinct_views(repeated).items():
        assert np.array_equal(array, arrays[name])
