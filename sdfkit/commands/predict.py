from typing import Annotated

import typer

from sdfkit.options import STANDARD, Device, Input, Manifest, Output, Overwrite, Seed


def predict(
    model: Annotated[str, typer.Argument(metavar="DENOISER", help="A denoiser that train-dit made.")],
    features: Input = STANDARD,
    *,
    samples: Annotated[int, typer.Option(min=1, help="Codes to draw for each shape.")] = 1,
    steps: Annotated[int, typer.Option(min=1, max=500, help="Steps of the DDIM sampler.")] = 50,
    eta: Annotated[float, typer.Option(min=0, max=1, help="Share of noise renewed in each step.")] = 0,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance; 1 is none.")] = 1,
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Predict codes of shapes from their pictures' features.

    All views of a shape are used together; photos, whose cameras are unknown, serve too. With --samples N each shape
    gives N rows, uid_s0, uid_s1 ...: how they differ tells how sure the model is.

    \b
    Examples:
      sdfkit predict dit.zarr features.zarr | sdfkit mesh --decoder deepsdf.zarr -o predicted/
      sdfkit predict dit.zarr features.zarr | sdfkit rank
      sdfkit embed photo.jpg | sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr > photo.ply
    """
    import dataclasses
    import hashlib

    import numpy as np
    import torch

    from sdfkit.device import choose_device
    from sdfkit.modelstore import cameras_of, condition_arrays, load_denoiser
    from sdfkit.parallel import conclude, progress
    from sdfkit.store import open_store
    from sdfkit.storewriter import create_store
    from sdfkit.training.dit import predict_codes

    denoiser = load_denoiser(model, choose_device(device))
    # rank finds the training codes by the denoiser's name, and knows them again by this.
    identity = hashlib.sha256(denoiser.codes.tobytes()).hexdigest()
    settings = {"samples": samples, "steps": steps, "eta": eta, "guidance": guidance, "seed": seed}
    with open_store(features, "features", manifest=manifest) as views:
        denoiser.check(views)
        count = len(views) * samples
        with create_store(
            output, "codes", count=count, history=views.history, settings=settings, seed=seed,
            attributes={"denoiser": model, "known": identity}, overwrite=overwrite,
        ) as codes, progress(len(views), "shape") as bar:  # fmt: skip
            codes.create_array(
                "code", shape=(count, denoiser.network.config.dim), dtype="f4", axes=("shape", "dim")
            )
            for row in views.rows(*condition_arrays(views, denoiser.condition)):
                draws = [
                    dataclasses.replace(
                        row,
                        index=row.index * samples + draw,
                        uid=f"{row.uid}_s{draw}" if samples > 1 else row.uid,
                    )
                    for draw in range(samples)
                ]
                # A shape's stream does not depend on the shapes beside it.
                stream = np.random.SeedSequence(seed, spawn_key=(row.index,)).generate_state(1, np.uint64)
                predicted = None if row.error else predict_codes(
                    denoiser.network, denoiser.standard, denoiser.shape(row.arrays[denoiser.condition][None]),
                    cameras_of(row.arrays, denoiser.condition, 1)[None],
                    steps=steps, eta=eta, guidance=guidance, samples=samples,
                    generators=[torch.Generator().manual_seed(int(stream[0] >> np.uint64(1)))],
                )[0]  # fmt: skip
                for draw in range(samples):
                    codes.write(draws[draw], **({} if predicted is None else {"code": predicted[draw]}))
                bar.update()
    conclude(output, "codes", count, codes.failed)
