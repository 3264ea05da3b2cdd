import pytest
import trimesh

from sdfkit.inference.comparison.scores import compare
from sdfkit.io.meshes.reader import open_meshes
from sdfkit.runtime.pool import PoolOptions

HERE = PoolOptions(1, 60, None, fail_fast=True)


def test_folders_can_be_compared_from_python(tmp_path):
    for name, radii in {"truth": (1, 0.8), "predicted": (1, 0.7)}.items():
        (tmp_path / name).mkdir()
        for index, radius in enumerate(radii):
            trimesh.creation.icosphere(3, radius).export(tmp_path / name / f"ball_{index}.ply")
    with (
        open_meshes([str(tmp_path / "predicted")], manifest=None) as predicted,
        open_meshes([str(tmp_path / "truth")], manifest=None) as truths,
    ):
        result = compare(predicted, truths, points=5000, pool=HERE)
    assert (result.pairing, result.level, result.scored, result.failed) == ("uid", None, 2, set())
    first, second = (shape["predictions"][0] for shape in result.shapes.values())
    assert first["iou"] == 1
    assert second["iou"] == pytest.approx((0.7 / 0.8) ** 3, abs=0.03)
    assert second["volume_ratio"] == pytest.approx((0.7 / 0.8) ** 3, abs=0.03)
