import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdfkit.errors import GeometryError
from sdfkit.images.silhouettes import (
    mask_distances,
    shrink_masks,
    shrink_outlines,
    shrink_pictures,
    silhouette_overlap,
)

pictures = st.integers(2, 12).flatmap(lambda side: arrays(np.uint8, (2, side, side)))


def disc(size, radius, row=None, column=None):
    """Return which pixel centres lie in a disc."""
    at = np.arange(size) + 0.5
    rows, columns = np.meshgrid(at, at, indexing="ij")
    return np.hypot(rows - (row or size / 2), columns - (column or size / 2)) < radius


@given(pictures, st.integers(1, 30))
def test_shrinking_preserves_the_mean(mask, size):
    small = shrink_pictures(mask[..., None], size)
    assert small.shape == (len(mask), size, size, 1)
    assert small.mean() == pytest.approx(mask.mean(), abs=0.51)


@given(pictures, st.integers(1, 4))
def test_shrinking_by_an_integer_factor_averages_pixels(mask, times):
    large = mask.repeat(times, axis=1).repeat(times, axis=2)
    assert np.array_equal(shrink_pictures(large[..., None], mask.shape[-1])[..., 0], mask)
    assert np.array_equal(shrink_masks(large, mask.shape[-1]), mask >= 127.5)


def test_a_shrunk_pixel_is_set_if_half_of_its_area_is():
    # 7 pixels become 2, each with half of the middle pixel.
    mask = np.zeros((1, 7, 7), dtype=np.uint8)
    mask[0, :, :2] = 255  # 2 of 3.5 columns on the left
    assert shrink_masks(mask, 2).tolist() == [[[True, False], [True, False]]]
    mask[0, :, 1] = 0
    assert not shrink_masks(mask, 2).any()
    # Pixels with a coverage of one half are set.
    assert shrink_masks(np.full((1, 7, 7), 128, dtype=np.uint8), 2).all()


@pytest.mark.parametrize(("side", "size"), [(224, 64), (100, 64), (48, 64)])
def test_shrinking_does_not_move_a_disc(side, size):
    mask = disc(side, 0.3 * side, 0.4 * side, 0.55 * side).astype(np.uint8) * 255
    small = shrink_masks(mask, size)
    expected = disc(size, 0.3 * size, 0.4 * size, 0.55 * size)
    assert np.count_nonzero(small != expected) < 0.01 * size**2
    assert small.mean() == pytest.approx(np.pi * 0.09, rel=0.02)


def test_distances_from_a_disc_agree_with_a_closed_form():
    masks = np.stack([disc(64, 20), disc(64, 11.3)])
    at = np.arange(64) - 31.5
    for distances, radius in zip(mask_distances(masks), (20, 11.3), strict=True):
        assert distances.dtype == np.float32
        assert np.abs(distances - (np.hypot(at[:, None], at) - radius)).max() < 0.75


@pytest.mark.parametrize(("side", "size"), [(224, 56), (100, 64), (48, 64), (64, 64)])
def test_shrunk_outlines_are_distances_in_pixels_of_the_small_image(side, size):
    masks = (disc(side, 0.3 * side)[None] * 255).astype(np.uint8)
    at = np.arange(size) + 0.5 - size / 2
    expected = np.hypot(at[:, None], at) - 0.3 * size
    distances = shrink_outlines(masks, size)
    assert distances.dtype == np.float32 and distances.shape == (1, size, size)
    # The distance of a large pixel is uncertain by 0.75 of its own side.
    assert np.abs(distances[0] - expected).max() < 0.75 * max(1, size / side) + 0.25


def test_shrinking_outlines_needs_an_outline():
    with pytest.raises(GeometryError, match="view 0: the mask is empty"):
        shrink_outlines(np.zeros((1, 8, 8), np.uint8), 4)


@given(arrays(np.bool_, (2, 9, 7)))
def test_inverting_the_mask_negates_the_distances(masks):
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    distances = mask_distances(masks)
    assert np.array_equal(distances < 0, masks)
    assert np.array_equal(mask_distances(~masks), -distances)
    assert np.abs(distances).min() == 0.5
    # No pixel is further from the outline than its neighbour by more than the pixel between them. At the
    # outline itself a distance steps over both halves.
    assert np.abs(np.diff(distances, axis=1)).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("filled", "message"), [(False, "view 1: the mask is empty"), (True, "view 1: the mask is full")]
)
def test_a_mask_needs_an_outline(filled, message):
    masks = np.stack([disc(8, 3), np.full((8, 8), filled)])
    with pytest.raises(GeometryError, match=message):
        mask_distances(masks)


def test_silhouettes_overlap_by_their_mean_iou():
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[:, :2] = True
    half = masks.copy()
    half[1, 1] = False
    known = np.stack([masks, half, ~masks])
    assert np.allclose(silhouette_overlap(masks, known), [1, 0.75, 0])
