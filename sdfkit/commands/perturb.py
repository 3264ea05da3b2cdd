from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sdfkit.inference.defaults import (
    PERTURB_CRITERION,
    PERTURB_RESOLUTION,
    PERTURB_SHAPES,
    PERTURB_STRENGTHS,
)
from sdfkit.options import STANDARD, Device, Json, Overwrite, Seed


def perturb(
    stores: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE", help="Weights, or codes with --decoder; several are reported side by side."
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    decoder: Annotated[
        str | None, typer.Option(metavar="STORE", help="The deepsdf store whose decoder decodes the codes.")
    ] = None,
    sigma: Annotated[
        list[float],
        typer.Option(min=0, help="Standard deviations of the noise, relative to what --noise says."),
    ] = list(PERTURB_STRENGTHS),  # noqa: B006  typer copies it
    noise: Annotated[
        Literal["tensor", "vector", "number", "spread"],
        typer.Option(
            help="What --sigma is relative to: the RMS of each weight matrix and bias, the RMS of the vector, the size "
            "of each number, or its standard deviation over the shapes."
        ),
    ] = "tensor",
    per: Annotated[
        Literal["all", "layer", "dimension"],
        typer.Option(
            help="Add noise to all dimensions at once, to one weight matrix or bias at a time, or to one group of "
            "dimensions at a time, ordered by sensitivity."
        ),
    ] = "all",
    shapes: Annotated[
        int, typer.Option(min=1, help="Shapes to disturb: the first ones of each store.")
    ] = PERTURB_SHAPES,
    criterion: Annotated[
        float, typer.Option(min=0, max=1, help="Shapes count as broken if their mean IoU is below this.")
    ] = PERTURB_CRITERION,
    resolution: Annotated[
        int, typer.Option(min=16, max=256, help="Cells along a side of the cube.")
    ] = PERTURB_RESOLUTION,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.png", help="Plot the IoU by strength of noise."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how much noise on weights or codes breaks their mesh.

    Adds normal noise of growing strength to each vector, and compares the mesh of the noisy vector with the clean one:
    IoU by the signs in all cells of the cube, number of pieces, and Euler number. Each strength scales the same draw.
    The shapes break at the strength at which their mean IoU falls below --criterion.

    --per layer disturbs one weight matrix or bias at a time; --per dimension one group of dimensions, ordered by how
    far each moves the surface: the slope of the field with respect to it, times the size of noise of strength 1. Where
    few dimensions decide whether a shape survives, noise on the first groups alone breaks it, and noise on the last
    ones hardly changes it.

    \b
    Examples:
      sdfkit perturb weights.zarr -o noise.png
      sdfkit perturb relu.zarr siren.zarr --shapes 10
      sdfkit perturb weights.zarr --per dimension --noise number
      sdfkit perturb codes.zarr --decoder deepsdf.zarr --noise spread --json
    """
    from sdfkit.analysis.perturbation import DEFINITIONS
    from sdfkit.errors import GeometryError, UsageError
    from sdfkit.inference import perturbation
    from sdfkit.io.models import load_decoder
    from sdfkit.io.stores.reader import open_store
    from sdfkit.report.perturbation import draw_perturbation, format_perturbation
    from sdfkit.report.plots import check_picture
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device

    if output is not None:
        check_picture(output, overwrite)
    if stores.count(STANDARD) > 1:
        raise UsageError("standard input can be read once; name files for the others")
    place = choose_device(device)
    trained = None if decoder is None else load_decoder(decoder, place)
    reports, asked, failed = [], 0, 0
    for path in stores:
        with open_store(path, "weights", "codes", "deepsdf", manifest=None) as store:
            vectors = perturbation.read_shape_vectors(store, trained, place, shapes)
        result = perturbation.perturb(
            vectors, strengths=sorted(sigma), noise=noise, per=per, criterion=criterion, resolution=resolution,
            seed=seed,
        )  # fmt: skip
        asked, failed = asked + len(vectors.uids), failed + result.failed
        if result.parts:
            reports.append(result.describe())
    facts: dict[str, Any] = {
        "noise": DEFINITIONS[noise], "criterion": criterion, "resolution": resolution, "seed": seed, "stores": reports,
    }  # fmt: skip
    if reports:
        typer.echo(format_json(facts) if as_json else format_perturbation(facts))
        if output is not None:
            draw_perturbation(output, facts, overwrite=overwrite)
    if failed:
        raise GeometryError(
            f"{failed} of {asked} shapes failed, for the reasons above; the others are in the report"
        )
