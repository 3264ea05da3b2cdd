"""What models that predict shapes from images or features have in common, and the check of features for them."""

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

from sdfkit.errors import InputError
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from sdfkit.rows import Row


class Predictor(Protocol):
    """A model that predicts the code, the network weights or the distances of a shape from images or features."""

    @property
    def name(self) -> str:
        """Name of the model's store, for messages."""

    @property
    def attributes(self) -> "dict[str, Any]":
        """Attributes of the model's store."""

    @property
    def rows(self) -> "list[Row]":
        """The training shapes."""

    @property
    def what(self) -> str:
        """What kind of model it is, for messages: "is a flow"."""

    @property
    def kind(self) -> str:
        """Kind of store that holds the predictions: "codes", "weights" or "grids"."""

    @property
    def array(self) -> "tuple[str, tuple[int, ...], tuple[str, ...]]":
        """Name of the array of a prediction, its shape and the names of its axes."""

    @property
    def encoder(self) -> "Mapping[str, Any]":
        """Description of the encoder that computed the training features; empty if there are none."""

    @property
    def identity(self) -> "dict[str, Any]":
        """Attributes of the store of predictions by which later commands recognise the training codes and decoder."""

    @property
    def condition(self) -> str:
        """The condition: `feature`, `token` (features of patches), `picture`, or `posed` (with masks and cameras)."""

    @property
    def feature(self) -> int:
        """Length of a feature vector; 0 if the model is not conditioned on features."""

    @property
    def patches(self) -> int:
        """Number of feature vectors for each view: the number of patches, or 1."""

    @property
    def settings(self) -> "Mapping[str, Any]":
        """Options of `draw` with their default values, except `samples`."""

    def draw(
        self, arrays: "Mapping[str, np.ndarray]", generator: "torch.Generator", **options: Any
    ) -> "list[dict[str, np.ndarray]]":
        """Sample latent codes, or weights, of one shape.

        Args:
            arrays: The views of the shape: the array that `condition` names, and optionally `camera_to_world`, `yfov`
                and `mask`.
            generator: Source of the noise.
            options: `samples`, the number of samples, and the options of `settings`.

        Returns:
            For each sample, the arrays of its row in a store: that of `array`, and the trajectory if asked for.
        """


def identify(codes: "np.ndarray", decoder: str | None, mlp: "Mapping[str, Any] | None") -> "dict[str, Any]":
    """Return `Predictor.identity` of a model of codes or weights.

    Args:
        codes: Codes or weights of the training shapes. The command rank recognises them by their digest.
        decoder: SHA-256 of the decoder, which the command mesh compares; None if it is unknown.
        mlp: Architecture of the networks whose weights are predicted; None for codes.
    """
    attributes: dict[str, Any] = {"known": hashlib.sha256(codes.tobytes()).hexdigest()}
    if decoder is not None:
        attributes["decoder_sha256"] = decoder
    return attributes if mlp is None else attributes | {"network": mlp}


def check_features(features: StoreReader, model: "Predictor") -> None:
    """Check that features are of the kind that a model was trained on.

    Raises:
        InputError: The features come from another encoder, have another length, or lack the vectors of patches.
    """
    if model.condition not in features:
        raise InputError(
            f"{features.name}: has no array {model.condition}, which {model.name} is conditioned on; embed with "
            f"{'--tokens patch' if model.condition == 'token' else 'sdfkit embed'}"
        )
    for theirs, ours in zip(_kind(features.attributes.get("encoder", {})), _kind(model.encoder), strict=True):
        if theirs != ours:
            raise InputError(
                f"{features.name}: was embedded with {theirs}, but {model.name} was trained on {ours}; "
                "embed with the same model and options"
            )
    *shape, width = features.array(model.condition).shape
    if width != model.feature:
        raise InputError(
            f"{features.name}: its features have {counted(width, 'number')}, but {model.name} was trained on "
            f"{model.feature}; embed with the same model and options"
        )
    if model.patches > 1 and shape[2] != model.patches:
        raise InputError(
            f"{features.name}: has {counted(shape[2], 'patch')} per view, but {model.name} was trained on "
            f"{model.patches}; embed with the same model and options"
        )


def _kind(encoder: "Mapping[str, Any]") -> tuple[str, str, str]:
    """Return the facts that must be equal for features to be comparable: model, output, and kinds of images.

    Estimated depth is comparable only with that of the same estimator, and not with true depth.
    """
    output = encoder.get("preprocessing", {}).get("output", "unknown")
    kinds = ", ".join(encoder.get("views", []) or ["rgb"])
    if "depth" in encoder:
        model, revision = (encoder["depth"].get(name) for name in ("model", "revision"))
        kinds += f" (estimated by {model or 'an unknown model'}{f' {revision}' if revision else ''})"
    elif "," in kinds:
        kinds += " (rendered)"
    return encoder.get("model", "an unknown model"), f"output {output}", kinds


def condition_arrays(features: StoreReader, condition: str) -> tuple[str, ...]:
    """Return the names of the arrays that a denoiser is conditioned on: features, and cameras if there are any."""
    return (condition, "camera_to_world") if "camera_to_world" in features else (condition,)


def cameras_of(arrays: "Mapping[str, np.ndarray]", condition: str, axes: int) -> "np.ndarray":
    """Return the camera-to-world matrices of views; zeros, which mean unknown, if there are none.

    Args:
        arrays: Arrays of a features store, with or without `camera_to_world`.
        condition: Name of the array of features.
        axes: Number of axes of that array up to the axis of views: 1 for (view, ...), 2 for (shape, view, ...).
    """
    import numpy as np

    if "camera_to_world" in arrays:
        return arrays["camera_to_world"]
    return np.zeros((*arrays[condition].shape[:axes], 4, 4), np.float32)
