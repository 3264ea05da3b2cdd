import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdfkit.errors import InputError
from sdfkit.training.samples import SampleChunk, SampleReader
from tests.properties import examples


def shapes(count, near=None, rows=2):
    """Samples whose first coordinate and distance are their index, and whose second coordinate is their shape."""
    places = np.arange(count, dtype=np.float32)
    points = np.stack([np.stack([places, np.full_like(places, row), places], axis=1) for row in range(rows)])
    near = places % 2 == 0 if near is None else near
    return points, np.tile(places, (rows, 1)), np.tile(near, (rows, 1))


def hold(arrays, window=100, memory=sys.maxsize, near=1, others=1, reads=None):
    def read(row, start, stop):
        if reads is not None:
            reads.append((row, start, stop))
        return SampleChunk(*(array[row, start:stop] for array in arrays))

    uids = [f"shape_{row}" for row in range(len(arrays[0]))]
    count = arrays[0].shape[1]
    return SampleReader(read, uids, count, window=window, near=near, others=others, memory=memory)


@examples(30)
@given(st.integers(1, 2000), st.integers(90, 300), st.sampled_from([0, 10_000, sys.maxsize]))
def test_windows_contain_every_sample_once_with_near_samples_first(count, window, memory):
    samples = hold(shapes(count), window, memory, near=0, others=0)
    sizes = np.diff(samples.bounds)
    assert (sizes[:-1] == window).all()
    assert len(sizes) == 1 or window / 2 <= sizes[-1] <= 3 * window / 2
    for row in (1, 0):
        windows = [samples.window(row, index) for index in range(samples.windows)]
        places = np.concatenate([part.distances.numpy() for part in windows])
        assert np.array_equal(np.sort(places), np.arange(count))
        for part in windows:
            assert (part.points[:, 1] == row).all() and (part.points[:, 0] == part.distances).all()
            assert (part.distances[: part.near] % 2 == 0).all()
            assert (part.distances[part.near :] % 2 == 1).all()


def test_samples_are_read_once_if_they_fit_and_otherwise_on_demand():
    reads = []
    held = hold(shapes(400), memory=8 * 1600, reads=reads)
    assert held.in_memory and reads == [(0, 0, 400), (1, 0, 400)]
    reads = []
    streamed = hold(shapes(400), memory=8 * 1600 - 1, reads=reads)
    assert not streamed.in_memory and reads == []
    for index in (0, 1, 0, 2, 3):
        streamed.window(0, index)
    assert reads == [(0, start, start + 100) for start in (0, 100, 200, 300)]


def test_the_cache_is_limited_and_drops_the_least_recently_used_window():
    reads = []
    samples = hold(shapes(400), memory=2 * 1600, reads=reads)
    for index in (0, 1, 0, 2, 0, 1):
        samples.window(1, index)
        assert len(samples.kept) <= 2
    assert [start // 100 for _, start, _ in reads] == [0, 1, 2, 1]


def test_non_finite_samples_are_refused():
    for which, value in ((0, np.nan), (1, np.inf)):
        arrays = [array.copy() for array in shapes(300)]
        arrays[which][1, 250] = value
        with pytest.raises(
            InputError, match=r"^shape_1: a point or distance is not a finite number; sample the shape again$"
        ):
            hold(arrays)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (False, "include no point near the surface, but a training step draws 3"),
        (True, "include no point away from the surface, but"),
    ],
)
def test_a_window_without_near_or_other_points_is_refused(value, message):
    near = np.arange(300) % 2 == 0
    near[100:200] = value
    with pytest.raises(InputError, match=f"^shape_0: samples 100 to 199 {message}"):
        hold(shapes(300, near), near=3, others=3)
    hold(shapes(300, near), near=0 if not value else 3, others=3 if not value else 0)
