from pathlib import Path
from typing import Annotated

import typer

from sdfkit.inference.defaults import DDIM_STEPS, TIMESTEP_DRAWS, TIMESTEP_VIEWS
from sdfkit.options import STANDARD, Device, Input, Json, Overwrite, Seed


def timestep_loss(
    model: Annotated[str, typer.Argument(metavar="DENOISER", help="A denoiser made by train-dit.")],
    features: Input = STANDARD,
    *,
    codes: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="True codes of the shapes.", show_default="the training codes"),
    ] = None,
    views: Annotated[int, typer.Option(min=1, help="Views of each shape to condition on.")] = TIMESTEP_VIEWS,
    timesteps: Annotated[
        list[int],
        typer.Option(min=0, max=499, help="Timesteps to measure at.", show_default="the paper's six"),
    ] = [],  # noqa: B006  typer copies it
    draws: Annotated[
        int, typer.Option(min=1, help="Noise samples for each code and timestep.")
    ] = TIMESTEP_DRAWS,
    steps: Annotated[int, typer.Option(min=2, max=500, help="Steps of the DDIM sampler.")] = DDIM_STEPS,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.png", help="Also plot the losses.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a denoiser's loss at each timestep.

    MSE(x0) is the error of the standardised clean code that the network predicts from the noisy one. FVU is the
    fraction of the variance that it leaves unexplained; predicting the mean code leaves 1. "wrong picture" is MSE(x0)
    given another shape's pictures: a model that does no worse with them ignores its condition. Implied MSE(eps) is the
    same error as one of the noise, as the paper lists it.

    Below the table: errors of codes from pure noise, in one step and by the whole sampler. If the network is good at
    the noisiest timestep but its samples are bad, the fault lies between training and sampling, not in the network.

    \b
    Examples:
      sdfkit timestep-loss dit.zarr features.zarr
      sdfkit timestep-loss dit.zarr held_out.zarr --codes held_out_codes.zarr -o loss.png
    """
    from contextlib import nullcontext

    from sdfkit.inference.predictors import load_denoiser
    from sdfkit.inference.timesteps import measure_denoiser
    from sdfkit.io.stores.reader import open_store
    from sdfkit.report.plots import check_picture
    from sdfkit.report.tables import format_json
    from sdfkit.report.timesteps import draw_timesteps, format_timesteps
    from sdfkit.runtime.device import choose_device

    if output is not None:
        check_picture(output, overwrite)
    denoiser = load_denoiser(model, choose_device(device))
    kinds = ("codes", "deepsdf", "weights", "autoencoder")
    with (
        nullcontext() if codes is None else open_store(codes, *kinds, manifest=None) as known,
        open_store(features, "features", manifest=None) as store,
    ):
        errors = measure_denoiser(
            denoiser, store, known, views=views, timesteps=timesteps, draws=draws, steps=steps, seed=seed
        )
    facts = errors.describe()
    typer.echo(format_json(facts) if as_json else format_timesteps(facts))
    if output is not None:
        draw_timesteps(output, facts, overwrite=overwrite)
