from pathlib import Path
from typing import Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, Input, Json, Overwrite, Seed


def timestep_loss(
    model: Annotated[str, typer.Argument(metavar="DENOISER", help="A denoiser that train-dit made.")],
    features: Input = STANDARD,
    *,
    codes: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="True codes of the shapes; the training codes where not given."),
    ] = None,
    views: Annotated[int, typer.Option(min=1, help="Views of each shape to show.")] = 4,
    timesteps: Annotated[
        list[int], typer.Option(min=0, max=499, help="Where to look; the paper's six where not given.")
    ] = [],  # noqa: B006  typer copies it
    draws: Annotated[int, typer.Option(min=1, help="Noises of each code and timestep.")] = 8,
    steps: Annotated[int, typer.Option(min=2, max=500, help="Steps of the DDIM sampler.")] = 50,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.png", help="Also draw it.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Tell a denoiser's loss at each timestep, beside what its sampler makes of it.

    MSE(x0) is the error of the standardised code that the network finds behind the noise; FVU is the share of the
    variance that this leaves, 1 being the mean code's; "wrong picture" is the error with another shape's pictures: a
    model that does no worse with them does not look. Implied MSE(eps) is the same error in other units, as the
    paper lists it.

    Below the table: codes from pure noise in one step and by the whole walk. Where the network is good at the noisiest
    timestep and samples are bad, the fault lies between training and sampling, not in the model.

    \b
    Examples:
      sdfkit timestep-loss dit.zarr features.zarr
      sdfkit timestep-loss dit.zarr held_out.zarr --codes held_out_codes.zarr -o loss.png
    """
    from dataclasses import asdict

    import numpy as np
    import torch

    from sdfkit.errors import InputError, UsageError
    from sdfkit.evaluation.timesteps import (
        PAPERS_TIMESTEPS,
        explain,
        mean_loss,
        measure_sampling,
        measure_timesteps,
    )
    from sdfkit.inference.predictors import cameras_of, check_features, condition_arrays, load_denoiser
    from sdfkit.io.models import check_codes, read_vectors
    from sdfkit.io.stores.reader import open_store
    from sdfkit.models.diffusion import schedule
    from sdfkit.report.plots import Curve, check_picture, draw_curves
    from sdfkit.report.tables import format_json, format_table
    from sdfkit.runtime.device import choose_device

    if output is not None:
        check_picture(output, overwrite)
    denoiser = load_denoiser(model, choose_device(device))
    known = {row.uid: code for row, code in zip(denoiser.rows, denoiser.codes, strict=True)}
    if codes is not None:
        with open_store(codes, "codes", "deepsdf", "weights", "autoencoder", manifest=None) as store:
            check_codes(store, denoiser)
            rows, vectors = read_vectors(store)
        known = {row.uid: code for row, code in zip(rows, vectors, strict=True)}
    with open_store(features, "features", manifest=None) as store:
        check_features(store, denoiser)
        rows, arrays = store.read_rows(*condition_arrays(store, denoiser.condition))
    both = [index for index, row in enumerate(rows) if row.uid in known]
    if not both:
        raise InputError(
            f"{store.name}: none of its shapes has a code in {codes or model}; their uids must be the same"
        )
    truth = np.stack([known[rows[index].uid] for index in both])
    if truth.shape[1] != denoiser.dim:
        raise InputError(f"{codes}: codes of {truth.shape[1]} numbers, but {model} makes {denoiser.dim}")
    # Views are spread over the sphere in order: evenly chosen ones see all sides.
    stored = arrays[denoiser.condition].shape[1]
    if views > stored:
        raise InputError(
            f"{store.name}: {stored} views of a shape, but --views {views} are asked for; ask for fewer"
        )
    shown = np.linspace(0, stored - 1, views).round().astype(int)
    pictures = arrays[denoiser.condition][both][:, shown]
    pictures = pictures.reshape(*pictures.shape[:2], denoiser.patches, denoiser.feature)
    cameras = cameras_of(arrays, denoiser.condition, 2)[both][:, shown]
    network, standard = denoiser.network, denoiser.standard
    last = len(schedule(network.config.target)) - 1
    late = [timestep for timestep in timesteps if timestep > last]
    if late:
        raise UsageError(f"--timesteps {late[0]}: the schedule of {model} ends at {last}")
    losses = measure_timesteps(
        network, standard, truth, pictures, cameras, np.array(sorted(set(timesteps)) or PAPERS_TIMESTEPS), draws=draws,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    centre = denoiser.codes.mean(axis=0)
    mean = mean_loss(standard, truth, centre)
    one_step, walk = (
        measure_sampling(
            network, standard, truth, pictures, cameras, centre, steps=count, samples=draws, seed=seed
        )
        for count in (1, steps)
    )
    wrong = None if losses.wrong is None else losses.wrong.tolist()
    verdict = explain(losses, mean, one_step, walk)
    if as_json:
        facts: dict[str, Any] = {
            "model": model, "shapes": len(both), "views": views, "target": network.config.target,
            "mean_predictor": mean, "floored": standard.floored,
            "timesteps": asdict(losses) | {"implied_noise": losses.implied_noise, "fvu": losses.loss / mean},
            "one_step": asdict(one_step), "sampled": asdict(walk) | {"steps": steps}, "verdict": verdict,
        }  # fmt: skip
        typer.echo(format_json(facts))
    else:
        table = format_table(
            ("t", "alpha bar", "MSE(x0)", "FVU", "wrong picture", "implied MSE(eps)", "mean code"),
            [
                (int(timestep), *(_digits(value) for value in (*values, mean)))
                for timestep, *values in zip(
                    losses.timestep, losses.alpha.tolist(), losses.loss.tolist(), (losses.loss / mean).tolist(),
                    wrong or [None] * len(losses.loss), losses.implied_noise.tolist(), strict=True,
                )
            ],
        )  # fmt: skip
        samples = format_table(
            ("from pure noise", "MSE(x0)", "FVU", "cosine", "centred"),
            [
                (name, *map(_digits, asdict(sampled).values()))
                for name, sampled in (("in one step", one_step), (f"by {steps} steps", walk))
            ],
        )
        shapes = f"{len(both)} shapes, {views} views each; dimensions floored: {standard.floored}"
        typer.echo(f"{model}: {shapes}\n\n{table}\n\n{samples}\n\n{verdict}")
    if output is not None:
        at = losses.timestep.tolist()
        draw_curves(
            output,
            {
                "the network": Curve(at, losses.loss.tolist()),
                **({"with a wrong picture": Curve(at, wrong)} if wrong else {}),
                "the mean code": Curve((), (mean,)),
                "samples, in one step": Curve((), (one_step.loss,)),
                f"samples, by {steps} steps": Curve((), (walk.loss,)),
            },
            title=model, x="timestep", y="MSE of the standardised code", log=True, overwrite=overwrite,
        )  # fmt: skip


def _digits(value: float | None) -> str:
    """Losses of trained models are far below 1, and differ in their first digits."""
    return "-" if value is None else f"{value:.4g}"
