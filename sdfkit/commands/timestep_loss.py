from pathlib import Path
from typing import Annotated

import typer

from sdfkit.inference.defaults import DDIM_STEPS, TIMESTEP_DRAWS, TIMESTEP_VIEWS
from sdfkit.options import IRRELEVANT, STANDARD, WHOLE, Device, Input, Json, Overwrite, Seed


def timestep_loss(
    model: Annotated[str, typer.Argument(metavar="DENOISER", help="Store that train-dit wrote."), WHOLE],
    features: Input = STANDARD,
    *,
    codes: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="True codes (or weights) of the shapes.", show_default="the training codes"
        ),
        WHOLE,
    ] = None,
    views: Annotated[
        int, typer.Option(min=1, help="Number of views of each shape to condition on.")
    ] = TIMESTEP_VIEWS,
    timesteps: Annotated[
        list[int],
        typer.Option(
            min=0,
            max=499,
            help="Timestep to measure the loss at; repeat for several.",
            show_default="0, 50, 100, 200, 300, 450",
        ),
    ] = [],  # noqa: B006  typer copies it
    draws: Annotated[
        int, typer.Option(min=1, help="Number of noise samples for each code and timestep.")
    ] = TIMESTEP_DRAWS,
    steps: Annotated[
        int, typer.Option(min=2, max=500, help="Number of steps of the DDIM sampler.")
    ] = DDIM_STEPS,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.png", help="Also plot the losses."),
        IRRELEVANT,
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a denoiser's loss at each timestep.

    The table has a row per timestep. MSE(x0): mean squared error of the clean standardised code that the network
    predicts from the noisy one. FVU: fraction of the variance of the codes that remains unexplained; predicting the
    mean code gives 1. "wrong picture": MSE(x0) if the network is given the images of another shape; if it is no larger
    than MSE(x0), the network ignores its condition. Implied MSE(eps): the same error expressed as error of the noise,
    as in the paper "image to 3-D from small data".

    Below the table are the errors of codes predicted from pure noise, in one step and by all steps of the sampler. If
    the network's error is low at the noisiest timestep but the sampled codes are wrong, the fault is not in the
    network, but in the sampler or in what it shares with training: noise schedule, standardisation, EMA.

    \b
    Examples:
      sdfkit timestep-loss dit.zarr features.zarr
      sdfkit timestep-loss dit.zarr held_out.zarr --codes held_out_codes.zarr -o loss.png
    """
    from contextlib import nullcontext

    from sdfkit.inference.prediction.denoiser import load_denoiser
    from sdfkit.inference.timesteps import measure_denoiser
    from sdfkit.io.stores.reader import open_store
    from sdfkit.report.diagnostics.timesteps import draw_timesteps, format_timesteps
    from sdfkit.report.plots import check_picture
    from sdfkit.report.tables import format_json
    from sdfkit.runtime.device import choose_device

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
