"""Codes or weights sampled from a predictor, and written to a store shape by shape."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import UsageError
from sdfkit.inference.predictors import Predictor
from sdfkit.io.stores.writer import StoreWriter
from sdfkit.rows import Row

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
) -> dict[str, Any]:
    """Complete what was asked for with the settings of a model.

    Args:
        predictor: The model.
        samples: Number of codes for each shape.
        steps: Number of steps; those of the model if None.
        eta: Share of the noise that DDIM renews in each step.
        guidance: Weight of classifier-free guidance; 1 is none.
        trajectory: Whether to keep every step of a flow.

    Returns:
        The options of `predictor.draw`.

    Raises:
        UsageError: The model does not sample, or has no such option.
    """
    name, settings = predictor.name, {"samples": samples, **predictor.settings}
    asked = {"--samples": samples > 1, "--steps": steps is not None, "--guidance": guidance != 1}
    if "steps" in settings:
        settings |= {"steps": steps or settings["steps"], "guidance": guidance}
    elif any(asked.values()):
        unused = ", ".join(option for option, is_asked in asked.items() if is_asked)
        raise UsageError(f"{name}: an encoder alone, which samples nothing; leave {unused} out")
    trained = predictor.attributes.get("settings", {})
    if guidance != 1 and trained.get("feature_dropout", trained.get("dropout")) == 0:
        log.warning(
            "%s: was trained without dropping its condition, which --guidance needs; train with --cfg-dropout 0.1",
            name,
        )
    if "eta" in settings:
        settings["eta"] = eta
    elif eta:
        raise UsageError(f"{name}: a flow renews no noise; leave --eta out")
    if trajectory:
        if "trajectory" not in settings:
            raise UsageError(f"{name}: has no steps from noise to a code that --trajectory could keep")
        settings["trajectory"] = True
    return settings


def describe_origin(predictor: Predictor, path: str) -> dict[str, Any]:
    """Return the attributes of a store of predictions, by which later commands find what belongs to them.

    Args:
        predictor: The model.
        path: Its store, as the command line names it.
    """
    attributes = {
        # rank finds the training codes by the model's name, and recognises them by their digest.
        "denoiser": path,
        "known": hashlib.sha256(predictor.codes.tobytes()).hexdigest(),
    }
    if predictor.decoder is not None:
        # mesh checks by it that a decoder belongs to these codes.
        attributes["decoder_sha256"] = predictor.decoder
    return attributes if predictor.mlp is None else attributes | {"network": predictor.mlp}


def create_arrays(
    writer: StoreWriter,
    predictor: Predictor,
    count: int,
    settings: Mapping[str, Any],
    pictures: Collection[str],
) -> None:
    """Declare the arrays of a store of predictions.

    Args:
        writer: The store.
        predictor: The model.
        count: Number of rows: shapes times samples.
        settings: What `choose_settings` returned.
        pictures: What of `picture` and `mask` the inputs have; trajectories keep both.
    """
    shape = (count, predictor.dim)
    if predictor.mlp is None:
        writer.create_array("code", shape=shape, dtype="f4", axes=("shape", "dim"))
    else:
        writer.create_array("weights", shape=shape, dtype="f4", axes=("shape", "parameter"))
    if settings["samples"] > 1:
        writer.create_array("sample_of", shape=(count,), dtype=np.dtypes.StringDType(), axes=("shape",))
    if settings.get("trajectory"):
        _create_trajectory(writer, shape, settings["steps"] + 1, pictures)


def _create_trajectory(
    writer: StoreWriter, shape: tuple[int, int], steps: int, pictures: Collection[str]
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
    """A writer that takes the condition of each shape, and writes codes or weights sampled for it.

    Args:
        writer: The store that the samples are written to.
        predictor: The model.
        settings: What `choose_settings` returned.
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
        """Sample for one shape and write its rows; a shape that failed gets rows with its error."""
        samples = self._settings["samples"]
        drawn: list[dict[str, Any]] = [{}] * samples
        if row.error:
            self.failed.add(row.index)
        else:
            drawn = self._predictor.draw(arrays, seed_generator(self._seed, row.index), **self._settings)
        for sample, values in enumerate(drawn):
            index, names = row.index * samples + sample, {}
            if samples > 1:
                names = {"uid": f"{row.uid}_s{sample}", "sample_of": row.uid}
            self._writer.write(replace(row, index=index, **names), **values)


def seed_generator(seed: int, index: int) -> "torch.Generator":
    """Return the random stream of one shape, which does not depend on the other shapes."""
    import torch

    stream = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(stream[0] >> np.uint64(1)))
