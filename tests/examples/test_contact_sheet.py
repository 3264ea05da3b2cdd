"""The contact sheet of the examples: each shape beside its prediction, or the reason why there is none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

PATH = Path(__file__).parents[2] / "examples/contact_sheet.py"


@pytest.mark.slow
def test_shapes_are_drawn_beside_their_predictions(tmp_path):
    for folder, names in {"closed": ("a", "b"), "predicted": ("a",)}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            trimesh.creation.icosphere(subdivisions=2).export(tmp_path / folder / f"{name}.ply")
    command = [
        sys.executable,
        str(PATH),
        "closed/",
        "predicted/",
        "-o",
        "x.png",
        "--size",
        "64",
        "--columns",
        "1",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "2 shapes drawn to x.png\n"
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB")).astype(int)
    # Pictures of 64 pixels begin at row 29 and column 12, with a seam of 2 pixels and lines of 110 pixels.
    tiles = [[pixels[29 + 110 * y :][:64, 12 + 66 * x :][:, :64] for x in (0, 1)] for y in (0, 1)]
    share = [[float((tile.max(axis=-1) < 230).mean()) for tile in row] for row in tiles]
    assert min(share[0] + share[1][:1]) > 0.5
    missing = tiles[1][1]
    assert share[1][1] < 0.2
    assert (missing[..., 0] - missing[..., 1] > 80).any(), "the reason is written in red"
    assert (pixels[93:110] < 200).any(), "names stand below"
