from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sdfkit.inference.defaults import (
    PERTURB_CRITERION,
    PERTURB_RESOLUTION,
    PERTURB_SHAPES,
    PERTURB_STRENGTHS,
)
from sdfkit.options import IRRELEVANT, STANDARD, WHOLE, Device, Json, Overwrite, Seed
from sdfkit.wording import counted


def perturb(
    stores: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE",
            help="Store of weights, or of codes with --decoder; several stores are reported side by side.",
        ),
        WHOLE,
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Store that train-deepsdf wrote, whose decoder decodes the codes."
        ),
        WHOLE,
    ] = None,
    sigma: Annotated[
        list[float],
        typer.Option(
            min=0,
            help="Standard deviation of the noise, in units of the size that --noise names; repeat for several.",
        ),
    ] = list(PERTURB_STRENGTHS),  # noqa: B006  typer copies it
    noise: Annotated[
        Literal["tensor", "vector", "number", "spread"],
        typer.Option(
            help="Size that --sigma is multiplied by. tensor: root mean square (RMS) of the weight matrix or bias; "
            "vector: RMS of the whole vector; number: absolute value of each entry; spread: standard deviation "
            "of each entry over the shapes."
        ),
    ] = "tensor",
    per: Annotated[
        Literal["all", "layer", "dimension"],
        typer.Option(
            help="Dimensions that noise is added to at a time. all: all of them; layer: one weight matrix or bias; "
            "dimension: one group of dimensions of similar sensitivity. Codes: all only."
        ),
    ] = "all",
    shapes: Annotated[
        int, typer.Option(min=1, help="Number of shapes to disturb: the first ones of each store.")
    ] = PERTURB_SHAPES,
    criterion: Annotated[
        float, typer.Option(min=0, max=1, help="Mean IoU below which the shapes count as broken.")
    ] = PERTURB_CRITERION,
    resolution: Annotated[
        int, typer.Option(min=16, max=256, help="Grid cells along a side of the query cube.")
    ] = PERTURB_RESOLUTION,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.png", help="Plot the IoU against sigma."),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how much noise on weights or codes breaks their mesh.

    A shape is given by a vector: the weights of its small network (of fit-mlp), or its latent code (of train-deepsdf or
    fit-code). For each --sigma, Gaussian noise is added to the vector, and the noisy shape is compared with the shape
    of the clean vector: IoU of the interiors, evaluated at the centres of all grid cells of the query cube (-1 to 1
    along each axis); number of connected pieces; Euler number. For one shape, all values of sigma scale the same random
    noise. The report gives the sigma at which the mean IoU of the shapes falls below --criterion.

    --per layer and --per dimension are for weights only. --per layer adds noise to one weight matrix or bias at a time.
    --per dimension adds it to one group of dimensions at a time, most sensitive group first. The sensitivity of a
    dimension is the derivative of the signed distances at the surface with respect to this dimension, times the
    standard deviation of its noise at sigma 1. If a few dimensions determine the shape, noise on the first groups alone
    breaks it, and noise on the last groups hardly changes it.

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
    from sdfkit.io.models.reader import load_decoder
    from sdfkit.io.stores.reader import open_store
    from sdfkit.report.diagnostics.perturbation import draw_perturbation, format_perturbation
    from sdfkit.report.plots import check_picture
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device

    check_picture(output, overwrite)
    if stores.count(STANDARD) > 1:
        raise UsageError("only one STORE can be standard input; give files for the others")
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
            f"{failed} of {counted(asked, 'shape')} failed, for the reasons above; the report covers the others"
        )
