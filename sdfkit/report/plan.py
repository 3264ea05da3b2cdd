"""What a whole job takes, for any number of shapes, from what a few of them took; as facts and as text."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.report.tables import Facts, format_table
from sdfkit.training.dit.recipes import choose_steps
from sdfkit.training.epochs import count_steps
from sdfkit.wording import counted, size

if TYPE_CHECKING:
    from sdfkit.training.costs import StageCost

# The size of the largest collections of meshes (Objaverse), for which all figures are given too.
LARGE = 500_000
BYTES_PER_SAMPLE = 16


class Estimate(NamedTuple):
    """What a stage takes for a number of shapes.

    Attributes:
        bytes: Bytes of the output.
        files: Files of the output.
        steps: Number of steps of a training; None for other stages.
        core_hours: Time of all cores together.
        error: Standard error of `core_hours` from the spread of the measured shapes or steps; None if it is unknown.
        gpu_hours: Time of a GPU; None if the stage was not measured on one.
        memory: Peak of the memory of one process, in bytes.
    """

    bytes: float
    files: int
    steps: int | None
    core_hours: float
    error: float | None
    gpu_hours: float | None
    memory: float


def estimate(stage: "StageCost", shapes: int, points: int, free: int) -> Estimate:
    """Extrapolate the cost of a stage to a number of shapes.

    Args:
        stage: What was measured.
        shapes: Number of shapes.
        points: Samples of each shape.
        free: Free memory in bytes; trainings keep samples in up to half of it.
    """
    files = round(stage.shared_files + shapes * stage.files)
    if stage.training is not None:
        facts = stage.training
        steps = _count_steps(stage.name, facts, shapes)
        more = steps / facts["settings"]["steps"]
        seconds, error = more * facts["seconds"], more * facts["error"]
        others = max(0, shapes - facts["shapes"])
        memory = facts["memory"] + others * facts["shape_memory"]
        if stage.name != "train-dit":
            memory += min(others * points * BYTES_PER_SAMPLE, free // 2)
        return Estimate(
            stage.shared + shapes * facts["shape_bytes"], files, steps, seconds * facts["cores"] / 3600,
            error * facts["cores"] / 3600, seconds / 3600 if stage.is_on_gpu else None, memory,
        )  # fmt: skip
    work = [one.work for one in stage.shapes]
    return Estimate(
        stage.shared + shapes * statistics.mean(one.bytes for one in stage.shapes),
        files,
        None,
        shapes * statistics.mean(work) / 3600,
        shapes * statistics.stdev(work) / math.sqrt(len(work)) / 3600 if len(work) > 1 else None,
        shapes * statistics.mean(one.seconds for one in stage.shapes) / 3600 if stage.is_on_gpu else None,
        stage.memory,
    )


def _count_steps(command: str, facts: Facts, shapes: int) -> int:
    """Return the number of steps of a training on a number of shapes, given what --dry-run reports for a few."""
    settings = facts["settings"]
    if facts["epochs"] is not None:
        return count_steps(facts["epochs"], shapes, min(settings["shapes"], shapes))
    if command == "train-dit":
        return choose_steps(settings["preset"], shapes, None, steps=None, epochs=None)
    return int(settings["steps"])


def describe_plan(
    stages: Sequence["StageCost"], sample: Sequence[str], shapes: int, points: int, free: int
) -> Facts:
    """Collect the facts about a job: what was measured, and the estimates for two numbers of shapes.

    Args:
        stages: What was measured.
        sample: Names of the measured meshes.
        shapes: Number of shapes of the job.
        points: Samples of each shape.
        free: Free memory in bytes.
    """
    counts = sorted({shapes, LARGE})
    listed = []
    for stage in stages:
        facts: dict[str, Any] = {"name": stage.name}
        if stage.failed:
            facts["failed"] = list(stage.failed)
        if stage.problem:
            facts["not_measured"] = stage.problem
        else:
            facts["measured"] = stage.training or [one._asdict() for one in stage.shapes]
            facts["estimates"] = {
                str(count): estimate(stage, count, points, free)._asdict() for count in counts
            }
        listed.append(facts)
    return {"sample": list(sample), "shapes": counts, "stages": listed}


def format_plan(facts: Facts) -> str:
    """Lay out the facts about a job as text."""
    parts = [f"measured on {counted(len(facts['sample']), 'mesh')}: {', '.join(facts['sample'])}"]
    for count in facts["shapes"]:
        lines, found = [], []
        for stage in facts["stages"]:
            if "not_measured" in stage:
                lines.append((stage["name"], *["not measured"] + [""] * 5))
                continue
            found.append(stage["estimates"][str(count)])
            lines.append((stage["name"], *_format_estimate(found[-1])))
        totals = {name: sum(one[name] for one in found) for name in ("bytes", "files", "core_hours")}
        lines.append(
            ("all", *_format_estimate({**dict.fromkeys(Estimate._fields), **totals, "memory": 0})[:4], "", "")
        )
        header = ("stage", "disk", "files", "steps", "core-hours", "GPU-hours", "memory")
        parts.append(f"{count:,} shapes, computed\n{format_table(header, lines)}")
    problems = [(one["name"], one["not_measured"]) for one in facts["stages"] if "not_measured" in one]
    failures = [(one["name"], text) for one in facts["stages"] for text in one.get("failed", ())]
    for title, rows in (("not measured", problems), ("failed, and not counted", failures)):
        parts += [f"{title}\n{format_table((), rows)}"] if rows else []
    return "\n\n".join([*parts, NOTES])


def _format_estimate(found: Facts) -> tuple[str, ...]:
    hours = f"{found['core_hours']:.3g}"
    hours += "" if found["error"] is None else f" ± {found['error']:.2g}"
    gpu = "not measured" if found["gpu_hours"] is None else f"{found['gpu_hours']:.3g}"
    steps = "" if found["steps"] is None else f"{found['steps']:,}"
    return size(found["bytes"]), f"{found['files']:,}", steps, hours, gpu, size(found["memory"])


NOTES = """\
Measured: each stage of preparation on each mesh alone; embed, predict and mesh by the difference between one and all
of the meshes; trainings in a few steps. Computed: all multiples of them. ± is the standard error (68 %) from the spread
of the measured meshes or steps. A few meshes say little about the largest ones of a collection: raise --sample. Memory
is that of one process; preparation runs one on each core. Trainings take the steps of their preset, which only
train-dit increases for more shapes, or those of --epochs, and keep samples in up to half of the free memory. Reading of
inputs and reports at the end are not included. The decoder that was meshed had been trained for a few hundred steps
only."""
