"""The contents of the stores of decoders, denoisers and flows: from their training, and for a further stage of it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.models.writer import Group, ModelContents, fingerprint, network_group
from sdfkit.io.stores.reader import open_store

if TYPE_CHECKING:
    from sdfkit.io.stores.contents.training_views import TrainingViews
    from sdfkit.training.deepsdf.training import DeepSDFTraining
    from sdfkit.training.dit.training import DiTTraining
    from sdfkit.training.flow.training import FlowTraining

# The networks of a flow store.
FLOW_NETWORKS = ("encoder", "conditioner", "flow", "decoder", "light")


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


def flow_contents(training: "FlowTraining", views: "TrainingViews") -> ModelContents:
    """Return the contents of the store of a flow: its networks and the codes of its training shapes.

    In distributed training every process must call this.
    """
    codes = training.result().cpu().numpy()
    networks, settings = training.networks, training.settings
    configs = {"decoder": networks.decoder.config, "light": None}
    groups = {
        name: network_group(networks.get_submodule(name), configs.get(name, training.config))
        for name in FLOW_NETWORKS
    }
    attributes = {
        "stage": training.stages[-1], "condition": views.condition, "encoder": views.encoder, "euler": settings.euler,
        "noise": "scaled" if settings.code_scale else "unit",
        "decoder_sha256": fingerprint(groups["decoder"].arrays),
    }  # fmt: skip
    return ModelContents({"code": codes}, groups, attributes)


def read_flow_networks(path: str, stage: str) -> dict[str, np.ndarray]:
    """Read the parameters of all networks of a flow store by name, to begin the stage after `stage` with them.

    Raises:
        InputError: The last stage in which the store was trained is not `stage`.
    """
    with open_store(path, "flow", manifest=None) as store:
        if store.attributes.get("stage") != stage:
            raise InputError(
                f"{store.name}: was trained up to stage {store.attributes.get('stage')}, but stage {stage} is needed; "
                f"make it with --stage {stage}"
            )
        return {
            f"{name}.{key}": value for name in FLOW_NETWORKS for key, value in store.read_group(name).items()
        }
