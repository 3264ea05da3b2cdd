from typing import Annotated, Literal

import typer

from sdfkit.options import (
    LONGER,
    STANDARD,
    WHOLE,
    Device,
    Inputs,
    Manifest,
    Output,
    Overwrite,
    Precision,
    Seed,
    Watch,
    preset_option,
)


def train_ae(
    weights: Inputs = [STANDARD],  # noqa: B006  typer copies it
    *,
    preset: Annotated[
        Literal["small", "1024x3"],
        typer.Option(
            help="Networks and training settings, see Presets. small is made for two CPU cores; 1024x3 (width x layers "
            "of encoder and of decoder) is the paper's."
        ),
    ] = "small",
    latent: Annotated[
        int, typer.Option(min=1, help="Length of a latent code; the paper's codes have 128 or 256 numbers.")
    ] = 128,
    loss: Annotated[
        Literal["weights", "field"],
        typer.Option(
            help="What the loss compares with the originals. weights: the decoded weights, as in the paper; field: the "
            "distances that networks with the decoded weights compute, with the true distances at --samples."
        ),
    ] = "weights",
    samples: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Samples of the same shapes, for --loss field and the report."),
        WHOLE,
    ] = None,
    points: Annotated[
        int, typer.Option(min=1, help="Number of --samples per shape and step of --loss field.")
    ] = 1024,
    clamp: Annotated[
        float,
        typer.Option(
            min=0, help="For --loss field: limit distances to this absolute value before comparing them."
        ),
    ] = 0.1,
    epochs: Annotated[int | None, preset_option(f"Passes over the shapes; {LONGER}", min=1)] = None,
    batch: Annotated[int | None, preset_option("Number of shapes per step", min=1)] = None,
    lr: Annotated[float | None, preset_option("Learning rate", min=0)] = None,
    resolution: Annotated[
        int, typer.Option(min=8, max=256, help="Grid cells per side of the query cube, for the report.")
    ] = 48,
    watch: Watch = Watch(),
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train an autoencoder of the weights of per-shape networks.

    The weights store of sdfkit fit-mlp holds the weights of one small network per shape, each of which computes the
    signed distances of its shape. The encoder turns the difference between a shape's weights and the mean weights into
    a latent code; the decoder turns the code into weights. The method is that of the paper "image to 3-D from small
    data".

    At the end, the decoded weights are compared with the originals, and the report is logged and stored with the model.
    It compares the vectors of weights: fraction of variance unexplained (FVU; decoding the mean weights gives 1),
    cosines after subtracting the mean, and raw cosines, which are near 1 for any weights near the mean. It also
    compares the shapes: IoU of the interiors in the query cube (-1 to 1 along each axis), and the number of networks
    whose distances have no zero crossing and so no surface. Even if the errors of decoded weights are small, their
    surface can be missing; --loss field avoids this, but takes several times as long.

    \b
    Examples:
      sdfkit train-ae weights.zarr -o ae.zarr && sdfkit mesh ae.zarr -o reconstructed/
      sdfkit train-ae weights.zarr --loss field --samples samples.zarr -o field_ae.zarr
      sdfkit train-dit features.zarr --codes ae.zarr -o dit.zarr
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder ae.zarr -o predicted/
    """
    from dataclasses import asdict

    import numpy as np
    import torch

    from sdfkit.errors import UsageError
    from sdfkit.evaluation.reconstructions import evaluate_autoencoder
    from sdfkit.io.models.reader import load_weights
    from sdfkit.io.models.training_runs import log_written, run_training
    from sdfkit.io.models.writer import ModelContents, ModelOutput, fingerprint, network_group
    from sdfkit.io.stores.contents.samples import read_shape_samples
    from sdfkit.models.autoencoder import PRESETS
    from sdfkit.report.plots import check_picture
    from sdfkit.report.training_summary import (
        answer_dry_run,
        describe_reconstructions,
        log_lines,
        plot_training,
    )
    from sdfkit.runtime.training_loop import open_training_context
    from sdfkit.training.autoencoder import RECIPES, AutoencoderTraining
    from sdfkit.training.run import override

    if loss == "field" and samples is None:
        raise UsageError("--loss field compares distances at samples; add --samples STORE")
    if [*weights, samples].count(STANDARD) > 1:
        raise UsageError("standard input can be read only once; give a file for the weights or for --samples")
    check_picture(watch.curve, overwrite)
    recipe = override(
        RECIPES[preset], loss=loss, points=points, clamp=clamp, epochs=epochs, batch=batch, lr=lr
    )
    context = open_training_context(device, precision, (*weights, samples, output))
    rows, vectors, networks, history = load_weights(weights, manifest=manifest)
    known = None
    if samples is not None:
        known, steps = read_shape_samples(samples, rows)
        history = [*history, *steps]
    config, uids = PRESETS[preset](vectors.shape[1], latent), [row.uid for row in rows]
    training = AutoencoderTraining(
        config, recipe, uids, vectors, networks, known, context, torch.Generator().manual_seed(seed)
    )
    settings = {
        "preset": preset, "latent": latent, "seed": seed, "precision": context.precision, **asdict(recipe),
    }  # fmt: skip
    target = ModelOutput(output, "autoencoder", rows, history, settings, seed, overwrite)
    answer_dry_run(watch, training, settings)

    def describe(complete: bool) -> ModelContents:
        network, codes, _ = training.result()
        group = network_group(network, config)
        iou, report = np.zeros(len(rows), np.float32), {}
        if complete and context.process == 0:
            found = evaluate_autoencoder(training, resolution)
            iou, report = found.after.iou, found.attributes(uids)
            log_lines(describe_reconstructions(found, uids))
        facts = {"network": asdict(networks), "decoder_sha256": fingerprint(group.arrays), "report": report}
        return ModelContents({"code": codes.cpu().numpy(), "iou": iou}, {"autoencoder": group}, facts)

    run_training(training, training.steps, target, describe, watch, plot_training(watch, target, training))
    log_written(target, f"an autoencoder and {len(rows)} codes")
