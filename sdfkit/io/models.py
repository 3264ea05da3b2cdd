"""Trained networks, read back from their stores."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from sdfkit.errors import InputError
from sdfkit.io.stores.layout import PLAIN
from sdfkit.io.stores.reader import StoreReader, open_store
from sdfkit.io.stores.resume import find_unfinished
from sdfkit.options import STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from sdfkit.models.deepsdf import DeepSDF
    from sdfkit.models.fields import Fields
    from sdfkit.models.mlp import MLPConfig
    from sdfkit.rows import Row
    from sdfkit.runtime.training_loop import Training

    N = TypeVar("N", bound=torch.nn.Module)

log = logging.getLogger(__name__)
# The command that makes each network.
MAKERS = {
    "denoiser": "train-dit",
    "decoder": "train-deepsdf",
    "autoencoder": "train-ae",
    "encoder": "train-flow",
    "conditioner": "train-flow",
    "flow": "train-flow",
}


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


def fingerprint(parameters: Mapping[str, np.ndarray]) -> str:
    """A SHA-256 of a network's named parameters, by which codes tell whose they are."""
    content = hashlib.sha256()
    for name in sorted(parameters):
        content.update(name.encode() + np.ascontiguousarray(parameters[name]).tobytes())
    return content.hexdigest()


def load_unfinished(
    training: "Training",
    output: str,
    kind: str,
    settings: Mapping[str, Any],
    uids: Sequence[str],
    *,
    overwrite: bool,
) -> list[float]:
    """Continue from what an interrupted run of the same command has saved, if there is such a thing.

    Returns:
        The losses of the steps that were taken.

    Raises:
        InputError: The output exists and is something else.
    """
    if output == STANDARD or "://" in output:
        return []
    if not find_unfinished(Path(output.rstrip("/")), kind, settings, uids, overwrite=overwrite):
        return []
    with open_store(output, kind, manifest=None, partial=True) as store:
        training.load_state(store.read_group("state"))
        losses: list[float] = store.read("loss").tolist()
    log.info("%s: goes on after step %d", output, training.steps_taken)
    return losses


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
    """The decoder of an open deepsdf or flow store."""
    from sdfkit.models.deepsdf import DeepSDF, DeepSDFConfig

    return rebuild(
        store, "decoder", lambda config: DeepSDF(DeepSDFConfig(**{"activation": "relu"} | config)), device
    )


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
        path: A deepsdf, autoencoder or flow store.
        device: Where it will run, as torch names it.

    Raises:
        InputError: It holds no such network, or not all of it.
    """
    with open_store(path, "deepsdf", "autoencoder", "flow", manifest=None) as store:
        group = "autoencoder" if store.kind == "autoencoder" else "decoder"
        fields = read_fields(store, device)
        return Reader(store.name, fields, fingerprint(store.read_group(group)), store.history)


class MadeForDecoder(Protocol):
    """A model that reads or makes the codes of one decoder."""

    @property
    def name(self) -> str: ...

    @property
    def decoder(self) -> str | None:
        """The decoder's SHA-256; None where the model does not know it."""


def check_codes(codes: StoreReader, model: MadeForDecoder) -> None:
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
    """What the rows of an open deepsdf, flow, autoencoder or weights store stand for."""
    from sdfkit.models.autoencoder import Autoencoder, AutoencoderConfig
    from sdfkit.models.fields import fields_of_autoencoder, fields_of_codes, fields_of_weights

    if store.kind in ("deepsdf", "flow"):
        return fields_of_codes(read_decoder(store, device))
    if store.kind == "autoencoder":
        network = rebuild(
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


def rebuild(store: StoreReader, group: str, build: "Callable[[dict[str, Any]], N]", device: str) -> "N":
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
