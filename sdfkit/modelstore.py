"""Trained networks, read back from their stores."""

from typing import TYPE_CHECKING, Any, NamedTuple

from sdfkit.errors import InputError
from sdfkit.store import StoreReader, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from sdfkit.manifest import Row
    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.dit import DiT
    from sdfkit.training.dit import Standard


class Denoiser(NamedTuple):
    """A denoiser and what it must be given."""

    name: str
    network: "DiT"
    standard: "Standard"
    encoder: "dict[str, Any]"
    """How the pictures were embedded that it was trained on."""
    condition: str
    """The array of a features store that it looks at: feature or token."""
    rows: "list[Row]"
    codes: "np.ndarray"
    """The training shapes and their codes."""

    def check(self, features: StoreReader) -> None:
        """Refuse features that are not of the kind it was trained on.

        Raises:
            InputError: They come from another encoder, are of another width, or lack the patches.
        """
        if self.condition not in features:
            raise InputError(
                f"{features.name}: has no patch vectors, which {self.name} needs; embed with --tokens patch"
            )
        for theirs, ours in zip(
            _kind(features.attributes.get("encoder", {})), _kind(self.encoder), strict=True
        ):
            if theirs != ours:
                raise InputError(
                    f"{features.name}: embedded with {theirs}, but {self.name} was trained on {ours}; "
                    "embed as it was trained"
                )
        width, needed = features.array(self.condition).shape[-1], self.network.config.feature
        if width != needed:
            raise InputError(
                f"{features.name}: features of {width} numbers, but {self.name} was trained on {needed}; "
                "embed as it was trained"
            )

    def shape(self, features: "np.ndarray") -> "np.ndarray":
        """Features of views as (shape, view, patch, feature)."""
        config = self.network.config
        return features.reshape(*features.shape[:2], config.patches, config.feature)


def _kind(encoder: "dict[str, Any]") -> tuple[str, str, str]:
    """What must be alike of two encoders: model, which of its outputs, and of which kinds of pictures."""
    output = encoder.get("preprocessing", {}).get("output", "unknown")
    return (
        encoder.get("model", "an unknown model"),
        f"output {output}",
        ", ".join(encoder.get("views", []) or ["rgb"]),
    )


def condition_arrays(features: StoreReader, condition: str) -> tuple[str, ...]:
    """The arrays of features that a denoiser is given: those it looks at, and cameras, where pictures had any."""
    return (condition, "camera_to_world") if "camera_to_world" in features else (condition,)


def cameras_of(arrays: "Mapping[str, np.ndarray]", condition: str, axes: int) -> "np.ndarray":
    """The cameras among arrays whose first `axes` axes end with the views; zeros, for unknown, where there are none."""
    import numpy as np

    if "camera_to_world" in arrays:
        return arrays["camera_to_world"]
    return np.zeros((*arrays[condition].shape[:axes], 4, 4), np.float32)


def load_denoiser(path: str, device: str) -> Denoiser:
    """Read a denoiser.

    Args:
        path: A denoiser store.
        device: Where it will run, as torch names it.
    """
    import torch

    from sdfkit.models.dit import DiT, DiTConfig
    from sdfkit.training.dit import Standard

    with open_store(path, "denoiser", manifest=None) as store:
        network = DiT(DiTConfig(**store.attributes_of("denoiser")))
        network.load_state_dict(
            {name: torch.from_numpy(value) for name, value in store.read_group("denoiser").items()}
        )
        scale = {name: torch.from_numpy(value) for name, value in store.read_group("standard").items()}
        rows, arrays = store.read_rows("code")
        return Denoiser(
            name=store.name,
            network=network.to(device).eval(),
            standard=Standard(scale["mean"], scale["std"], store.attributes_of("standard")["floored"]),
            encoder=store.attributes.get("encoder", {}),
            condition=store.attributes["condition"],
            rows=rows,
            codes=arrays["code"],
        )


class Decoder(NamedTuple):
    """A DeepSDF decoder and the codes of its training shapes."""

    name: str
    network: "DeepSDF"
    codes: "np.ndarray"


def load_decoder(path: str, device: str) -> Decoder:
    """Read a DeepSDF decoder.

    Args:
        path: A deepsdf store.
        device: Where it will run, as torch names it.
    """
    import torch

    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig

    with open_store(path, "deepsdf", manifest=None) as store:
        network = DeepSDF(DeepSDFConfig(**store.attributes_of("decoder")))
        network.load_state_dict(
            {name: torch.from_numpy(value) for name, value in store.read_group("decoder").items()}
        )
        _, arrays = store.read_rows("code")
        return Decoder(store.name, network.to(device).eval().requires_grad_(False), arrays["code"])
