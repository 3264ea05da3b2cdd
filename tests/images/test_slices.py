"""Slices through samples of a ball."""

import numpy as np
import pytest

from sdfkit.errors import GeometryError
from sdfkit.images.slices import draw_slices


def ball(count, centre=(0, 0, 0), radius=0.5):
    point = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
    distance = np.linalg.norm(point - np.asarray(centre, np.float32), axis=1) - np.float32(radius)
    return point, distance


def is_blue(pictures):
    return pictures[..., 2] > pictures[..., 0]


def test_slices_of_a_ball_are_discs_of_the_right_size():
    pictures = draw_slices(*ball(150_000), slices=3)
    assert pictures.shape == (3, 64, 64, 3)
    # At z = -0.5, where it ends, at its middle, and at the front end.
    area = is_blue(pictures).sum(axis=(1, 2)) * (2 / 64) ** 2
    assert area[1] == pytest.approx(np.pi / 4, rel=0.03)
    assert area[0] < 0.1
    assert area[2] < 0.1


def test_slices_have_up_at_the_top_and_the_front_last():
    pictures = draw_slices(*ball(150_000, centre=(0.4, 0.5, 0.45), radius=0.3), slices=3)
    areas = is_blue(pictures).sum(axis=(1, 2))
    assert areas.argmax() == 2
    rows, columns = np.nonzero(is_blue(pictures[2]))
    assert columns.mean() / 32 - 1 == pytest.approx(0.4, abs=0.05)
    assert 1 - rows.mean() / 32 == pytest.approx(0.5, abs=0.05)


def test_few_samples_still_fill_the_image():
    (picture,) = draw_slices(*ball(500), slices=1)
    assert is_blue(picture[24:40, 24:40]).mean() > 0.8
    assert not is_blue(picture[:8]).any()


def test_samples_that_cannot_be_drawn_are_refused():
    point, distance = ball(10)
    with pytest.raises(GeometryError, match="^no sample lies in the cube from -1 to 1"):
        draw_slices(point + 3, distance, slices=1)
    distance[3] = np.nan
    with pytest.raises(GeometryError, match="^some samples are not finite numbers; sample the shape again"):
        draw_slices(point, distance, slices=1)
