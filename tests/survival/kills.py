"""Kill every command at its writes, run the same command again, and compare with an undisturbed run.

    python -m tests.survival.kills [--most N | --random N] [--input NAME ...] [COMMAND ...]

Prints a row for each command: its writes, the kills, and how many of the second runs ended with another result, were
refused, or left something behind. Status 1 if there is any. The folder and its name are the same for all runs, because
the history of an output records the command line. With --random, a command is killed at random times: in turn its first
process, all of its processes, and one of its workers, if it has any at that moment.
"""

import argparse
import contextlib
import math
import os
import pkgutil
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import trimesh

import sdfkit
from sdfkit import cli
from tests.survival.processes import Outcome, contents, copied, processes_of, run, wait_until_gone

ONE, CPU, FP32 = "--jobs 1", "--device cpu", "--device cpu --precision fp32"
# The inputs, made once.
INPUTS = f"""
sample-sdf in/ --points 100 --surface-points 10 {ONE} -o samples.zarr
render in/ --views 2 --size 32 --renderer cpu {ONE} -o views.zarr
embed views.zarr --model efficientnet-lite0 {FP32} -o features.zarr
fit-mlp samples.zarr --steps 2 --points 16 {CPU} -o weights.zarr
train-deepsdf samples.zarr --steps 300 --points 64 {FP32} -o deepsdf.zarr
train-dit features.zarr --codes deepsdf.zarr --steps 2 --batch 2 {FP32} -o dit.zarr
train-recon views.zarr --samples samples.zarr --steps 1 --batch 2 --points 64 {FP32} -o recon.zarr
predict dit.zarr features.zarr --steps 2 {CPU} -o codes.zarr
select codes.zarr --uid s1 -o code.zarr
mesh deepsdf.zarr --resolution 24 {CPU} -o meshes/
"""
# The command lines that are killed, by a name for the table. A line that begins with + replaces an older output; of two
# lines with => between them, the second one adds to the output of the first one.
LINES = f"""
shapes: shapes --category bowl --count 2 --resolution 32 --format ply {ONE} -o out/
manifest: manifest in/ -o out.json
watertight: watertight in/ --resolution 32 {ONE} -o out/
watertight, one file: watertight in/s0.ply --resolution 32 {ONE} -o out.ply
watertight --overwrite: + watertight in/ --resolution 32 {ONE} -o out/ --overwrite
sample-sdf: sample-sdf in/ --points 100 --surface-points 10 {ONE} -o out.zarr
sample-sdf --overwrite: + sample-sdf in/ --points 100 --surface-points 10 {ONE} -o out.zarr --overwrite
sample-sdf, one more: sample-sdf in/s1.ply in/s2.ply --points 100 --surface-points 10 {ONE} -o out.zarr => \
sample-sdf in/ --points 100 --surface-points 10 {ONE} -o out.zarr
sample-sdf, zip: sample-sdf in/ --points 100 --surface-points 10 {ONE} -o out.zarr.zip
sample-sdf, URL: sample-sdf in/ --points 100 --surface-points 10 {ONE} -o local://HERE/out.zarr
select: select samples.zarr --count 2 -o out.zarr
select, meshes: select in/ --count 2 -o out/
split: split samples.zarr --held-out 0.4 -o out/
cat: cat samples.zarr -o out.zarr
cat, pictures: cat views.zarr -o out/
render: render in/ --views 2 --size 32 --renderer cpu {ONE} -o out.zarr
render, pictures: render in/ --views 2 --size 32 --renderer cpu {ONE} -o out/
embed: embed views.zarr --model efficientnet-lite0 {FP32} -o out.zarr
fit-mlp: fit-mlp samples.zarr --steps 2 --points 16 --batch 2 {CPU} -o out.zarr
fit-code: fit-code samples.zarr --decoder deepsdf.zarr --steps 2 --batch 16 {CPU} -o out.zarr
train-deepsdf: train-deepsdf samples.zarr --steps 3 --points 16 {FP32} -o out.zarr
train-deepsdf, zip: train-deepsdf samples.zarr --steps 3 --points 16 {FP32} -o out.zarr.zip
train-deepsdf, more steps: train-deepsdf samples.zarr --steps 2 --points 16 {FP32} -o out.zarr => \
train-deepsdf samples.zarr --steps 4 --points 16 {FP32} -o out.zarr
train-deepsdf --overwrite: + train-deepsdf samples.zarr --steps 3 --points 16 {FP32} -o out.zarr --overwrite
train-ae: train-ae weights.zarr --latent 4 --epochs 2 --batch 2 --resolution 8 {FP32} -o out.zarr
train-dit: train-dit features.zarr --codes deepsdf.zarr --steps 2 --batch 2 {FP32} -o out.zarr
train-flow: train-flow views.zarr --stage encoder --steps 1 --batch 2 --rays 8 {FP32} -o out.zarr
train-flow, all stages: train-flow views.zarr --steps 1 --batch 2 --rays 8 {FP32} -o out.zarr
train-recon: train-recon views.zarr --samples samples.zarr --steps 2 --batch 2 --points 64 {FP32} -o out.zarr
train-deepsdf, curve: train-deepsdf samples.zarr --steps 3 --points 16 --curve out.png {FP32} -o out.zarr
predict: predict dit.zarr features.zarr --steps 2 {CPU} -o out.zarr
predict, grids: predict recon.zarr views.zarr {CPU} -o out.zarr
pose: pose views.zarr --model recon.zarr -o out.zarr
mesh: mesh deepsdf.zarr --resolution 24 {CPU} -o out/
mesh, one file: mesh code.zarr --decoder deepsdf.zarr --resolution 24 {CPU} -o out.ply
rank: rank codes.zarr -o out.zarr
rank, plot: rank codes.zarr -o out.png
interpolate: interpolate deepsdf.zarr --pairs 1 --steps 1 --resolution 16 {CPU} -o out.zarr
weight-stats: weight-stats weights.zarr -o out.zarr
perturb: perturb weights.zarr --resolution 16 --sigma 0.1 {CPU} -o out.png
timestep-loss: timestep-loss dit.zarr features.zarr --views 2 --steps 2 {CPU} -o out.png
compare: compare meshes/ in/ --points 1000 {ONE} -o out.csv
compare, page: compare meshes/ in/ --points 1000 {ONE} -o out.html
view: view in/ --size 32 {ONE} -o out.png
view, page: view in/ --size 32 {ONE} -o out.html
watertight, workers: watertight in/ --resolution 32 --jobs 2 -o out/
sample-sdf, workers: sample-sdf in/ --points 100 --surface-points 10 --jobs 2 -o out.zarr
render, workers: render in/ --views 2 --size 32 --renderer cpu --jobs 2 -o out.zarr
compare, workers: compare meshes/ in/ --points 1000 --jobs 2 -o out.csv
"""


