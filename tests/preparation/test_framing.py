"""The unit frame of a row: warnings, and specks that are left out only when asked."""

import logging

import numpy as np
import pytest
import trimesh
from trimesh.creation import icosphere, torus

from sdfkit.geometry.frame import normalise
from sdfkit.preparation.framing import make_frame

RING = torus(1, 0.3)


def with_speck():
    return trimesh.util.concatenate([icosphere(1, 0.01).apply_translation((260, 0, 0)), RING])


def test_a_speck_is_kept_and_reported_in_one_line(caplog):
    with caplog.at_level(logging.WARNING):
        frame = make_frame(with_speck(), "ring")
    assert len(frame.unit.faces) == len(RING.faces) + 80
    assert frame.kept.all() and frame.specks == {"count": 0, "largest": 0.0}
    (line,) = caplog.messages
    assert line == (
        "ring: 99.99 % of the area extends over 3.73 and the whole shape over 261, so that most of the resolution is "
        "lost; remove the rest with --drop-specks"
    )


def test_a_dropped_speck_leaves_the_frame_of_the_rest(caplog):
    with caplog.at_level(logging.WARNING):
        frame = make_frame(with_speck(), "ring", drop_specks=True)
    alone, to_original = normalise(RING)
    assert np.allclose(frame.unit.vertices, alone.vertices, rtol=0, atol=1e-12)
    assert np.allclose(frame.to_original, to_original)
    assert frame.kept.tolist() == [False] * 80 + [True] * len(RING.faces)
    diagonal = np.linalg.norm(icosphere(1, 0.01).extents)
    assert frame.specks == {"count": 1, "largest": pytest.approx(diagonal)}
    assert caplog.messages == [f"ring: dropped 1 speck, at most {diagonal:.3g} wide"]


@pytest.mark.parametrize("drop_specks", [False, True])
def test_nothing_is_said_about_a_shape_that_fits_its_frame(caplog, drop_specks):
    with caplog.at_level(logging.WARNING):
        frame = make_frame(RING, "ring", drop_specks=drop_specks)
    assert frame.kept.all() and frame.specks["count"] == 0
    assert not caplog.messages
