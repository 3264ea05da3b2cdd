from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdfkit.options import STANDARD, Device, Manifest, Matte, Output, Overwrite, Seed

if TYPE_CHECKING:
    from sdfkit.inference.predictors import Predictor
    from sdfkit.io.stores.writer import StoreWriter
    from sdfkit.rows import Row


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A denoiser that train-dit made, or a flow of train-flow.")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="A features or views store, or picture files or folders; - is a pipe."
        ),
    ] = [STANDARD],  # noqa: B006  typer copies it
    *,
    samples: Annotated[int, typer.Option(min=1, help="Codes, or weights, to draw for each shape.")] = 1,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=500, show_default="50; a flow's own", help="Steps of the DDIM sampler, or of a flow."
        ),
    ] = None,
    eta: Annotated[
        float, typer.Option(min=0, max=1, help="Share of noise that DDIM renews in each step.")
    ] = 0,
    guidance: Annotated[float, typer.Option(help="Weight of classifier-free guidance; 1 is none.")] = 1,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Keep every step of a flow, with its silhouette, for view.")
    ] = False,
    matte: Matte = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    manifest: Manifest = None,
    output: Output = STANDARD,
    overwrite: Overwrite = False,
) -> None:
    """Predict codes of shapes, or their weights, from their pictures.

    Features are used as they are; views and picture files are embedded first, with the encoder that the denoiser was
    trained on. A flow looks at the pictures themselves, unless it was trained on features. A file is a shape of its
    own, named by its stem. Several photos of one object belong into a folder inside a folder: of predict photos/, each
    file is a shape, and so is each folder in it, whose files are its views and are used together. Files have no
    cameras: where the model was trained with them, that costs a little.

    A denoiser that was trained on weights gives weights, which sdfkit mesh reads without a decoder.

    With --samples N each shape gives N rows, uid_s0, uid_s1 ..., which name the shape they are of: how they differ
    tells how sure the model is. A flow of stage encoder draws nothing: it takes no --samples, --steps or --guidance.

    \b
    Examples:
      sdfkit predict dit.zarr photo.jpg | sdfkit mesh --decoder deepsdf.zarr > photo.ply
      sdfkit render new.glb --views 4 | sdfkit predict dit.zarr | sdfkit mesh --decoder deepsdf.zarr > new.ply
      sdfkit predict dit.zarr features.zarr --samples 4 | sdfkit mesh --decoder deepsdf.zarr | sdfkit compare - closed/
      sdfkit predict dit.zarr features.zarr | sdfkit rank
      sdfkit predict flow.zarr views.zarr --trajectory | sdfkit view -o steps.html
    """
    import hashlib
    import logging

    import numpy as np

    from sdfkit.errors import UsageError
    from sdfkit.inference.encoders import open_features
    from sdfkit.inference.predictors import load_predictor
    from sdfkit.io.stores.writer import create_store
    from sdfkit.runtime.device import choose_device
    from sdfkit.runtime.pool import conclude

    log = logging.getLogger(__name__)
    if model == STANDARD and STANDARD in inputs:
        raise UsageError("standard input can be read once; name a file for MODEL or INPUT")
    place = choose_device(device)
    predictor = load_predictor(model, place)
    settings = {"samples": samples, **predictor.settings}
    asked = {"--samples": samples > 1, "--steps": steps is not None, "--guidance": guidance != 1}
    if "steps" in settings:
        settings |= {"steps": steps or settings["steps"], "guidance": guidance}
    elif any(asked.values()):
        idle = ", ".join(name for name, is_asked in asked.items() if is_asked)
        raise UsageError(f"{model}: an encoder alone, which draws nothing; leave {idle} out")
    trained = predictor.attributes.get("settings", {})
    if guidance != 1 and trained.get("feature_dropout", trained.get("dropout")) == 0:
        log.warning(
            "%s: saw its condition at every step, so --guidance has nothing to lead away from; train with "
            "--cfg-dropout 0.1",
            model,
        )
    if "eta" in settings:
        settings["eta"] = eta
    elif eta:
        raise UsageError(f"{model}: a flow renews no noise; leave --eta out")
    if trajectory:
        if "trajectory" not in settings:
            raise UsageError(f"{model}: takes no steps from noise to a code that --trajectory could keep")
        settings["trajectory"] = True
    attributes = {
        # rank finds the training codes by the model's name, and knows them again by this.
        "denoiser": model,
        "known": hashlib.sha256(predictor.codes.tobytes()).hexdigest(),
        # mesh knows by this whether a decoder reads these codes.
        **({} if predictor.decoder is None else {"decoder_sha256": predictor.decoder}),
        **({} if predictor.mlp is None else {"network": predictor.mlp}),
    }
    kind = "codes" if predictor.mlp is None else "weights"
    with open_features(inputs, predictor, matte=matte, device=place, manifest=manifest) as features:
        count = features.count * samples
        with create_store(
            output, kind, count=count, history=features.history, settings=settings | {"seed": seed}, seed=seed,
            attributes=attributes, overwrite=overwrite,
        ) as vectors:  # fmt: skip
            shape = (count, predictor.dim)
            if kind == "codes":
                vectors.create_array("code", shape=shape, dtype="f4", axes=("shape", "dim"))
            else:
                vectors.create_array("weights", shape=shape, dtype="f4", axes=("shape", "parameter"))
            if samples > 1:
                text = np.dtypes.StringDType()
                vectors.create_array("sample_of", shape=(count,), dtype=text, axes=("shape",))
            if trajectory:
                _create_trajectory(vectors, count, settings["steps"] + 1, predictor.dim, features.holds)
            sampler = _Sampler(vectors, predictor, samples, seed, settings)
            features.send(sampler)
    what = kind if samples == 1 else f"{samples} {kind} each"
    conclude(output, what, features.count, sampler.failed)


