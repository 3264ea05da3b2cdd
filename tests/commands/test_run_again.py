"""Every command that writes an output, run again: status 0, nothing to do, and the output as it was."""

import dataclasses
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sdfkit.cli import find_commands
from sdfkit.io.stores.writer import create_store
from sdfkit.models.recon import network as recon
from sdfkit.rows import Row
from sdfkit.training.flow import recipes as flow
from tests.survival.processes import contents
from tests.training import octahedra
from tests.training.balls import CONFIG

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
render raw/s0.ply --views 1 --size 32 --renderer cpu {ONE} -o one.zarr
embed views.zarr {LITE} -o features.zarr
fit-mlp samples.zarr --steps 2 --points 16 {CPU} -o weights.zarr
train-deepsdf samples.zarr --epochs 2 --points 16 {FP32} --curve curve.png -o deepsdf.zarr
train-ae solids.zarr --samples samples.zarr --latent 2 --epochs 1 --resolution 16 {FP32} -o ae.zarr
train-dit features.zarr --codes deepsdf.zarr --steps 2 --batch 2 {FP32} -o dit.zarr
train-flow views.zarr --stage encoder --epochs 1 --rays 24 {FP32} -o encoder.zarr
train-recon views.zarr --samples samples.zarr --epochs 1 --batch 2 --points 64 {FP32} -o recon.zarr.zip
predict dit.zarr features.zarr --steps 2 {CPU} -o predicted.zarr
predict encoder.zarr views.zarr {CPU} -o flown.npz
pose one.zarr --lowest 20 --highest 25 --model recon.zarr.zip -o posed.zarr
mesh solids.zarr --resolution 16 {CPU} -o meshes/
timestep-loss dit.zarr features.zarr --views 2 --draws 1 --steps 2 {CPU} -o timesteps.png
perturb solids.zarr --shapes 1 --resolution 16 --sigma 0.1 {CPU} -o noise.png
interpolate deepsdf.zarr --pairs 1 --steps 1 --resolution 16 {CPU} -o paths.zarr
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
REPORTS = {"rank", "weight-stats", "compare", "timestep-loss", "perturb", "interpolate"}
# These write no file.
PRINT = {"doctor", "info", "plan"}
# This needs a network; tests/commands/test_fetch.py has a stand-in.
DOWNLOAD = {"fetch"}


LONGER = {"--steps 2 ": "--steps 3 ", "--epochs 2 ": "--epochs 3 ", "--epochs 1 ": "--epochs 2 "}
TRAININGS = [line for line in LINES if line.startswith("train-")]
assert len(TRAININGS) == 5


def run(line):
    from typer.testing import CliRunner

    from sdfkit.cli import app

    return CliRunner().invoke(app, shlex.split(line), catch_exceptions=False)


def write_solids():
    """Write weights of networks whose surfaces are octahedra, for the commands that need surfaces."""
    rows = [Row(number, f"s{number}") for number in range(3)]
    attributes = {"network": dataclasses.asdict(octahedra.NETWORK)}
    with create_store(
        "solids.zarr", "weights", rows=rows, history=[], settings={}, attributes=attributes, overwrite=False
    ) as store:
        weights = octahedra.octahedra(np.linspace(0.4, 0.7, 3))
        store.create_array("weights", data=weights, axes=("shape", "parameter"))
        for row in rows:
            store.write(row)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Replace the networks of presets by small ones of the same kind."""
    config, decoder = flow.NETWORKS["small"]
    config = dataclasses.replace(config, code=8, channels=(4, 4, 4, 4), hidden=16, width=64, blocks=1)
    decoder = dataclasses.replace(decoder, code=8, hidden=16, layers=2, skip=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(flow.NETWORKS, "small", (config, decoder))
        patch.setitem(recon.PRESETS, "small", CONFIG)
        yield


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
    write_solids()
    for line in LINES:
        done = run(line)
        assert done.exit_code == 0, (line, done.stderr)
    yield folder
    os.chdir(before)


def state(folder, line):
    """Return the names of everything in a folder, and the bytes of the output of a command line."""
    output = folder / line.split()[-1]
    return sorted(folder.iterdir()), contents(output) if output.is_dir() else output.read_bytes()


def test_every_command_is_here():
    assert {line.split()[0] for line in LINES} | PRINT | DOWNLOAD == {*find_commands()}


@pytest.mark.parametrize("line", LINES)
def test_the_same_command_again_has_nothing_to_do(folder, line):
    before = state(folder, line)
    again = run(line)
    assert again.exit_code == 0, again.stderr
    if line.split()[0] not in REPORTS:
        assert "nothing was to be done" in again.stderr
        assert "wrote" not in again.stderr and "copied" not in again.stderr
    assert state(folder, line) == before


@pytest.mark.parametrize("line", TRAININGS, ids=lambda line: line.split()[0])
def test_a_longer_training_goes_on_where_the_shorter_one_has_ended(folder, line):
    words, output = line.rsplit(" ", 1)
    grown = folder / f"grown_{output}"
    (shutil.copytree if Path(output).is_dir() else shutil.copy)(output, grown)
    for shorter, longer in LONGER.items():
        words = words.replace(shorter, longer)
    done = run(f"{words} {grown.name}")
    assert done.exit_code == 0, done.stderr
    assert f"{grown.name}: training on after its " in done.stderr
    assert "nothing was to be done" in run(f"{words} {grown.name}").stderr
    refused = run(f"{line.rsplit(' ', 1)[0]} {grown.name}")
    assert (refused.exit_code, "it was made in another way: " in refused.stderr) == (3, True)
    (shutil.rmtree if grown.is_dir() else os.remove)(grown)
