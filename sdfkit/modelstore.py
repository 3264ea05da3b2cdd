"""Trained networks, read back from their stores."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sdfkit.checkpoint import fingerprint
from sdfkit.errors import InputError
from sdfkit.store import PLAIN, StoreReader, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import torch

    from sdfkit.manifest import Row
    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.dit import DiT
    from sdfkit.models.fields import Fields
    from sdfkit.models.mlp import MLPConfig
    from sdfkit.training.dit import Standard

    N = TypeVar("N", bound=torch.nn.Module)

MAKERS = {"denoiser": "train-dit", "decoder": "train-deepsdf", "autoencoder": "train-ae"}


class Denoiser(NamedTuple):
    """A denoiser and what it must be given."""

    name: str
    network: "DiT"
    standard: "Standard"
    attributes: "dict[str, Any]"
    """Those of its store."""
    rows: "list[Row]"
    codes: "np.ndarray"
    """The training shapes and their codes."""

    @property
    def encoder(self) -> "dict[str, Any]":
        """How the pictures were embedded that it was trained on."""
        return dict(self.attributes.get("encoder", {}))

    @property
    def decoder(self) -> str | None:
        """The SHA-256 of the decoder whose codes it makes; None where the codes it learned did not tell."""
        return self.attributes.get("decoder_sha256")

    @property
    def mlp(self) -> "dict[str, Any] | None":
        """The description of the networks whose weights it makes; None where it makes codes."""
        return self.attributes.get("network")

    @property
    def condition(self) -> str:
        """The array of a features store that it looks at: feature or token."""
        return str(self.attributes["condition"])

    def check(self, features: StoreReader) -> None:
        """Refuse features that are not of the kind it was trained on.

        Raises:
            InputError: They come from another encoder, are of another width, or lack the patches.
        """
        if self.condition not in features:
            raise InputError(
                f"{features.name}: has no {self.condition}, which {self.name} looks at; embed with "
                f"{'--tokens patch' if self.condition == 'token' else 'sdfkit embed'}"
            )
        for theirs, ours in zip(
            _kind(features.attributes.get("encoder", {})), _kind(self.encoder), strict=True
        ):
            if theirs != ours:
                raise InputError(
                    f"{features.name}: embedded with {theirs}, but {self.name} was trained on {ours}; "
                    "embed as it was trained"
                )
        *shape, width = features.array(self.condition).shape
        config = self.network.config
        if width != config.feature:
            raise InputError(
                f"{features.name}: features of {width} numbers, but {self.name} was trained on {config.feature}; "
                "embed as it was trained"
            )
        if config.patches > 1 and shape[2] != config.patches:
            raise InputError(
                f"{features.name}: {shape[2]} vectors a view, but {self.name} was trained on {config.patches}; "
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


def read_vectors(store: StoreReader) -> "tuple[list[Row], np.ndarray]":
    """The rows of an open store that did not fail, and their codes or weights.

    Raises:
        InputError: Weights that are not of the network that the store describes.
    """
    name = PLAIN[store.kind]
    rows, arrays = store.read_rows(name)
    if store.kind == "weights" and "network" in store.attributes:
        from sdfkit.models.mlp import count_parameters

        wanted, width = count_parameters(read_mlp(store)), arrays[name].shape[1]
        if width != wanted:
            raise InputError(f"{store.name}: weights of {width} numbers, but their network reads {wanted}")
    return rows, arrays[name]


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

    Raises:
        InputError: It holds no denoiser, or not all of it.
    """
    import torch

    from sdfkit.models.dit import DiT, DiTConfig
    from sdfkit.training.dit import Standard

    with open_store(path, "denoiser", manifest=None) as store:
        network = _rebuild(store, "denoiser", lambda config: DiT(DiTConfig(**config)), device)
        mean, std = (torch.from_numpy(store.read(f"standard/{name}")) for name in ("mean", "std"))
        floored = store.attributes_of("standard").get("floored")
        if floored is None or "condition" not in store.attributes or not (mean + std).isfinite().all():
            raise InputError(f"{store.name}: not all of a denoiser is there; train it again")
        rows, arrays = store.read_rows("code")
        return Denoiser(
            name=store.name,
            network=network,
            standard=Standard(mean, std, floored),
            attributes=store.attributes,
            rows=rows,
            codes=arrays["code"],
        )


