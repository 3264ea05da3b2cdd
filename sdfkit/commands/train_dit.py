from typing import Annotated, Literal

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite, Precision, Seed


def train_dit(
    features: Input = STANDARD,
    *,
    codes: Annotated[
        str, typer.Option(metavar="STORE", help="Codes of the same shapes: a deepsdf or codes store.")
    ],
    preset: Annotated[Literal["small", "latent-10m"], typer.Option(help="Network and recipe.")] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps; the preset's where not given.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Train the diffusion transformer that turns views into codes.

    Each step sees 1 to 8 views of a shape and denoises its standardised code. The loss is told beside that of
    predicting the mean code: a model that does not beat it has not looked at the pictures.

    \b
    Examples:
      sdfkit train-dit features.zarr --codes deepsdf.zarr -o dit.zarr
    """
    import dataclasses
    import logging

    import numpy as np
    import torch

    from sdfkit.checkpoint import load_unfinished, train
    from sdfkit.device import choose_device, choose_precision
    from sdfkit.errors import InputError
    from sdfkit.models.dit import PRESETS
    from sdfkit.store import open_store
    from sdfkit.storewriter import create_store
    from sdfkit.training.dit import RECIPES, DiTTraining
    from sdfkit.training.run import use_machine

    log = logging.getLogger(__name__)
    with open_store(codes, "deepsdf", "codes", manifest=None) as store:
        known, vectors = store.read_rows("code")
        history = store.history
        known_at = {row.uid: index for index, row in enumerate(known)}
    with open_store(features, "features", manifest=manifest) as store:
        rows, arrays = store.read_rows("feature", "camera_to_world")
        history, encoder = [*history, *store.history], store.attributes.get("encoder", {})
    both = [index for index, row in enumerate(rows) if row.uid in known_at]
    if not both:
        raise InputError(
            f"{codes}: has no shape of {features}; their uids must be the same ({known[0].uid}, {rows[0].uid})"
        )
    if len(both) < len(rows):
        log.warning("%d of %d shapes have no code and are left out", len(rows) - len(both), len(rows))
    rows = [dataclasses.replace(rows[index], index=place) for place, index in enumerate(both)]
    targets = vectors["code"][[known_at[row.uid] for row in rows]]
    recipe = RECIPES[preset]
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    config = PRESETS[preset](targets.shape[1], arrays["feature"].shape[2])
    place = choose_device(device)
    machine = use_machine(place, choose_precision(precision, place))
    training = DiTTraining(
        config, recipe, targets, arrays["feature"][both], arrays["camera_to_world"][both], 1e-4, machine,
        torch.Generator().manual_seed(seed),
    )  # fmt: skip
    settings = {"preset": preset, "seed": seed, "precision": machine.precision, **dataclasses.asdict(recipe)}
    uids = [row.uid for row in rows]
    losses = load_unfinished(training, output, "denoiser", settings, uids, overwrite=overwrite)

    def save(losses: list[float], complete: bool = False) -> None:
        standard = training.standard
        with create_store(
            output, "denoiser", rows=rows, history=history, settings=settings, seed=seed,
            attributes={"encoder": encoder}, overwrite=overwrite, complete=complete,
        ) as model:  # fmt: skip
            model.create_array("code", data=targets, axes=("shape", "dim"))
            model.create_array("loss", data=np.array(losses, np.float32), axes=("step",))
            parameters = {name: value.cpu().numpy() for name, value in training.result().state_dict().items()}
            model.create_group("denoiser", attributes=dataclasses.asdict(config), arrays=parameters)
            model.create_group(
                "standard",
                attributes={"floored": standard.floored},
                arrays={"mean": standard.mean.numpy(), "std": standard.std.numpy()},
            )
            model.create_group("state", attributes={}, arrays=training.state())
            for row in rows:
                model.write(row)

    losses = train(training, recipe.steps, losses, None if output == STANDARD else save)
    save(losses, complete=True)
    last = float(np.mean(losses[-100:]))
    log.info("loss %.3g in the last 100 steps; predicting the mean code: %.3g", last, training.mean_loss())
    log.info(
        "wrote a denoiser for %d shapes to %s", len(rows), "standard output" if output == STANDARD else output
    )
