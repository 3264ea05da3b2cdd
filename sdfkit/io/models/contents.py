"""The contents of the stores of decoders and denoisers, from their training."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.io.models.reader import Group, ModelContents, fingerprint, network_group

if TYPE_CHECKING:
    from sdfkit.training.deepsdf.training import DeepSDFTraining
    from sdfkit.training.dit.training import DiTTraining


def decoder_contents(training: "DeepSDFTraining") -> ModelContents:
    """Return the contents of the store of a decoder: its network and the codes of its training shapes."""
    decoder, codes = training.result()
    group = network_group(decoder, training.config)
    attributes = {"decoder_sha256": fingerprint(group.arrays)}
    return ModelContents({"code": codes.cpu().numpy()}, {"decoder": group}, attributes)


def denoiser_contents(
    training: "DiTTraining", codes: np.ndarray, attributes: dict[str, Any]
) -> ModelContents:
    """Return the contents of the store of a denoiser: its network, the standardisation and the training codes.

    Args:
        training: The training of the denoiser.
        codes: The codes or weights of the training shapes.
        attributes: Attributes of the store.
    """
    mean, std = training.standardizer.mean.numpy(), training.standardizer.std.numpy()
    standard = Group({"floored": training.standardizer.floored}, {"mean": mean, "std": std})
    groups = {"denoiser": network_group(training.result(), training.config), "standard": standard}
    return ModelContents({"code": codes}, groups, attributes)