class Decoder(NamedTuple):
    """A DeepSDF decoder and the codes of its training shapes."""

    name: str
    network: "DeepSDF"
    codes: "np.ndarray"
    history: "list[dict[str, Any]]"

    @property
    def decoder(self) -> str:
        """The SHA-256 by which codes tell whose they are."""
        state = self.network.state_dict()
        return fingerprint({name: value.cpu().numpy() for name, value in state.items()})


def load_decoder(path: str, device: str) -> Decoder:
    """Read a DeepSDF decoder.

    Args:
        path: A deepsdf store.
        device: Where it will run, as torch names it.

    Raises:
        InputError: It holds no decoder, or not all of it.
    """
    with open_store(path, "deepsdf", manifest=None) as store:
        network = read_decoder(store, device)
        _, arrays = store.read_rows("code")
        return Decoder(store.name, network, arrays["code"], store.history)


def read_decoder(store: StoreReader, device: str) -> "DeepSDF":
    """The decoder of an open deepsdf store."""
    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig

    return _rebuild(store, "decoder", lambda config: DeepSDF(DeepSDFConfig(**{"activation": "relu"} | config)), device)


class Reader(NamedTuple):
    """What codes stand for, by the network that reads them: a decoder's, or an autoencoder's."""

    name: str
    fields: "Fields"
    decoder: str
    """The SHA-256 by which codes tell whose they are."""
    history: "list[dict[str, Any]]"


def load_reader(path: str, device: str) -> Reader:
    """Read what reads codes.

    Args:
        path: A deepsdf or autoencoder store.
        device: Where it will run, as torch names it.

    Raises:
        InputError: It holds no such network, or not all of it.
    """
    with open_store(path, "deepsdf", "autoencoder", manifest=None) as store:
        group = "decoder" if store.kind == "deepsdf" else "autoencoder"
        fields = read_fields(store, device)
        return Reader(store.name, fields, fingerprint(store.read_group(group)), store.history)


def check_codes(codes: StoreReader, model: Reader | Denoiser) -> None:
    """Refuse codes that tell that they were learned with another decoder than a model has, or was trained for.

    Codes of a plain array, and those of older stores, do not tell.

    Raises:
        InputError: They do.
    """
    theirs, ours = codes.attributes.get("decoder_sha256"), model.decoder
    if theirs and ours and theirs != ours:
        raise InputError(
            f"{codes.name}: codes of another decoder ({theirs[:8]}) than that of {model.name} ({ours[:8]}); "
            "name stores that belong together"
        )


def read_fields(store: StoreReader, device: str) -> "Fields":
    """What the rows of an open deepsdf, autoencoder or weights store stand for."""
    from sdfkit.models.autoencoder import Autoencoder, AutoencoderConfig
    from sdfkit.models.fields import fields_of_autoencoder, fields_of_codes, fields_of_weights

    if store.kind == "deepsdf":
        return fields_of_codes(read_decoder(store, device))
    if store.kind == "autoencoder":
        network = _rebuild(
            store, "autoencoder", lambda config: Autoencoder(AutoencoderConfig(**config)), device
        )
        return fields_of_autoencoder(network, read_mlp(store))
    return fields_of_weights(read_mlp(store))


def read_mlp(store: StoreReader) -> "MLPConfig":
    """What the networks of an open store are whose weights it holds, or learned.

    Raises:
        InputError: It does not say.
    """
    from sdfkit.models.mlp import MLPConfig

    try:
        return MLPConfig(**store.attributes.get("network", {}))
    except TypeError as error:
        raise InputError(
            f"{store.name}: does not say what its networks are ({error}); was it made by sdfkit?"
        ) from error


def _rebuild(store: StoreReader, group: str, build: "Callable[[dict[str, Any]], N]", device: str) -> "N":
    """A network from the group that holds its configuration and parameters."""
    import torch

    if group not in store:
        raise InputError(f"{store.name}: holds no {group}; name a store that {MAKERS[group]} made")
    try:
        network = build(store.attributes_of(group))
        network.load_state_dict(
            {name: torch.from_numpy(value) for name, value in store.read_group(group).items()}
        )
    except (TypeError, RuntimeError) as error:
        # PyTorch's own words for parameters that do not fit.
        reason = " ".join(str(error).split())
        raise InputError(
            f"{store.name}: its {group} cannot be built again ({reason}); was it made by sdfkit?"
        ) from error
    broken = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(
            f"{store.name}: its {group} holds numbers that are not finite ({broken[0]}); train it again"
        )
    return network.to(device).eval().requires_grad_(False)
