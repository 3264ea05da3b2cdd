"""Kill every command at its writes, run the same command again, and compare with an undisturbed run.

    python -m tests.survival.kills [--every N] [--input NAME ...] [COMMAND ...]

Prints a row for each command: its writes, the kills, and how many of the second runs ended with another result, were
refused, or left something behind. Status 1 if there is any. The folder and its name are the same for all runs, because
the history of an output records the command line.
"""

import argparse
import os
import pkgutil
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import trimesh

import sdfkit
from tests.survival.processes import Outcome, contents, copied, run

ONE, CPU, FP32 = "--jobs 1", "--device cpu", "--device cpu --precision fp32"
# The inputs, made once.
INPUTS = f"""
sample-sdf in/ --points 100 --surface-points 10 {ONE} -o samples.zarr
render in/ --views 2 --size 32 --renderer cpu {ONE} -o views.zarr
embed views.zarr --model efficientnet-lite0 {FP32} -o features.zarr
fit-mlp samples.zarr --steps 2 --points 16 {CPU} -o weights.zarr
train-deepsdf samples.zarr --steps 300 --points 64 {FP32} -o deepsdf.zarr
train-dit features.zarr --codes deepsdf.zarr --steps 2 --batch 2 {FP32} -o dit.zarr
predict dit.zarr features.zarr --steps 2 {CPU} -o codes.zarr
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
render: render in/ --views 2 --size 32 --renderer cpu {ONE} -o out.zarr
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
predict: predict dit.zarr features.zarr --steps 2 {CPU} -o out.zarr
mesh: mesh deepsdf.zarr --resolution 24 {CPU} -o out/
rank: rank codes.zarr -o out.zarr
weight-stats: weight-stats weights.zarr -o out.zarr
compare: compare meshes/ in/ --points 1000 {ONE} -o out.csv
view: view in/ --size 32 {ONE} -o out.png
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


def warm_up() -> None:
    """Import everything once, so that the children need not."""
    for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit."):
        if module.name != "sdfkit.__main__":
            import_module(module.name)


def save_always() -> None:
    """Make a training save its state after every step."""
    from sdfkit.runtime import training_loop

    training_loop.MINUTES_BETWEEN_SAVES = -1.0


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


def lines() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the name and the words of each line, and those of the command that makes the older output, if any."""
    for line in LINES.strip().splitlines():
        name, _, rest = line.partition(": ")
        first, _, second = rest.partition(" => ")
        words, older = shlex.split(second or first.removeprefix("+ ")), shlex.split(first) if second else []
        if first.startswith("+ "):
            older = [*words, *(["--resolution", "24"] if words[0] == "watertight" else ["--seed", "5"])]
        yield name, words, older


def sweep(name: str, words: list[str], base: Path, place: Path, every: int, *, older: list[str]) -> Row:
    """Kill one command at every N-th of its writes, and run it again.

    Args:
        name: Its name in the table.
        words: Its words.
        base: Folder with the inputs.
        place: Folder for the runs.
        every: Kill at every N-th write.
        older: Words of the command that makes an older output before the first run; empty for none.
    """
    found: Counter[str] = Counter()
    if older:
        _expect(run(older, base, prepare=save_always), words)
    with copied(base, place) as folder:
        undisturbed = _expect(run(words, folder, prepare=save_always), words)
        expected = contents(folder)
    kills = range(1, undisturbed.writes + 1, every)
    for number in kills:
        with copied(base, place) as folder:
            run(words, folder, kill_at=number, prepare=save_always)
            again = run(words, folder, prepare=save_always)
            result = contents(folder)
        if again.status:
            found["refused"] += 1
            sys.stderr.write(f"{name}, killed at write {number}: {again.messages[-300:]}\n")
        elif result != expected:
            more, fewer = sorted(set(result) - set(expected)), sorted(set(expected) - set(result))
            differ = [path for path in result if path in expected and result[path] != expected[path]]
            found["left" if more and not (fewer or differ) else "differ"] += 1
            sys.stderr.write(
                f"{name}, killed at write {number}: more {more[:4]}, fewer {fewer[:4]}, other {differ[:4]}\n"
            )
    if older:
        import shutil

        output = base / words[words.index("-o") + 1]
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    return Row(name, undisturbed.writes, len(kills), found["differ"], found["refused"], found["left"])


def _expect(outcome: Outcome, words: list[str]) -> Outcome:
    if outcome.status:
        sys.exit(f"{shlex.join(words)}\nended with status {outcome.status}:\n{outcome.messages}")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
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
        for name, words, older in lines():
            if not options.names or name in options.names:
                row = sweep(name, words, base, base.parent, options.every, older=older)
                sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")
                sys.stdout.flush()
                rows.append(row)
    sys.exit(not all(row.is_good for row in rows))


if __name__ == "__main__":
    main()
