"""Every command that writes an output, run again: status 0, nothing to do, and the output as it was."""

import os
import shlex
from pathlib import Path

import pytest
import trimesh

from sdfkit.cli import find_commands
from tests.survival.processes import contents

pytestmark = pytest.mark.slow

ONE, CPU, FP32 = "--jobs 1", "--device cpu", "--device cpu --precision fp32"
LITE = f"--model efficientnet-lite0 {FP32}"
# Each line writes an output; those of one command differ in the kind of output.
LINES = f"""
shapes --category bowl --count 1 --resolution 32 --format ply {ONE} -o made/
shapes --category bowl --count 1 --resolution 32 {ONE} -o made.glb
manifest raw/ -o manifest.json
watertight raw/ --resolution 32 {ONE} -o closed/
watertight raw/s0.ply --resolution 32 {ONE} -o closed.ply
sample-sdf raw/ --points 200 --surface-points 10 {ONE} -o samples.zarr
sample-sdf raw/ --points 200 --surface-points 10 {ONE} -o samples.zarr.zip
render raw/ --views 2 --size 32 --renderer cpu {ONE} -o views.zarr
embed views.zarr {LITE} -o features.zarr
fit-mlp samples.zarr --steps 2 --points 16 {CPU} -o weights.zarr
train-deepsdf samples.zarr --steps 2 --points 16 {FP32} --curve curve.png -o deepsdf.zarr
fit-code samples.zarr --decoder deepsdf.zarr --steps 2 --batch 16 {CPU} -o codes.zarr
compare raw/ raw/ --points 1000 {ONE} -o scores.csv
rank codes.zarr --known deepsdf.zarr -o ranks.zarr
weight-stats weights.zarr -o stats.zarr
weight-stats weights.zarr -o stats.png
view raw/ --size 32 {ONE} -o raw.png
view raw/ --size 32 --views 1 {ONE} -o raw.html
select samples.zarr --first 2 -o few.zarr
select raw/ --first 2 -o few/
select manifest.json --first 2 -o few.json
split samples.zarr --held-out 0.3 -o sets/
split raw/ --held-out 0.3 -o mesh_sets/
split manifest.json --held-out 0.3 -o lists/
cat samples.zarr few.zarr --rename -o all.zarr
cat raw/ made/ -o all/
""".strip().splitlines()
# These print their report again, and leave the output as it was.
REPORTS = {"rank", "weight-stats", "compare"}
# These write no file.
PRINT = {"doctor", "info", "plan"}
# These write by the same code: models, rows as fit-code does, meshes as watertight does, plots as weight-stats does.
ALIKE = {
    "train-ae", "train-dit", "train-flow", "train-recon", "predict", "pose", "mesh", "timestep-loss",
    "perturb",
}  # fmt: skip


def run(line):
    from typer.testing import CliRunner

    from sdfkit.cli import app

    return CliRunner().invoke(app, shlex.split(line), catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which every line has been run."""
    folder, before = tmp_path_factory.mktemp("again"), Path.cwd()
    os.chdir(folder)
    Path("raw").mkdir()
    for number in range(3):
        mesh = trimesh.creation.icosphere(subdivisions=1)
        mesh.apply_scale([1, 0.4 + 0.1 * number, 0.8])
        mesh.export(f"raw/s{number}.ply")
    for line in LINES:
        done = run(line)
        assert done.exit_code == 0, (line, done.stderr)
    yield folder
    os.chdir(before)


def test_every_command_is_here():
    assert {line.split()[0] for line in LINES} | PRINT | ALIKE == {*find_commands()}


@pytest.mark.parametrize("line", LINES)
def test_the_same_command_again_has_nothing_to_do(folder, line):
    before = contents(folder)
    again = run(line)
    assert again.exit_code == 0, again.stderr
    if line.split()[0] not in REPORTS:
        assert "nothing was to be done" in again.stderr
    assert contents(folder) == before
