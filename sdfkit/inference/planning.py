"""Measures what each stage of a whole job takes, by running the stages on a few of the meshes.

The stages are the commands themselves, with the options that the job will have. Preparation is run shape by shape, so
that the spread between shapes is known. Of other commands, two runs with different numbers of shapes give the cost of
one more shape, without that of loading libraries and networks. Trainings are measured as by --dry-run.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sdfkit.errors import SdfkitError
from sdfkit.training.costs import ShapeCost, StageCost, peak_memory, reset_peak_memory

T = TypeVar("T")
# Runs a command of the program, given its words, and returns what it prints. SdfkitError if the command fails.
Run = Callable[..., str]
# Shapes of the measured trainings: the sample is repeated, at least so many times that train-recon finds neighbours for
# each shape, and up to the number of shapes of a step of train-deepsdf.
FEWEST, MOST = 6, 24
# Steps of the decoder whose meshes are measured, and its points per shape and step. With fewer steps, there are
# surfaces everywhere, and meshing takes longer. With few points, a decoder made for GPUs takes a minute on a CPU.
FITTED_STEPS, FITTED_POINTS = 300, 256
TOO_FEW = "fewer than two meshes came through the stages before"
# Names of the presets of train-deepsdf, train-dit and train-recon, for each of this command.
PRESETS = {"small": ("small", "small", "small"), "large": ("512x8", "latent-10m", "large")}


class PlanOptions(NamedTuple):
    """Options of the stages; see the commands of their names."""

    views: int
    size: int
    points: int
    resolution: int
    mesh_resolution: int
    model: str | None
    preset: str
    epochs: int | None
    without: str | None
    device: str
    up: str


class Trial(NamedTuple):
    """One run of a command: what it took, the files of its output, and the peak of the memory."""

    cost: ShapeCost
    files: int
    memory: int


def choose_sample(paths: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Choose files of all sizes: one at random from each of `count` groups of about equal number, by size.

    Args:
        paths: Mesh files.
        count: Number of files to choose; all if there are fewer.
        rng: Source of the random numbers.
    """
    by_size = sorted(paths, key=lambda path: Path(path).stat().st_size)
    groups = np.array_split(np.arange(len(by_size)), min(count, len(by_size)))
    return [by_size[rng.choice(group)] for group in groups]


