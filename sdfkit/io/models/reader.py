"""Reads trained networks from stores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.models.writer import fingerprint, network_group
from sdfkit.io.stores.layout import PLAIN, SMALL
from sdfkit.io.stores.reader import open_store
from sdfkit.io.stores.store_reader import StoreReader
from sdfkit.io.tables.joined import open_stores
from sdfkit.rows import digest_text
from sdfkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from sdfkit.models.autoencoder import Autoencoder
    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.fields import Fields
    from sdfkit.models.layers import MLPConfig
    from sdfkit.rows import Row

    N = TypeVar("N", bound=torch.nn.Module)

# The command that trains each network.
MAKERS = {
    "denoiser": "train-dit",
    "decoder": "train-deepsdf",
    "autoencoder": "train-ae",
    "encoder": "train-flow",
    "conditioner": "train-flow",
    "flow": "train-flow",
    "recon": "train-recon",
}


def digest_network(store: StoreReader) -> str:
    """Return a digest of the network by which the rows of a store become distance functions, and its configuration."""
    content = json.dumps(store.attributes.get("network", {}), sort_keys=True)
    for name in ("decoder", "autoencoder"):
        if name in store:
            content += json.dumps(store.attributes_of(name), sort_keys=True) + fingerprint(
                store.read_group(name)
            )
    return digest_text(content)


def read_vectors(store: StoreReader) -> "tuple[list[Row], np.ndarray]":
    """Read the rows of an open store that did not fail, and their latent codes or network weights.

    Raises:
        InputError: The number of weights per row differs from the number of parameters of the per-shape network.
    """
    name = PLAIN[store.kind]
    rows, arrays = store.read_rows(name)
    if store.kind == "weights" and "network" in store.attributes:
        from sdfkit.models.layers import count_parameters

        needed, width = count_parameters(read_mlp(store)), arrays[name].shape[1]
        if width != needed:
            raise InputError(
                f"{store.name}: has {counted(width, 'weight')} per shape, but their network has {needed}"
            )
    return rows, arrays[name]


class FittedWeights(NamedTuple):
    """Weights of one small network per shape, the configuration of these networks, and the history of their store."""

    rows: "list[Row]"
    vectors: np.ndarray
    networks: "MLPConfig"
    history: "list[dict[str, Any]]"


def load_weights(paths: Sequence[str], *, manifest: Path | None) -> FittedWeights:
    """Load the weights of per-shape networks for training.

    Args:
        paths: A weights store, or several that are read as one.
        manifest: Manifest whose labels replace the stored ones.

    Raises:
        InputError: The store holds no weights, no configuration of their networks, or only one shape.
    """
    with open_stores(paths, "weights", manifest=manifest) as store:
        networks, (rows, vectors) = read_mlp(store), read_vectors(store)
        if len(rows) == 1:
            raise InputError(f"{store.name}: has one shape ({rows[0].uid}), but training needs two or more")
        return FittedWeights(rows, vectors, networks, store.history)


class Decoder(NamedTuple):
    """A DeepSDF decoder and the latent codes of its training shapes."""

    name: str
    network: "DeepSDF"
    codes: "np.ndarray"
    history: "list[dict[str, Any]]"

    @property
    def decoder(self) -> str:
        """SHA-256 of the decoder's parameters, which stores of latent codes record; see `fingerprint`."""
        return fingerprint(network_group(self.network, None).arrays)


def load_decoder(path: str, device: str) -> Decoder:
    """Load a DeepSDF decoder and the latent codes of its training shapes.

    Args:
        path: A store that `train-deepsdf` wrote.
        device: Name of the torch device to load the decoder on.

    Raises:
        InputError: The store holds no decoder, or some of its parameters are missing.
    """
    with open_store(path, "deepsdf", manifest=None) as store:
        network = read_decoder(store, device)
        _, arrays = store.read_rows("code")
        return Decoder(store.name, network, arrays["code"], store.history)


def read_decoder(store: StoreReader, device: str) -> "DeepSDF":
    """Load the decoder of an open store that `train-deepsdf` or `train-flow` wrote."""
    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig
    from sdfkit.models.latents import LatentLayout

    def build(config: dict[str, Any]) -> DeepSDF:
        layout = None if config.get("layout") is None else LatentLayout(**config["layout"])
        return DeepSDF(DeepSDFConfig(**{"activation": "relu"} | config | {"layout": layout}))

    return rebuild(store, "decoder", build, device)


def read_token_lengths(store: StoreReader) -> list[int]:
    """Return the lengths of the parts of codes with places, of an open store; see `LatentLayout.tokens`.

    Raises:
        InputError: The store does not hold a decoder of such codes.
    """
    layout = read_decoder(store, "cpu").config.layout if store.kind == "deepsdf" else None
    if layout is None:
        raise InputError(
            f"{store.name}: its codes have no places; give a store of train-deepsdf --latent grid, triplane or hybrid, "
            "or give --tokens a number"
        )
    return layout.tokens


def read_autoencoder(store: StoreReader, device: str) -> "Autoencoder":
    """Load the autoencoder of an open store that `train-ae` wrote."""
    from sdfkit.models.autoencoder import Autoencoder, AutoencoderConfig

    return rebuild(store, "autoencoder", lambda config: Autoencoder(AutoencoderConfig(**config)), device)