def _create_trajectory(
    vectors: "StoreWriter", count: int, steps: int, dim: int, holds: "frozenset[str]"
) -> None:
    from sdfkit.models.flow import SIZE

    picture = ("row", "column")
    vectors.create_array("trajectory", shape=(count, steps, dim), dtype="f4", axes=("shape", "step", "dim"))
    shape = (count, steps, SIZE, SIZE)
    vectors.create_array("silhouette", shape=shape, dtype="u1", axes=("shape", "step", *picture))
    if "picture" in holds:
        axes = ("shape", *picture, "channel")
        vectors.create_array("picture", shape=(count, SIZE, SIZE, 3), dtype="u1", axes=axes)
    if "mask" in holds:
        vectors.create_array("truth", shape=(count, SIZE, SIZE), dtype="u1", axes=("shape", *picture))


class _Sampler:
    """Takes shapes with what there is to see of them, and writes codes or weights drawn for them."""

    def __init__(
        self,
        vectors: "StoreWriter",
        predictor: "Predictor",
        samples: int,
        seed: int,
        settings: dict[str, Any],
    ) -> None:
        self._vectors = vectors
        self._predictor = predictor
        self._samples = samples
        self._seed = seed
        self._settings = settings
        self.failed: set[int] = set()

    def has(self, row: "Row") -> bool:
        return False

    def write(self, row: "Row", **arrays: Any) -> None:
        import numpy as np
        import torch

        drawn: list[dict[str, Any]] = [{}] * self._samples
        if row.error:
            self.failed.add(row.index)
        else:
            # A shape's stream does not depend on the shapes beside it.
            stream = np.random.SeedSequence(self._seed, spawn_key=(row.index,)).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(stream[0] >> np.uint64(1)))
            drawn = self._predictor.draw(arrays, generator, **self._settings)
        for sample, values in enumerate(drawn):
            index, name = row.index * self._samples + sample, {}
            if self._samples > 1:
                name = {"uid": f"{row.uid}_s{sample}", "sample_of": row.uid}
            self._vectors.write(replace(row, index=index, **name), **values)
