from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, Manifest, Matte, Output, Overwrite, Seed

if TYPE_CHECKING:
    from sdfkit.manifest import Row
    from sdfkit.modelstore import Denoiser
    from sdfkit.storewriter import StoreWriter


def predict(
    model: Annotated[str, typer.Argument(metavar="DENOISER", help="A denoiser that train-dit made.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="A features or views store, or picture files or folders; - is a pipe."
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    samples: Annotated[int, typer.Option(min=1, help="Codes, or weights, to draw for each shape.")] = 1,
    steps: Annotated[int, typer.Option(min=1, max=500, help="Steps of the DDIM sampler.")] = 50,
    eta: Annotated[float, typer.Option(min=0, max=1, help="Share of noise renewed in each step.")] = 0,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance; 1 is none.")] = 1,
    matte: Matte = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Predict codes of shapes, or their weights, from their pictures.

    Features are used as they are; views and picture files are embedded first, with the encoder that the denoiser was
    trained on. A file is a shape of its own, named by its stem. Several photos of one object belong into a folder
    inside a folder: of predict photos/, each file is a shape, and so is each folder in it, whose files are its views
    and are used together. Files have no cameras: where the model was trained with them, that costs a little.

    A denoiser that was trained on weights gives weights, which sdfkit mesh reads without a decoder.

    With --samples N each shape gives N rows, uid_s0, uid_s1 ..., which name the shape they are of: how they differ
    tells how sure the model is.

    \b
    Examples:
      sdfkit predict dit.zarr photo.jpg | sdfkit mesh --decoder deepsdf.zarr > photo.ply
      sdfkit render new.glb --views 4 | sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr > new.ply
      sdfkit predict dit.zarr features.zarr --samples 4 | sdfkit mesh --decoder deepsdf.zarr | sdfkit compare - closed/
      sdfkit predict dit.zarr features.zarr | sdfkit rank
    """
    import hashlib

    import numpy as np

    from sdfkit.device import choose_device
    from sdfkit.embedding import open_features
    from sdfkit.modelstore import load_denoiser
    from sdfkit.parallel import conclude
    from sdfkit.storewriter import create_store

    place = choose_device(device)
    denoiser = load_denoiser(model, place)
    attributes = {
        # rank finds the training codes by the denoiser's name, and knows them again by this.
        "denoiser": model,
        "known": hashlib.sha256(denoiser.codes.tobytes()).hexdigest(),
        # mesh knows by this whether a decoder reads these codes.
        **({} if denoiser.decoder is None else {"decoder_sha256": denoiser.decoder}),
        **({} if denoiser.mlp is None else {"network": denoiser.mlp}),
    }
    kind = "codes" if denoiser.mlp is None else "weights"
    settings = {"samples": samples, "steps": steps, "eta": eta, "guidance": guidance, "seed": seed}
    with open_features(inputs, denoiser, matte=matte, device=place, manifest=manifest) as features:
        count = features.count * samples
        with create_store(
            output, kind, count=count, history=features.history, settings=settings, seed=seed,
            attributes=attributes, overwrite=overwrite,
        ) as vectors:  # fmt: skip
            shape = (count, denoiser.network.config.dim)
            if kind == "codes":
                vectors.create_array("code", shape=shape, dtype="f4", axes=("shape", "dim"))
            else:
                vectors.create_array("weights", shape=shape, dtype="f4", axes=("shape", "parameter"))
            if samples > 1:
                text = np.dtypes.StringDType()
                vectors.create_array("sample_of", shape=(count,), dtype=text, axes=("shape",))
            sampler = _Sampler(vectors, denoiser, samples, seed, steps=steps, eta=eta, guidance=guidance)
            features.send(sampler)
    what = kind if samples == 1 else f"{samples} {kind} each"
    conclude(output, what, features.count, sampler.failed)


class _Sampler:
    """Takes shapes with their features, and writes codes or weights drawn for them."""

    def __init__(
        self, vectors: "StoreWriter", denoiser: "Denoiser", samples: int, seed: int, **options: Any
    ) -> None:
        self._vectors = vectors
        self._array = "code" if denoiser.mlp is None else "weights"
        self._denoiser = denoiser
        self._samples = samples
        self._seed = seed
        self._options = options
        self.failed: set[int] = set()

    def has(self, row: "Row") -> bool:
        return False

    def write(self, row: "Row", **arrays: Any) -> None:
        import numpy as np
        import torch

        from sdfkit.modelstore import cameras_of
        from sdfkit.training.dit import predict_codes

        drawn: list[dict[str, Any]] = [{}] * self._samples
        if row.error:
            self.failed.add(row.index)
        else:
            network, standard, condition = (
                self._denoiser.network,
                self._denoiser.standard,
                self._denoiser.condition,
            )
            # A shape's stream does not depend on the shapes beside it.
            stream = np.random.SeedSequence(self._seed, spawn_key=(row.index,)).generate_state(1, np.uint64)
            predicted = predict_codes(
                network, standard, self._denoiser.shape(arrays[condition][None]),
                cameras_of(arrays, condition, 1)[None], samples=self._samples,
                generators=[torch.Generator().manual_seed(int(stream[0] >> np.uint64(1)))], **self._options,
            )[0]  # fmt: skip
            drawn = [{self._array: vector} for vector in predicted]
        for sample, values in enumerate(drawn):
            index, name = row.index * self._samples + sample, {}
            if self._samples > 1:
                name = {"uid": f"{row.uid}_s{sample}", "sample_of": row.uid}
            self._vectors.write(replace(row, index=index, **name), **values)