class CodeDecoder(NamedTuple):
    """A network that decodes latent codes to distance fields: a DeepSDF decoder or an autoencoder."""

    name: str
    fields: "Fields"
    decoder: str
    """SHA-256 of the network's parameters, which stores of latent codes record; see `fingerprint`."""
    history: "list[dict[str, Any]]"


def load_code_decoder(path: str, device: str) -> CodeDecoder:
    """Load the network that decodes latent codes.

    Args:
        path: A store that `train-deepsdf`, `train-ae` or `train-flow` wrote.
        device: Name of the torch device to load the network on.

    Raises:
        InputError: The store holds no such network, or some of its parameters are missing.
    """
    with open_store(path, "deepsdf", "autoencoder", "flow", manifest=None) as store:
        return read_code_decoder(store, device)


def read_code_decoder(store: StoreReader, device: str) -> CodeDecoder:
    """Load the network that decodes latent codes of an open store; see `load_code_decoder`."""
    group = "autoencoder" if store.kind == "autoencoder" else "decoder"
    fields = read_fields(store, device)
    return CodeDecoder(store.name, fields, fingerprint(store.read_group(group)), store.history)


class MadeForDecoder(Protocol):
    """A model that belongs to one decoder, because it decodes or predicts latent codes for that decoder."""

    @property
    def name(self) -> str: ...

    @property
    def decoder(self) -> str | None:
        """SHA-256 of the decoder; None if it is unknown."""


def check_codes(codes: StoreReader, model: MadeForDecoder) -> None:
    """Check that latent codes belong to the decoder of a model.

    Codes from a plain array or an older store, which does not record the decoder, are accepted.

    Raises:
        InputError: The codes belong to another decoder.
    """
    check_same_decoder(f"{codes.name}: its", codes.attributes.get("decoder_sha256"), model)


def check_same_decoder(subject: str, theirs: str | None, model: MadeForDecoder) -> None:
    """Raise InputError if latent codes belong to another decoder than that of a model.

    Args:
        subject: Whose latent codes, for the message: "codes.zarr: its".
        theirs: SHA-256 of the decoder of the codes; None if it is unknown.
        model: The model.
    """
    if theirs and model.decoder and theirs != model.decoder:
        raise InputError(
            f"{subject} latent codes belong to another decoder ({theirs[:8]}) than that of {model.name} "
            f"({model.decoder[:8]}); give stores that were made with the same decoder"
        )


def read_fields(store: StoreReader, device: str) -> "Fields":
    """Return what turns rows of an open deepsdf, flow, autoencoder, weights or grids store into distance fields."""
    from sdfkit.models.fields import (
        fields_of_autoencoder,
        fields_of_codes,
        fields_of_grids,
        fields_of_weights,
    )

    if store.kind == "grids":
        return fields_of_grids(store.array("grid").shape[1])
    if store.kind in ("deepsdf", "flow"):
        return fields_of_codes(read_decoder(store, device))
    if store.kind == "autoencoder":
        return fields_of_autoencoder(read_autoencoder(store, device), read_mlp(store))
    return fields_of_weights(read_mlp(store))


def read_mlp(store: StoreReader) -> "MLPConfig":
    """Read the configuration of the small network per shape of an open weights, autoencoder or denoiser store.

    Raises:
        InputError: The store has no valid configuration.
    """
    return parse_mlp(store.attributes, store.name)


def parse_mlp(attributes: Mapping[str, Any], name: str) -> "MLPConfig":
    """Return the configuration of the small network per shape from the attributes of a store; see `read_mlp`."""
    from sdfkit.models.layers import MLPConfig

    try:
        return MLPConfig(**attributes.get("network", {}))
    except TypeError as error:
        raise InputError(
            f"{name}: has no configuration of its per-shape networks ({error}); was it made by sdfkit?"
        ) from error


def rebuild(store: StoreReader, group: str, build: "Callable[[dict[str, Any]], N]", device: str) -> "N":
    """Build a network from the group of an open store that holds its configuration and parameters.

    Args:
        store: The store.
        group: Name of the group.
        build: Builds the network from its configuration.
        device: Name of the torch device to load the network on.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        InputError: The group is missing, its parameters do not fit the network, or a parameter is NaN or infinite.
    """
    import torch

    if group not in store:
        raise InputError(f"{store.name}: holds no {group}; give a store that {MAKERS[group]} wrote")
    config, parameters = store.attributes_of(group), store.read_group(group)
    try:
        with torch.device("meta"):  # counts parameters without memory for them
            needed = sum(value.numel() for value in build(config).state_dict().values())
        held = sum(value.size for value in parameters.values())
        if 4 * needed > SMALL + 4 * held:
            raise ValueError(f"its configuration has {needed} parameters, but {held} are stored")
        network = build(config)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # PyTorch's message for parameters that do not fit.
        reason = " ".join(str(error).split())
        raise InputError(
            f"{store.name}: its {group} cannot be loaded ({reason}); was the store made by sdfkit?"
        ) from error
    broken = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(
            f"{store.name}: the parameter {broken[0]} of its {group} is not finite; train the {group} again"
        )
    return network.to(device).eval().requires_grad_(False)