def measure_stages(
    run: Run, sample: Sequence[str], folder: Path, options: PlanOptions, *, total: int, is_on_gpu: bool
) -> Iterator[StageCost]:
    """Run all stages on a sample of meshes, and yield what each of them takes.

    Args:
        run: Runs a command of the program.
        sample: Mesh files.
        folder: An empty folder for the outputs.
        options: Options of the stages.
        total: Number of shapes of the whole job.
        is_on_gpu: The networks are computed on a GPU.
    """
    number, device = len(sample), ("--device", options.device)
    place = {name: folder / name for name in ("watertight", "sample-sdf", "render")}
    for made in place.values():
        made.mkdir()
    closed = [place["watertight"] / f"{index}.ply" for index in range(number)]
    samples = [place["sample-sdf"] / f"{index}.zarr" for index in range(number)]
    views = [place["render"] / f"{index}.zarr" for index in range(number)]
    alone = ("--jobs", 1, "-o")
    closing = ("--resolution", options.resolution, "--up", options.up, *alone)
    shapewise = {
        "watertight": (closing, sample, closed),
        "sample-sdf": (("--points", options.points, *alone), closed, samples),
        "render": (("--views", options.views, "--size", options.size, *alone), closed, views),
    }
    for name, (words, inputs, outputs) in shapewise.items():
        # Later stages get the shapes that did not fail.
        joined = folder / f"{name}.zarr" if outputs[0].suffix == ".zarr" else None
        yield _attempt(name, lambda: _measure_each(run, name, words, inputs, outputs, joined))  # noqa: B023

    samples, views = ([path for path in paths if path.exists()] for paths in (samples, views))
    number = len(views)
    repeats = -(-max(FEWEST, min(total, MOST)) // max(number, 1))
    names = ("many_samples", "many_views", "features", "deepsdf", "dit", "recon")
    at = {name: folder / f"{name}.zarr" for name in names}
    at |= {"samples": folder / "sample-sdf.zarr", "views": folder / "render.zarr"}
    deepsdf, dit, recon = PRESETS[options.preset]

    def join(stores: Sequence[Path], output: Path) -> Path:
        if not output.exists():
            run("cat", *stores, "--rename", "-o", output)
        return output

    def pair(words: Sequence[Any], inputs: tuple[Path, Path], name: str, ending: str = ".zarr") -> StageCost:
        outputs = (folder / f"{name}_1{ending}", at.get(name, folder / f"{name}_{number}{ending}"))
        return _measure_pair(run, words, inputs, outputs, number)._replace(is_on_gpu=is_on_gpu)

    def train(
        words: Sequence[Any], name: str, fitted: Sequence[Any], steps: int, epochs: int | None = None
    ) -> StageCost:
        reset_peak_memory()
        length = () if epochs is None else ("--epochs", epochs)
        facts = json.loads(run(*words, *length, *device, "--dry-run", "--json"))
        facts["epochs"] = epochs
        run(*fitted, *device, "--steps", steps, "-o", at[name])
        shared, files, each = _describe_model(run, at[name], facts["shape_state"])
        return StageCost(
            str(words[0]), (), shared, 0, files, facts["memory"], facts | {"shape_bytes": each}, is_on_gpu
        )

    meshing = ("mesh", "--resolution", options.mesh_resolution, *device)
    encoder = () if options.model is None else ("--model", options.model)
    many = (samples * repeats, at["many_samples"]), (views * repeats, at["many_views"])
    sampled = ("train-deepsdf", "--preset", deepsdf)
    coded = ("train-dit", at["features"], "--codes", at["deepsdf"], "--preset", dit)
    posed = ("train-recon", "--preset", recon)
    trials: dict[str, Callable[[], StageCost]] = {
        "embed": lambda: pair(
            ("embed", *encoder, *device), (views[0], at["views"]), "features"
        ),
        "train-deepsdf": lambda: train(
            (*sampled, join(*many[0])), "deepsdf", (*sampled, at["samples"], "--points", FITTED_POINTS), FITTED_STEPS,
            options.epochs,
        ),
        "train-dit": lambda: train(coded, "dit", coded, 1),
        "train-recon": lambda: train(
            (*posed, join(*many[1]), "--samples", join(*many[0])), "recon",
            (*posed, at["many_views"], "--samples", at["many_samples"]), 1,
        ),
        "predict (train-dit)": lambda: pair(
            ("predict", at["dit"], *device), (folder / "features_1.zarr", at["features"]), "codes"
        ),
        "predict (train-recon)": lambda: pair(
            ("predict", at["recon"], *device), (views[0], at["views"]), "grids"
        ),
        "mesh": lambda: _measure_meshes(run, at["deepsdf"], folder, meshing, number)._replace(is_on_gpu=is_on_gpu),
    }  # fmt: skip
    left_out = (options.without, f"predict ({options.without})")
    for name, measure in ((name, trial) for name, trial in trials.items() if name not in left_out):
        if min(len(samples), len(views)) < 2:
            yield StageCost(name, problem=TOO_FEW)
        else:
            yield _attempt(name, measure)


def _attempt(name: str, measure: Callable[[], StageCost]) -> StageCost:
    try:
        return measure()._replace(name=name)
    except SdfkitError as error:
        return StageCost(name, problem=" ".join(str(error).split()))


def _try(run: Run, words: Sequence[Any], output: Path) -> Trial:
    reset_peak_memory()
    began, busy = time.perf_counter(), time.process_time()
    run(*words)
    seconds, work = time.perf_counter() - began, time.process_time() - busy
    size, files = _measure_output(output)
    return Trial(ShapeCost(seconds, work, size), files, peak_memory())


def _measure_output(output: Path) -> tuple[int, int]:
    """Return the bytes and the number of the files of an output, without those that mark rows of small stores."""
    files = [path for path in [output, *output.rglob("*")] if path.is_file()]
    kept = [path for path in files if "valid" not in path.relative_to(output).parts]
    return sum(path.stat().st_size for path in files), len(kept)


def _measure_each(
    run: Run,
    name: str,
    words: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Path],
    joined: Path | None,
) -> StageCost:
    """Run a command for each shape alone. Shapes that fail are left out."""
    trials: list[Trial] = []
    failed: list[str] = []
    pairs = [(path, output) for path, output in zip(inputs, outputs, strict=True) if Path(path).exists()]
    for path, output in pairs:
        try:
            if not trials:  # the first run compiles and loads, so it does not count
                _try(run, (name, path, *words, _unused(output)), _unused(output))
            trials.append(_try(run, (name, path, *words, output), output))
        except SdfkitError as error:
            failed.append(str(error))
    if len(trials) < 2:
        raise SdfkitError("; ".join(failed) or TOO_FEW)
    files, shared = 1.0, 0.0
    if joined is not None:
        # In a store, files of small arrays are shared by many shapes.
        run("cat", *(output for _, output in pairs if output.exists()), "--rename", "-o", joined)
        files = (_measure_output(joined)[1] - trials[0].files) / (len(trials) - 1)
        shared = trials[0].files - files
    return StageCost(
        name, [trial.cost for trial in trials], files=files, shared_files=shared,
        memory=max(trial.memory for trial in trials), failed=failed,
    )  # fmt: skip


