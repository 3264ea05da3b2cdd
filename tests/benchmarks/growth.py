"""Measure time a row and peak memory of every command that works by row, for more and more rows.

    python -m tests.benchmarks.growth [--rows 100 1000 10000] [--only STAGE ...]

The shapes are balls of 80 faces, and the settings are the smallest ones, so that what is measured is the cost of a row
itself. A line of several commands is a pipe. Time a row is the difference of the CPU seconds of two sizes divided by
that of their rows, so starting the programs is not part of it.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from sdfkit.report.tables import format_table

CPU = "--device cpu"
# By name, in the order of the runs: later stages read what earlier ones wrote.
STAGES = {
    "manifest": "manifest in/ -o manifest.json",
    "watertight": "watertight in/ --resolution 16 --jobs 1 -o closed/",
    "sample-sdf": "sample-sdf in/ --points 512 --surface-points 0 --jobs 1 -o samples.zarr",
    "watertight | sample-sdf": "watertight in/ --resolution 16 --jobs 1 | "
    "sample-sdf --points 512 --surface-points 0 --jobs 1 -o piped.zarr",
    "render": "render in/ --views 1 --size 56 --renderer cpu --jobs 1 -o views.zarr",
    "embed": f"embed views.zarr --model efficientnet-lite0 {CPU} -o features.zarr",
    "render | embed": "render in/ --views 1 --size 56 --renderer cpu --jobs 1 | "
    f"embed --model efficientnet-lite0 {CPU} -o piped_features.zarr",
    "select": "select samples.zarr --share 0.9 -o selected.zarr",
    "cat | info": "cat samples.zarr selected.zarr --rename | info",
    "split": "split samples.zarr --held-out 0.2 -o sets/",
    "fit-mlp": f"fit-mlp samples.zarr --steps 2 --points 16 {CPU} -o weights.zarr",
    "weight-stats": "weight-stats weights.zarr",
    "train-deepsdf": f"train-deepsdf samples.zarr --steps 2 --points 16 {CPU} -o deepsdf.zarr",
    "fit-code": f"fit-code samples.zarr --decoder deepsdf.zarr --steps 2 --batch 16 {CPU} -o codes.zarr",
    "train-dit": f"train-dit features.zarr --codes deepsdf.zarr --steps 2 --batch 2 {CPU} -o dit.zarr",
    "predict": f"predict dit.zarr features.zarr --steps 2 {CPU} -o predicted.zarr",
    "rank": "rank predicted.zarr",
    "mesh": f"mesh predicted.zarr --decoder deepsdf.zarr --resolution 16 {CPU} -o meshes/",
    "compare": "compare closed/ in/ --points 1000 --jobs 1",
    "view": "view in/ --size 32 --jobs 1 -o sheet.png",
}


class Cost(NamedTuple):
    """CPU seconds and peak memory in MB of a stage; of a pipe, the sum of the seconds and the greatest memory."""

    seconds: float
    memory: float


def measure(line: str, folder: Path) -> Cost:
    """Run the commands of a pipe, and measure them together with their workers."""
    commands = line.split(" | ")
    children: list[subprocess.Popen[bytes]] = []
    for number, command in enumerate(commands):
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "sdfkit", "--quiet", *shlex.split(command)],
                cwd=folder,
                stdin=children[-1].stdout if number else subprocess.DEVNULL,
                stdout=subprocess.PIPE if number < len(commands) - 1 else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(os.environ) | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            )
        )
        if number:
            stdout = children[-2].stdout
            assert stdout is not None
            stdout.close()
    seconds, memory = 0.0, 0.0
    for child in children:
        stderr = child.stderr
        assert stderr is not None
        messages = stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        # Untrained networks may have no surface: such rows fail, which costs as much.
        if child.returncode not in (0, 4):
            sys.exit(f"{line}: status {child.returncode}\n{messages.decode()[-2000:]}")
        seconds += used.ru_utime + used.ru_stime
        memory = max(memory, used.ru_maxrss / 1024)
    return Cost(seconds, memory)


def make_meshes(folder: Path, count: int) -> None:
    (folder / "in").mkdir(parents=True)
    heights = np.random.default_rng(0).uniform(0.3, 1, count)
    for number, height in enumerate(heights):
        mesh = trimesh.creation.icosphere(subdivisions=1)
        mesh.apply_scale([1, height, 0.8])
        mesh.export(folder / f"in/s{number:05}.ply")


def count_files(path: Path, rows: int) -> float:
    """Return the number of files of an output for each of its rows."""
    return sum(len(files) for _, _, files in os.walk(path)) / rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--only", nargs="+", default=list(STAGES), choices=STAGES)
    options = parser.parse_args()
    costs: dict[str, list[Cost]] = {name: [] for name in options.only}
    files: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        for count in options.rows:
            folder = Path(place) / str(count)
            make_meshes(folder, count)
            for name in options.only:
                costs[name].append(measure(STAGES[name], folder))
                sys.stderr.write(f"{count}  {name}: {costs[name][-1]}\n")
            files = {path.name: count_files(path, count) for path in sorted(folder.glob("*.zarr"))}
    rows = []
    for name, found in costs.items():
        pairs = zip(
            zip(options.rows, found, strict=True), zip(options.rows[1:], found[1:], strict=True), strict=False
        )
        apiece = [
            f"{1000 * (more.seconds - few.seconds) / (many - some):.2f}"
            for (some, few), (many, more) in pairs
        ]
        rows.append(
            [
                name,
                *(f"{cost.seconds:.1f}" for cost in found),
                *apiece,
                *(f"{cost.memory:.0f}" for cost in found),
            ]
        )
    sizes = [str(count) for count in options.rows]
    steps = [f"ms/row to {size}" for size in sizes[1:]]
    header = ("stage", *(f"CPU s, {size}" for size in sizes), *steps, *(f"MB, {size}" for size in sizes))
    sys.stdout.write(f"{format_table(header, rows)}\n\nfiles a row: ")
    sys.stdout.write(", ".join(f"{name} {value:.2f}" for name, value in files.items()) + "\n")


if __name__ == "__main__":
    main()
