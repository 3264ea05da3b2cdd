from typing import Annotated, Literal

import typer

from sdfkit.options import (
    STANDARD,
    WHOLE,
    Device,
    Ema,
    HeldOut,
    Inputs,
    Length,
    Manifest,
    Output,
    Overwrite,
    Precision,
    Seed,
    Watch,
    preset_option,
)


def train_dit(
    features: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    codes: Annotated[
        str,
        typer.Option(metavar="STORE", help="Store with the codes, or the weights, of the same shapes."),
        WHOLE,
    ],
    preset: Annotated[
        Literal["small", "latent-10m", "weights-small", "weights-132m"] | None,
        typer.Option(
            show_default="small; for weights, weights-small",
            help="Network and training settings, see Presets.",
        ),
    ] = None,
    condition: Annotated[
        Literal["feature", "token"],
        typer.Option(help="Condition on the feature of each view, or (token) on the tokens of its patches."),
    ] = "feature",
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="N|layers|places", help="Tokens, or one per layer or place; default: the preset's."
        ),
    ] = None,
    standardise: Annotated[
        bool,
        typer.Option("--standardise/--raw", help="Standardise each dimension of the codes, or not."),
    ] = True,
    prediction: Annotated[
        Literal["x0", "eps", "v"],
        typer.Option(help="What the network predicts. x0: the clean code; eps: the noise; v: the velocity."),
    ] = "x0",
    min_snr: Annotated[
        float | None, typer.Option(min=0.1, help="Maximum of loss weights (min-SNR), as 5.")
    ] = None,
    views: Annotated[int | None, preset_option("Views per sample", min=1)] = None,
    cfg_dropout: Annotated[
        float | None, preset_option("Share of samples without views", min=0, max=1)
    ] = None,
    pose_dropout: Annotated[
        float | None, preset_option("Share of samples without cameras", min=0, max=1)
    ] = None,
    ema: Ema = None,
    lr: Annotated[float | None, preset_option("Learning rate", min=0)] = None,
    batch: Annotated[int | None, preset_option("Samples per step", min=1)] = None,
    length: Length = Length(),
    held_out: HeldOut = 0.0,
    watch: Watch = Watch(),
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train a diffusion transformer from views to codes or weights.

    The denoiser learns to remove noise from the latent code of a shape, given the features and the cameras of views of
    the shape (sdfkit embed). Each training sample is the standardised code of one shape with 1 to 8 of its views. A
    loss that is not below that of predicting the mean code, printed beside it, shows that the model ignores its views.
    Diffusion has 500 timesteps; models that predict noise (--prediction eps) skip the 46 noisiest, at which noise
    hardly determines the code. predict --guidance needs a model trained with --cfg-dropout. The preset small takes
    3,000 steps for up to 20 shapes, and (n / 20)^0.75 times as many for n shapes. With --held-out, the loss of held-out
    shapes is measured 60 times, printed and drawn (--curve), and the model is that of the lowest.

    --codes takes a deepsdf, codes, autoencoder or weights store. With a weights store of fit-mlp, the denoiser learns
    the weights of one small network per shape in place of codes, and sdfkit mesh needs no decoder for its predictions.
    --tokens divides each vector into equal tokens; places: one per block of places (train-deepsdf --latent). The preset
    weights-132m is phase 7 of the paper "image to 3-D from small data": 8 tokens, 1 to 8 views, 10 % of samples without
    views and 20 % without cameras (else 0 % of both). For the other phases, add to --preset weights-132m:

    \b
      phase 6  --views 1                               one view per sample
      phase 8  --raw                                   weights that are not standardised
      phase 9  --raw --cfg-dropout 0 --pose-dropout 0  the same, always with views and cameras

    \b
    Examples:
      sdfkit train-dit features.zarr --codes deepsdf.zarr --held-out 0.1 --curve loss.png -o dit.zarr
      sdfkit train-dit features.zarr --codes weights.zarr --tokens layers -o weight_dit.zarr
    """
    from dataclasses import asdict, replace

    import torch

    from sdfkit.inference.training_codes import hold_out, read_training_codes
    from sdfkit.io.models.contents import denoiser_contents
    from sdfkit.io.models.training_runs import log_written, run_training
    from sdfkit.io.models.writer import ModelOutput
    from sdfkit.models.dit import PRESETS
    from sdfkit.report.plots import check_picture
    from sdfkit.report.training_summary import answer_dry_run, describe_denoiser, log_lines, plot_training
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.dit.recipes import RECIPES, choose_steps
    from sdfkit.training.dit.training import STD_FLOOR, DiTTraining
    from sdfkit.training.run import override

    check_picture(watch.curve, overwrite)
    whole = read_training_codes(codes, features, condition, tokens, views, manifest=manifest)
    known, others = hold_out(whole, held_out, seed)
    preset = preset or ("weights-small" if known.are_weights else "small")
    recipe = override(
        RECIPES[preset], steps=choose_steps(preset, len(known.rows), batch, **length._asdict()), batch=batch,
        views=views, lr=lr, ema_decay=ema, min_snr=min_snr, feature_dropout=cfg_dropout, camera_dropout=pose_dropout,
    )  # fmt: skip
    *_, patches, width = known.conditions.shape
    config = PRESETS[preset](known.codes.shape[1], width)
    config = replace(config, patches=patches, target=prediction, tokens=known.tokens or config.tokens)
    context = open_training_context(device, precision, (*features, codes, output))
    training = DiTTraining(
        config, recipe, [row.uid for row in known.rows], known.codes, known.conditions, known.cameras,
        STD_FLOOR if standardise else None, context, torch.Generator().manual_seed(seed),
        None if others is None else (others.codes, others.conditions, others.cameras),
    )  # fmt: skip
    settings = {
        "preset": preset, "condition": condition, "tokens": config.tokens, "standardise": standardise,
        "prediction": prediction, "timesteps": len(training.alphas), "held_out": held_out, "seed": seed,
        "precision": context.precision, **asdict(recipe),
    }  # fmt: skip
    target = ModelOutput(output, "denoiser", known.rows, known.history, settings, seed, overwrite)
    answer_dry_run(watch, training, settings)
    losses = run_training(
        training, recipe.steps, target, lambda _: denoiser_contents(training, known.codes, known.attributes), watch,
        plot_training(watch, target, training, training.held_out),
    )  # fmt: skip
    log_lines([describe_denoiser(losses, training)])
    log_written(target, f"a denoiser for {len(known.rows)} shapes")