class Row(NamedTuple):
    """A row of the table."""

    name: str
    writes: int
    kills: int
    differ: int
    refused: int
    left: int

    @property
    def is_good(self) -> bool:
        return not (self.differ or self.refused or self.left)


class Kills(NamedTuple):
    """When to kill: at every write or at most at so many evenly spaced ones, or a number of times at random moments."""

    most: int = 0
    random: int = 0


VICTIMS = ("parent", "group", "worker")


class Moment(NamedTuple):
    """A kill: before a write, or some seconds after the start."""

    write: int = 0
    seconds: float = 0.0
    victim: str = "parent"

    def kill(self, child: int) -> list[int]:
        """Kill a running command after the seconds, and return what still runs of it a while later."""
        time.sleep(self.seconds)
        others = [process for process in processes_of(child) if process != child]
        if self.victim == "worker" and others:
            # Others end by themselves, and the command goes on or ends.
            _signal(random.Random(self.seconds).choice(others))
            return []
        for process in [child, *(others if self.victim == "group" else [])]:
            _signal(process)
        return [process for process in wait_until_gone(child, 30) if process != child]


def _signal(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def warm_up() -> None:
    """Import everything once, so that the children need not."""
    for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit."):
        if module.name != "sdfkit.__main__":
            import_module(module.name)


def set_up() -> None:
    """Make a training save its state after every step, and local:// folders, as buckets have none."""
    import fsspec

    from sdfkit.runtime import training_loop

    training_loop.MINUTES_BETWEEN_SAVES = -1.0
    fsspec.config.conf["file"] = {"auto_mkdir": True}


def make_inputs(folder: Path, wanted: Collection[str] | None) -> None:
    """Write three meshes, and the wanted outputs of INPUTS; None for all."""
    (folder / "in").mkdir(parents=True)
    for number in range(3):
        mesh = trimesh.creation.icosphere(subdivisions=1)
        mesh.apply_scale([1, 0.4 + 0.1 * number, 0.8])
        mesh.export(folder / f"in/s{number}.ply")
    for line in INPUTS.strip().splitlines():
        words = shlex.split(line)
        if wanted is None or words[-1] in wanted:
            _expect(run(words, folder), words)


def lines(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the name and the words of each line, and those of the command that makes the older output, if any.

    Args:
        folder: The folder of all runs, for HERE in a URL.
    """
    for line in LINES.strip().replace("HERE", str(folder)).splitlines():
        name, _, rest = line.partition(": ")
        first, _, second = rest.partition(" => ")
        words, older = shlex.split(second or first.removeprefix("+ ")), shlex.split(first) if second else []
        if first.startswith("+ "):
            older = [*words, *(["--resolution", "24"] if words[0] == "watertight" else ["--seed", "5"])]
        yield name, words, older


def sweep(name: str, words: list[str], base: Path, place: Path, kills: Kills, *, older: list[str]) -> Row:
    """Kill runs of one command, each at another moment, and run it again after each.

    Args:
        name: Its name in the table.
        words: Its words.
        base: Folder with the inputs.
        place: Folder for the runs.
        kills: When to kill.
        older: Words of the command that makes an older output before the first run; empty for none.
    """
    found: Counter[str] = Counter()
    if older:
        _expect(run(older, base, prepare=set_up), words)
    with copied(base, place) as folder:
        _load_kernels(words, folder)
    with copied(base, place) as folder:
        began = time.monotonic()
        undisturbed = _expect(run(words, folder, prepare=set_up), words)
        seconds = time.monotonic() - began
        expected = contents(folder)
    if kills.random:
        moments: Sequence[Moment] = [
            Moment(seconds=random.Random(number).uniform(0, seconds), victim=VICTIMS[number % len(VICTIMS)])
            for number in range(kills.random)
        ]
    else:
        apart = math.ceil(undisturbed.writes / kills.most) if kills.most else 1
        moments = [Moment(write=write) for write in range(1, undisturbed.writes + 1, apart)]
    for moment in moments:
        with copied(base, place) as folder:
            stay = _killed(words, folder, moment)
            again = run(words, folder, prepare=set_up)
            result = contents(folder)
        if again.status:
            found["refused"] += 1
            sys.stderr.write(f"{name}, killed at {moment}: {again.messages[-300:]}\n")
        elif result != expected:
            more, fewer = sorted(set(result) - set(expected)), sorted(set(expected) - set(result))
            differ = [path for path in result if path in expected and result[path] != expected[path]]
            found["left" if more and not (fewer or differ) else "differ"] += 1
            sys.stderr.write(
                f"{name}, killed at {moment}: more {more[:4]}, fewer {fewer[:4]}, other {differ[:4]}\n"
            )
        if stay:
            found["left"] += 1
            sys.stderr.write(f"{name}, killed at {moment}: processes {stay} still run\n")
    if older:
        output = base / words[words.index("-o") + 1]
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    return Row(name, undisturbed.writes, len(moments), found["differ"], found["refused"], found["left"])


def _load_kernels(words: list[str], folder: Path) -> None:
    """Run a command in this process, so that the children inherit the compiled code that it loads.

    One with workers is left out: they load the code themselves, and children cannot share the server that forks them.
    """
    from typer.testing import CliRunner

    if "--jobs 2" in " ".join(words):
        return
    here = Path.cwd()
    os.chdir(folder)
    try:
        CliRunner().invoke(cli.app, words)
    finally:
        os.chdir(here)


def _killed(words: list[str], folder: Path, moment: Moment) -> list[int]:
    """Run a command, kill it at the moment, and return the processes that stay."""
    stay: list[int] = []
    disturb = None if moment.write else lambda child: stay.extend(moment.kill(child))
    run(words, folder, kill_at=moment.write, prepare=set_up, disturb=disturb)
    return stay


def _expect(outcome: Outcome, words: list[str]) -> Outcome:
    if outcome.status:
        sys.exit(f"{shlex.join(words)}\nended with status {outcome.status}:\n{outcome.messages}")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--most", type=int, default=0, help="kill at so many writes at most; default: at every one"
    )
    parser.add_argument("--random", type=int, default=0, help="kill so many times at random moments instead")
    parser.add_argument("--input", action="append", help="make only this input; repeat for several")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    warm_up()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        base = Path(place).resolve() / "base"
        make_inputs(base, options.input)
        sys.stdout.write(
            "| command | writes | kills | different | refused | left behind |\n|---|---|---|---|---|---|\n"
        )
        for name, words, older in lines(base.parent / "run"):
            if not options.names or name in options.names:
                row = sweep(name, words, base, base.parent, Kills(options.most, options.random), older=older)
                sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")
                sys.stdout.flush()
                rows.append(row)
    sys.exit(not all(row.is_good for row in rows))


if __name__ == "__main__":
    main()
