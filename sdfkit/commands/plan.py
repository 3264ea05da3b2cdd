import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sdfkit.errors import InputError, SdfkitError
from sdfkit.geometry.defaults import SAMPLES, WATERTIGHT_RESOLUTION
from sdfkit.images.rendering.defaults import DEFAULT_SIZE
from sdfkit.inference.defaults import MESH_RESOLUTION
from sdfkit.options import STANDARD, WHOLE, Device, Json, Meshes, Seed, Up

log = logging.getLogger(__name__)


def plan(
    context: typer.Context,
    inputs: Meshes,
    *,
    shapes: Annotated[
        int | None, typer.Option(min=1, help="Number of shapes of the job; default: that of the meshes.")
    ] = None,
    sample: Annotated[int, typer.Option(min=2, help="Number of meshes to measure.")] = 4,
    views: Annotated[int, typer.Option(min=1, help="Views of each shape, as of sdfkit render.")] = 24,
    size: Annotated[
        int, typer.Option(min=56, help="Width and height of the views in pixels.")
    ] = DEFAULT_SIZE,
    points: Annotated[
        int, typer.Option(min=512, help="Samples of each shape, as of sdfkit sample-sdf.")
    ] = SAMPLES,
    resolution: Annotated[
        int, typer.Option(min=16, help="Grid cells per side, as of sdfkit watertight.")
    ] = WATERTIGHT_RESOLUTION,
    mesh_resolution: Annotated[
        int, typer.Option(min=16, help="Grid cells per side, as --resolution of sdfkit mesh.")
    ] = MESH_RESOLUTION,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER", help="Encoder, as of sdfkit embed.", show_default="that of embed"
        ),
        WHOLE,
    ] = None,
    preset: Annotated[
        Literal["small", "large"],
        typer.Option(
            help="Presets of the trainings. large: 512x8, latent-10m and large, which are for GPUs."
        ),
    ] = "small",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of train-deepsdf, in place of the steps of its preset.")
    ] = None,
    without: Annotated[
        Literal["train-dit", "train-recon"] | None,
        typer.Option(help="Leave out a model that the job does not train, and its predictions."),
    ] = None,
    up: Up = "y",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Estimate the disk, hours and memory of a whole job.

    Files, core-hours and GPU-hours are listed too, for each of the stages watertight, sample-sdf, render, embed,
    train-deepsdf, train-dit, train-recon, predict and mesh. The stages are run on a few of the meshes, chosen at random
    among small and large files, on this machine and with the options given here. Trainings take a few steps. The
    figures are then multiplied, for the number of shapes of the job and for 500,000. A stage that cannot be run, for
    lack of an encoder for example, is listed with the reason. Temporary files are removed in the end. With the default
    options this takes a minute or two.

    \b
    Examples:
      sdfkit plan raw/ --shapes 50000
      sdfkit plan raw/*.glb --model efficientnet-lite0 --views 12 --points 50000
      sdfkit plan raw/ --shapes 1000 --preset large --epochs 1500 --without train-recon
      sdfkit plan raw/ --sample 20 --json | jq '.stages[] | {name, estimates}'
    """
    import tempfile

    import numpy as np

    from sdfkit.inference.planning import PlanOptions, choose_sample, measure_stages
    from sdfkit.io.meshes.reader import open_meshes
    from sdfkit.report.plan import describe_plan, format_plan
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.doctor import free_memory

    if STANDARD in inputs:
        raise InputError(
            "standard input: has no file sizes to choose a sample by; give mesh files or folders"
        )
    with open_meshes(inputs, manifest=None, up=up) as meshes:
        paths = [row.path for row in meshes.rows or () if Path(row.path).exists()]
    if len(paths) < 2:
        raise InputError(f"{inputs[0]}: has fewer than two meshes; a plan needs more")
    chosen = choose_sample(paths, sample, np.random.default_rng(seed))
    options = PlanOptions(
        views, size, points, resolution, mesh_resolution, model, preset, epochs, without, device, up
    )
    is_on_gpu, total = choose_device(device) != "cpu", shapes or len(paths)
    stages = []
    with tempfile.TemporaryDirectory(prefix="sdfkit-plan-") as folder:
        for stage in measure_stages(
            lambda *words: _run(context, words),
            chosen,
            Path(folder),
            options,
            total=total,
            is_on_gpu=is_on_gpu,
        ):
            log.info("%s %s", "could not measure" if stage.problem else "measured", stage.name)
            stages.append(stage)
    facts = describe_plan(stages, [Path(path).name for path in chosen], total, points, free_memory())
    typer.echo(format_json(facts) if as_json else format_plan(facts))


def _run(context: typer.Context, words: tuple[Any, ...]) -> str:
    """Run another command of the program in this process, and return what it prints.

    Raises:
        SdfkitError: The command fails; the message is its last one.
    """
    import io
    from contextlib import redirect_stderr, redirect_stdout

    name, *rest = map(str, words)
    program: Any = context.find_root().command
    logger = logging.getLogger("sdfkit")
    level = logger.level
    printed, messages = io.StringIO(), io.StringIO()
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(printed), redirect_stderr(messages):
            status = program.commands[name].main(rest, prog_name=f"sdfkit {name}", standalone_mode=False)
    finally:
        logger.setLevel(level)
    if status and status >= 128:  # a signal has stopped the command; it ends the plan too
        raise typer.Exit(status)
    if status:
        raise SdfkitError(messages.getvalue().strip().rpartition("\n")[2].removeprefix("sdfkit: "))
    return printed.getvalue()
