"""`sdfkit compare -o`: a page with the meshes of the worst pairs, and plots."""

import pytest
import trimesh
from PIL import Image

from sdfkit.io.meshes.writer import create_meshes
from sdfkit.rows import Row
from tests.commands.view_files import EVIL, content_of, frames_of

RADII = {"good": 1.0, EVIL: 0.5, "missing": None, "flat": 0.0}


@pytest.fixture
def folders(tmp_path):
    """True spheres of radius 1, and predictions: a good one, a small one, none, and one without a surface."""
    rows = [Row(index, uid) for index, uid in enumerate(RADII)]
    for name in ("truth", "predicted"):
        path = f"{tmp_path}/{name}/"
        with create_meshes(path, len(rows), settings={}, seed=None, kind="ply", overwrite=False) as meshes:
            for row in rows:
                radius = 1.0 if name == "truth" else RADII[row.uid]
                if radius is not None:
                    ball = trimesh.creation.icosphere(2)
                    meshes.write(row, mesh=ball.apply_scale(radius))
    return tmp_path / "predicted", tmp_path / "truth"


def test_a_page_shows_every_pair_the_worst_first(sdfkit, folders, tmp_path):
    line = ("compare", *folders, "--points", 1000, "--jobs", 1)
    done = sdfkit(*line, "-o", tmp_path / "report.html")
    assert done.exit_code == 0, done.stderr
    content = content_of(tmp_path / "report.html")
    table = content["table"]
    rows = {row[0]: row for row in table["rows"]}
    assert [row[0] for row in table["rows"]][2:] == [EVIL, "good"]
    assert {row[0] for row in table["rows"]} == {*RADII}
    assert [column["kind"] for column in table["columns"]] == ["text", "cells", *["number"] * 6]
    cells = {uid: {cell["column"]: cell for cell in row[1]} for uid, row in rows.items()}
    assert cells["missing"]["prediction"]["error"] == "not predicted"
    assert cells["flat"]["prediction"]["error"] == "no surface"
    modelled = {(uid, name) for uid, row in cells.items() for name, cell in row.items() if "model" in cell}
    assert modelled == {(uid, "truth") for uid in RADII} | {(EVIL, "prediction"), ("good", "prediction")}
    assert cells[EVIL]["prediction"]["model"]["distance"]["largest"] == pytest.approx(0.5, rel=0.02)
    assert content["notes"][1].startswith("In 3-D, all ")
    true, small = (frames_of(cells[EVIL][name]["film"])[:, :, :, 3] > 127 for name in ("truth", "prediction"))
    # Both are drawn in the frame of the truth.
    assert small.sum() / true.sum() == pytest.approx(0.25 * (2.6**2 - 1) / (2.6**2 - 0.25), rel=0.05)
    assert content["texts"] and "".join(content["texts"]) in done.stdout.replace("\n\n", "")
    assert table["below"][0].startswith("Meshes are compared in")
    assert sdfkit(*line, "-o", tmp_path / "scores.png").exit_code == 0
    with Image.open(tmp_path / "scores.png") as picture:
        assert picture.width == 2400
