"""Samples latent codes or network weights from a model, and writes them to a store shape by shape."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import UsageError
from sdfkit.inference.prediction.predictors import Predictor
from sdfkit.io.stores.store_writer import StoreWriter
from sdfkit.rows import Row, seed_shape

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def choose_settings(
    predictor: Predictor,
    *,
    samples: int = 1,
    steps: int | None = None,
    eta: float = 0,
    guidance: float = 1,
    trajectory: bool = False,
    average: int = 1,
) -> dict[str, Any]:
    """Combine the options of a user with the default settings of a model.

    Args:
        predictor: The model.
        samples: Number of codes for each shape.
        steps: Number of sampling steps; None for the default of the model.
        eta: DDIM's eta: 0 for deterministic steps, 1 to add as much new noise in each step as DDPM.
        guidance: Weight of classifier-free guidance; 1 for no guidance.
        trajectory: Whether to store the code after every step of a flow.
        average: Number of predictions to average, for a reconstruction network.

    Returns:
        The options of `predictor.draw`.

    Raises:
        UsageError: An option is given that the model does not have.
    """
    name, settings = predictor.name, {"samples": samples, **predictor.settings}
    asked = {"--samples": samples > 1, "--steps": steps is not None, "--guidance": guidance != 1}
    if "steps" in settings:
        settings |= {"steps": steps or settings["steps"], "guidance": guidance}
    elif any(asked.values()):
        unused = ", ".join(option for option, is_asked in asked.items() if is_asked)
        raise UsageError(f"{name}: {predictor.what}, which predicts without sampling; leave {unused} out")
    trained = predictor.attributes.get("settings", {})
    if guidance != 1 and trained.get("feature_dropout", trained.get("dropout")) == 0:
        log.warning(
            "%s: was trained without randomly dropped conditions, which --guidance needs; train with --cfg-dropout 0.1",
            name,
        )
    if "eta" in settings:
        settings["eta"] = eta
    elif eta:
        raise UsageError(f"{name}: {predictor.what}, which adds no noise in its steps; leave --eta out")
    if "average" in settings:
        settings["average"] = average
    elif average != 1:
        raise UsageError(
            f"{name}: {predictor.what}, but --average is for networks of train-recon; leave it out"
        )
    if trajectory:
        if "trajectory" not in settings:
            raise UsageError(
                f"{name}: is not a flow, but --trajectory stores the steps of a flow; leave it out"
            )
        settings["trajectory"] = True
    return settings


def describe_origin(predictor: Predictor, path: str) -> dict[str, Any]:
    """Return the attributes of a store of predictions, which name the model and the decoder for later commands.

    Args:
        predictor: The model.
        path: Path of the model's store, as on the command line.
    """
    # The command rank finds the training codes by the path of the model.
    return {"denoiser": path, **predictor.identity}


def create_arrays(
    writer: StoreWriter,
    predictor: Predictor,
    count: int,
    settings: Mapping[str, Any],
    pictures: Collection[str],
) -> None:
    """Create the arrays of a store of predictions.

    Args:
        writer: The store.
        predictor: The model.
        count: Number of rows: the number of shapes times the number of samples.
        settings: Return value of `choose_settings`, and `refine` if the codes are refined.
        pictures: Which of the arrays `picture` and `mask` the inputs have. They are stored with trajectories.
    """
    name, shape, axes = predictor.array
    writer.create_array(name, shape=(count, *shape), dtype="f4", axes=("shape", *axes))
    if settings.get("refine"):
        writer.create_array("silhouette_iou", shape=(count,), dtype="f4", axes=("shape",))
    if settings["samples"] > 1:
        writer.create_array("sample_of", shape=(count,), dtype=np.dtypes.StringDType(), axes=("shape",))
    if settings.get("trajectory"):
        _create_trajectory(writer, (count, *shape), settings["steps"] + 1, pictures)


def _create_trajectory(
    writer: StoreWriter, shape: tuple[int, ...], steps: int, pictures: Collection[str]
) -> None:
    from sdfkit.models.flow import SIZE

    count, dim = shape
    image = ("row", "column")
    writer.create_array("trajectory", shape=(count, steps, dim), dtype="f4", axes=("shape", "step", "dim"))
    writer.create_array(
        "silhouette", shape=(count, steps, SIZE, SIZE), dtype="u1", axes=("shape", "step", *image)
    )
    if "picture" in pictures:
        axes = ("shape", *image, "channel")
        writer.create_array("picture", shape=(count, SIZE, SIZE, 3), dtype="u1", axes=axes)
    if "mask" in pictures:
        writer.create_array("truth", shape=(count, SIZE, SIZE), dtype="u1", axes=("shape", *image))


class SampleWriter:
    """A writer that receives features or images of each shape, and writes the codes or weights sampled from them.

    Args:
        writer: The store that the samples are written to.
        predictor: The model.
        settings: Return value of `choose_settings`.
        seed: Seed of all random numbers.
    """

    def __init__(
        self, writer: StoreWriter, predictor: Predictor, settings: Mapping[str, Any], seed: int = 0
    ) -> None:
        self._writer = writer
        self._predictor = predictor
        self._settings = settings
        self._seed = seed
        self.failed: set[int] = set()

    def has(self, row: Row) -> bool:
        return False

    def write(self, row: Row, **arrays: Any) -> None:
        """Sample codes or weights of one shape and write one row per sample; for a failed shape, write its error."""
        samples = self._settings["samples"]
        drawn: list[dict[str, Any]] = [{}] * samples
        if row.error:
            self.failed.add(row.index)
        else:
            drawn = self._predictor.draw(arrays, seed_generator(self._seed, row.uid), **self._settings)
        for sample, values in enumerate(drawn):
            index, names = row.index * samples + sample, {}
            if samples > 1:
                names = {"uid": f"{row.uid}_s{sample}", "sample_of": row.uid}
            self._writer.write(replace(row, index=index, **names), **values)


def seed_generator(seed: int, uid: str) -> "torch.Generator":
    """Return the random number generator of one shape, which does not depend on the other shapes."""
    import torch

    stream = seed_shape(seed, uid).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(stream[0] >> np.uint64(1)))
