from typing import Annotated, Literal

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite, Precision, Seed


def train_deepsdf(
    samples: Input = STANDARD,
    *,
    preset: Annotated[
        Literal["small", "256x4", "512x8"],
        typer.Option(help="Decoder and recipe; small is made for two CPU cores."),
    ] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; the preset's where not given.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train a shared decoder and one code for each shape.

    The decoder f(code, point) learns the signed distances of all shapes at once; what tells the shapes apart has
    to go into their codes. Training is saved every few minutes and when it is stopped; the same command goes on.
    The loss says little about shapes: look at the meshes (sdfkit mesh) and judge them (sdfkit compare).

    \b
    Examples:
      sdfkit train-deepsdf samples.zarr --preset small -o deepsdf.zarr
      sdfkit mesh deepsdf.zarr -o meshes/
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.checkpoint import load_unfinished, train
    from sdfkit.device import choose_device, choose_precision
    from sdfkit.models.deepsdf import PRESETS
    from sdfkit.store import open_store
    from sdfkit.storewriter import create_store
    from sdfkit.training.deepsdf import RECIPES, DeepSDFTraining
    from sdfkit.training.run import use_machine

    log = logging.getLogger(__name__)
    config, recipe = PRESETS[preset], RECIPES[preset]
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    with open_store(samples, "samples", manifest=manifest) as store:
        rows, arrays = store.read_rows("point", "distance", "near")
        history = store.history
    uids = [row.uid for row in rows]
    place = choose_device(device)
    machine = use_machine(place, choose_precision(precision, place))
    training = DeepSDFTraining(
        config, recipe, arrays["point"], arrays["distance"], arrays["near"], machine,
        torch.Generator().manual_seed(seed),
    )  # fmt: skip
    settings = {"preset": preset, "seed": seed, "precision": machine.precision, **dataclasses.asdict(recipe)}
    losses = load_unfinished(training, output, "deepsdf", settings, uids, overwrite=overwrite)

    def save(losses: list[float], complete: bool = False) -> None:
        decoder, codes = training.result()
        with create_store(
            output, "deepsdf", rows=rows, history=history, settings=settings, seed=seed,
            overwrite=overwrite, complete=complete,
        ) as model:  # fmt: skip
            model.create_array("code", data=codes.cpu().numpy(), axes=("shape", "dim"))
            model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
            parameters = {name: value.cpu().numpy() for name, value in decoder.state_dict().items()}
            model.create_group("decoder", attributes=dataclasses.asdict(config), arrays=parameters)
            model.create_group("state", attributes={}, arrays=training.state())
            for row in rows:
                model.write(row)

    losses = train(training, recipe.steps, losses, None if output == STANDARD else save)
    save(losses, complete=True)
    report = training.report(samples=20_000, clamp=0.1)
    # The paper's figures count distances up to its clamp; a decoder is only taught that far.
    log.info(
        "SDF L1 mean %.5f, max %.5f (up to 0.1: %.5f, %.5f); mean cosine between codes %.2f",
        report["sdf_l1_mean"], report["sdf_l1_max"], report["clamped_l1_mean"], report["clamped_l1_max"],
        report["code_cosine"],
    )  # fmt: skip
    log.info(
        "wrote a decoder and %d codes to %s", len(rows), "standard output" if output == STANDARD else output
    )