def _unused(output: Path) -> Path:
    return output.with_name(f"unused_{output.name}")


def _measure_pair(
    run: Run, words: Sequence[Any], inputs: tuple[Path, Path], outputs: tuple[Path, Path], number: int
) -> StageCost:
    """Run a command for one shape, twice, and for `number` shapes; the difference is the cost of the other shapes.

    On a busy machine, one shape may take longer than all of them. The share of each in the cost of all, which contains
    the start of the command, is then taken in place of the difference.
    """
    _, one, all_ = (
        _try(run, (*words, path, "-o", output), output)
        for path, output in zip((inputs[0], *inputs), (_unused(outputs[0]), *outputs), strict=True)
    )
    more = number - 1
    each = ShapeCost(
        *((b - a) / more if b > a else b / number for a, b in zip(one.cost, all_.cost, strict=True))
    )
    files = (all_.files - one.files) / more
    return StageCost("", [each], one.cost.bytes - each.bytes, files, one.files - files, all_.memory)


def _measure_meshes(run: Run, model: Path, folder: Path, words: Sequence[Any], number: int) -> StageCost:
    """Mesh the codes of a model; the costs are those of all but the first, which loads the network."""
    first = folder / "first.zarr"
    run("select", model, "--first", 1, "-o", first)
    return _measure_pair(run, words, (first, model), (folder / "first_mesh", folder / "meshes"), number)


def _describe_model(run: Run, path: Path, state: int) -> tuple[int, int, float]:
    """Return the bytes of a model that do not depend on the number of shapes, its files, and the bytes for each.

    Args:
        run: Runs a command of the program.
        path: The model.
        state: Bytes for each shape in the state of the training, whose arrays are not listed one by one.
    """
    facts = json.loads(run("info", path, "--json"))
    shapes = facts["rows"]["count"]
    by_shape = sum(
        array["bytes"] for array in facts["arrays"] if len(array["shape"]) > 1 and array["shape"][0] == shapes
    )
    by_shape += shapes * state
    size, files = _measure_output(path)
    return size - by_shape, files, by_shape / shapes
