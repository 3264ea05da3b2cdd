"""Samples of the shapes of another input: order, missing shapes, other mesh files."""

import dataclasses

import numpy as np
import pytest
import torch

from sdfkit.errors import InputError
from sdfkit.io.stores.contents.samples import open_samples_of
from sdfkit.io.stores.writer import create_store
from sdfkit.rows import Row
from sdfkit.training.run import open_device_context
from tests.training.balls import CENTRES, RADII, SETTINGS, samples_of

CPU = open_device_context("cpu", "fp32")


def row(index, name, **columns):
    return Row(index, name, **{"origin": name * 16} | columns)


def write(path, rows):
    """Write samples of balls; the name of a shape, a to e, determines its ball."""
    with create_store(str(path), "samples", rows=rows, history=[], settings={}, overwrite=False) as store:
        for name, shape, dtype in (
            ("point", (600, 3), "f4"),
            ("distance", (600,), "f4"),
            ("near", (600,), "?"),
        ):
            axes = ("shape", "sample", "xyz")[: 1 + len(shape)]
            store.create_array(name, shape=(len(rows), *shape), dtype=dtype, axes=axes)
        for one in rows:
            place = "abcde".index(one.uid)
            arrays = dict(
                zip(("point", "distance", "near"), samples_of(CENTRES[place], RADII[place], 600), strict=True)
            )
            store.write(one, **({} if one.error else arrays))
    return str(path)


def read(path, shapes):
    with open_samples_of(shapes, "the views of v.zarr", path, SETTINGS, CPU) as known:
        parts = [known.samples.window(index, 0).distances for index in range(len(known.rows))]
        return known, parts


@pytest.mark.parametrize("name", ["s.zarr", "s.zarr.zip"])
def test_samples_are_those_of_the_shapes_whatever_the_order(tmp_path, name):
    path = write(tmp_path / name, [row(index, uid) for index, uid in enumerate("dbca")])
    shapes = [row(index, uid) for index, uid in enumerate("abcd")]
    known, parts = read(path, shapes)
    # In the order of the samples; `index` is the position among the given shapes.
    assert [(one.uid, one.index) for one in known.rows] == [("d", 3), ("b", 1), ("c", 2), ("a", 0)]
    assert all(shapes[one.index].uid == one.uid for one in known.rows)
    for one, distances in zip(known.rows, parts, strict=True):
        truth = samples_of(CENTRES[one.index], RADII[one.index], 600).distances
        assert torch.equal(distances.sort().values, torch.from_numpy(np.sort(truth)))


def test_shapes_without_samples_are_left_out_with_a_warning(tmp_path, caplog):
    path = write(
        tmp_path / "s.zarr", [row(0, "a"), row(1, "b", error="no surface"), row(2, "e"), row(3, "c")]
    )
    known, parts = read(path, [row(index, uid) for index, uid in enumerate("abcd")])
    assert [(one.uid, one.index) for one in known.rows] == [("a", 0), ("c", 2)] and len(parts) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 4 shapes have no samples and are left out"
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_shapes_are_refused(tmp_path, count):
    path = write(tmp_path / "s.zarr", [row(index, uid) for index, uid in enumerate("abc")])
    shapes = [row(0, "a"), row(1, "x"), row(2, "y")][1 - count :]
    message = rf"s\.zarr: has samples of {count} shapes? of the views of v\.zarr, but training needs two or more; the "
    with pytest.raises(InputError, match=message + "same uids are needed in both$"):
        read(path, shapes)


def test_samples_of_other_mesh_files_are_refused(tmp_path):
    path = write(tmp_path / "s.zarr", [row(index, uid) for index, uid in enumerate("abc")])
    shapes = [row(0, "a"), dataclasses.replace(row(1, "b"), origin="f" * 16), row(2, "c")]
    with pytest.raises(
        InputError, match=r"^b: the views of v\.zarr were made from another mesh file than the samples"
    ):
        read(path, shapes)
    # Without origins, nothing is known.
    plain = [dataclasses.replace(shape, origin="") for shape in shapes]
    assert len(read(path, plain)[0].rows) == 3
