"""Feature vectors of images, by any image encoder that the transformers library can load."""

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from jaxtyping import Float32, UInt8

from sdfkit.errors import InputError, MissingError, first_line
from sdfkit.images.encoding import lite0
from sdfkit.images.encoding.preprocess import Preprocessing, preprocess, read_preprocessing

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Pool = Literal["auto", "cls", "mean", "max"]
Output = Literal["cls", "normed cls", "pooled", "mean", "max"]
Tokens = Literal["none", "patch", "all"]
Precision = Literal["fp32", "bf16", "int8"]

# Batch size in int8, for which the time to round activations depends on the cache: with DINOv2-base an image takes 173
# ms in batches of 2, 169 ms in batches of 4, and 187 ms in batches of 8, whose activations do not fit into the cache.
INT8_IMAGES = 4

# Lowest accepted cosine between a feature in int8 and the same feature in fp32.
LEAST_COSINE = 0.999


@dataclass(frozen=True)
class Encoder:
    """A frozen network that encodes images as vectors."""

    network: "torch.nn.Module"
    name: str
    revision: str
    """Commit of the repository on the Hugging Face hub, or version of the Python package; empty for a local folder."""
    preprocessing: Preprocessing
    output: Output
    """Which output of the network is the feature; see `_choose_output`."""
    tokens: Tokens
    """Which tokens to return beside the feature: none, those of patches, or all."""
    skipped: int
    """Number of tokens before those of the patches: the class token and registers."""
    device: str
    precision: Precision

    def encode(self, views: Sequence[UInt8[np.ndarray, "kind row column 3"]]) -> dict[str, np.ndarray]:
        """Encode views as `feature` (view, dim), and `token` (view, token, dim) if tokens are kept.

        A view is a stack of images, such as colour, depth and normals, whose vectors are concatenated along `dim`.
        """
        feature, token = self.embed_with_tokens(np.concatenate(views))
        arrays = {"feature": feature} | ({} if self.tokens == "none" else {"token": token})
        stacked = {name: array.reshape(len(views), -1, *array.shape[1:]) for name, array in arrays.items()}
        # Move the axis of kinds next to the last one, which it is joined with.
        joined = {name: np.moveaxis(array, 1, -2) for name, array in stacked.items()}
        return {name: array.reshape(*array.shape[:-2], -1) for name, array in joined.items()}

    def embed(self, images: UInt8[np.ndarray, "image row column 3"]) -> Float32[np.ndarray, "image dim"]:
        """Return the feature of each image."""
        return self.embed_with_tokens(images)[0]

    def embed_with_tokens(
        self, images: UInt8[np.ndarray, "image row column 3"]
    ) -> tuple[Float32[np.ndarray, "image dim"], Float32[np.ndarray, "image token width"]]:
        """Return features, and the tokens of the patches in reading order, from one forward pass.

        If all tokens are kept, the class token and registers come before the patches.
        """
        if self.precision == "int8" and len(images) > INT8_IMAGES:
            parts = [
                self.embed_with_tokens(images[at : at + INT8_IMAGES])
                for at in range(0, len(images), INT8_IMAGES)
            ]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

        import torch

        pixels = preprocess(images, self.preprocessing, self.device)
        # Weights stay in float32. Autocast keeps LayerNorm and softmax in float32, and is as fast as bf16 weights.
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            outputs = self.network(pixel_values=pixels)
        hidden = outputs.last_hidden_state.float()
        if hidden.ndim == 4:  # (image, width, row, column), of a convolutional network
            hidden = hidden.flatten(2).transpose(1, 2)
        patches = hidden[:, self.skipped :]
        if self.output == "cls":
            feature = hidden[:, 0]
        elif self.output == "mean":
            feature = patches.mean(dim=1)
        elif self.output == "max":
            feature = patches.amax(dim=1)
        else:
            feature = outputs.pooler_output.float().flatten(1)
        tokens = hidden if self.tokens == "all" else patches
        return feature.cpu().numpy(), tokens.contiguous().cpu().numpy()

    def describe(self) -> dict[str, Any]:
        """Return what a store records, so that the features can be reproduced."""
        return {
            "model": self.name,
            "revision": self.revision,
            "precision": self.precision,
            "preprocessing": asdict(self.preprocessing) | {"output": self.output},
        }


def load_encoder(
    model: str,
    *,
    revision: str | None,
    pool: Pool,
    tokens: Tokens,
    device: str,
    precision: Precision,
) -> Encoder:
    """Load an image encoder.

    Args:
        model: A name on the Hugging Face hub, a local folder, or `efficientnet-lite0`, whose weights come from a Python
            package.
        revision: Commit, tag or branch on the hub; None for the main branch. A revision in the cache is used without
            a request to the hub.
        pool: What the feature is. `cls`: the class token; `mean` and `max`: the mean or maximum over the tokens of
            patches; `auto`: the class token, or the pooled output of a network without class token.
        tokens: Which tokens to return beside the feature.
        device: The torch device to run on.
        precision: Precision of matrix products. int8 is tested on an image of a sphere first.

    Raises:
        MissingError: The model or its Python package is not on this machine and cannot be downloaded; or the processor
            has no int8 units.
        InputError: The model is not an image encoder, has no class token although `pool` asks for it, lacks weights,
            or is too inaccurate in int8.
    """
    from transformers import AutoImageProcessor

    bundled = model == lite0.NAME
    source = str(lite0.lite0_folder()) if bundled else model
    # Always the image processor that uses Pillow: features must not depend on whether torchvision is installed.
    network, report, processor = read_pretrained(
        source,
        model,
        revision,
        partial(AutoImageProcessor.from_pretrained, backend="pil"),
        "image",
        lite0.NAME,
    )

    # Of a model with an image encoder and a text encoder, only the image encoder is kept.
    body = getattr(network, "vision_model", network)
    output, skipped = _choose_output(body, pool, model)
    check_weights(report, model, unused=() if output in ("normed cls", "pooled") else ("pooler",))
    encoder = Encoder(
        network=body.to(device).eval().requires_grad_(False),
        name=model,
        revision=lite0.VERSION if bundled else cached_commit(source, revision),
        preprocessing=read_preprocessing(processor, model),
        output=output,
        tokens=tokens,
        skipped=skipped,
        device=device,
        precision="fp32" if precision == "int8" else precision,
    )
    return _in_int8(encoder) if precision == "int8" else encoder


def load_preprocessing(model: str) -> Preprocessing:
    """Load the preprocessing of an image encoder without its network.

    Args:
        model: See `load_encoder`.

    Raises:
        MissingError: The model is not on this machine, and cannot be downloaded.
        InputError: The folder holds no image encoder, or its preprocessing is not supported.
    """
    from transformers import AutoImageProcessor

    source = str(lite0.lite0_folder()) if model == lite0.NAME else model
    read = partial(AutoImageProcessor.from_pretrained, backend="pil")
    advice = f"leave --model out, or use --model {lite0.NAME}"
    return read_preprocessing(fetch(source, model, None, read, "image processor", advice), model)


def _in_int8(encoder: Encoder) -> Encoder:
    """Quantise an encoder, and check that its feature of a test image keeps its direction."""
    from sdfkit.models.quantised import has_int8_units, quantise

    if encoder.device != "cpu" or not has_int8_units():
        raise MissingError(
            "--precision int8: needs --device cpu and a processor with VNNI instructions; use another precision"
        )
    image = _sphere()
    exact = encoder.embed(image)[0]
    if quantise(encoder.network) == 0:
        raise InputError(
            f"{encoder.name}: has no linear layers, so int8 would not be faster; leave --precision out"
        )
    quantised = encoder.embed(image)[0]
    cosine = float(exact @ quantised / np.linalg.norm(exact) / np.linalg.norm(quantised))
    # The cosine is 0.9994 for DINOv2-base with random weights. In a trained network, a few activations may be so
    # large that 8 bits resolve the others too coarsely: the text encoder MiniLM, with 0.991, would be refused.
    if cosine < LEAST_COSINE:
        raise InputError(
            f"{encoder.name}: int8 changes its features too much (cosine {cosine:.4f}); leave --precision out"
        )
    return replace(encoder, precision="int8")


def _sphere() -> UInt8[np.ndarray, "1 row column 3"]:
    """Return an image of a grey sphere under a headlight, on black."""
    y, x = np.mgrid[-1.3:1.3:224j, -1.3:1.3:224j]
    height = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    return np.repeat((200 * height).astype(np.uint8)[None, ..., None], 3, axis=-1)


def check_weights(report: dict[str, Any], model: str, *, unused: Collection[str]) -> None:
    """Check that a checkpoint has all weights that the result depends on.

    The transformers library initialises missing weights at random.

    Args:
        report: The loading report of the transformers library.
        model: Name of the model, for messages.
        unused: Parts of the names of weights that the result does not depend on.

    Raises:
        InputError: Weights are missing.
    """
    missing = [name for name in report["missing_keys"] if not any(part in name for part in unused)]
    if missing:
        raise InputError(
            f"{model}: {len(missing)} of its weights are missing, such as {min(missing)}; use a complete checkpoint"
        )


def read_pretrained(
    source: str,
    model: str,
    revision: str | None,
    read_processor: Callable[..., Any],
    content: str,
    bundled: str,
) -> tuple[Any, Any, Any]:
    """Load a network and its processor from a folder, the cache or the hub.

    Args:
        source: A folder, or a name on the Hugging Face hub.
        model: Name of the model, for messages.
        revision: Commit, tag or branch on the hub; None for the main branch.
        read_processor: Function that loads the image processor or tokenizer, such as `AutoTokenizer.from_pretrained`.
        content: What the model encodes, for messages: image or text.
        bundled: Name of the model that needs no hub, for messages.

    Returns:
        The network, the loading report of the transformers library, and the processor.

    Raises:
        MissingError: The model is not on this machine and cannot be downloaded.
        InputError: The folder contains no such encoder.
    """
    from transformers import AutoModel

    def read(source: str, **options: Any) -> tuple[Any, Any, Any]:
        processor = read_processor(source, **options)
        network, report = AutoModel.from_pretrained(
            source, dtype="float32", output_loading_info=True, **options
        )
        return network, report, processor

    advice = f"offline, give a downloaded folder (--model PATH), or use --model {bundled}"
    return fetch(source, model, revision, read, f"{content} encoder", advice)


def fetch(
    source: str, model: str, revision: str | None, read: Callable[..., T], content: str, advice: str
) -> T:
    """Read parts of a model from a folder or the cache, or else from the hub.

    Args:
        source: See `read_pretrained`, as for `model` and `revision`, and for errors.
        model: Name of the model.
        revision: Commit, tag or branch.
        read: Function that reads them: (source, revision=, local_files_only=).
        content: What is read, for messages.
        advice: What to do offline, for messages.
    """
    from huggingface_hub import hf_hub_download
    from safetensors import SafetensorError

    try:
        try:
            with lite0.hide_progress_bars():
                return read(source, revision=revision, local_files_only=True)
        except OSError:
            if Path(source).is_dir():
                raise
        reach_hub()
        # If the hub has no such model, this fails once, with a clear error; from_pretrained would retry for every file.
        hf_hub_download(source, "config.json", revision=revision)
        return read(source, revision=revision, local_files_only=False)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(source).is_dir():
            raise InputError(
                f"{model}: holds no {content} that the transformers library can load: {first_line(error)}"
            ) from error
        raise MissingError(
            f"{model}: is not on this machine, and the download failed ({first_line(error)}); {advice}"
        ) from error


def cached_commit(source: str, revision: str | None) -> str:
    """Return the commit of a repository of the Hugging Face hub in the local cache; empty for a local folder.

    Args:
        source: A folder, or a name on the hub.
        revision: Commit, tag or branch; None for the main branch.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(source).is_dir():
        return ""
    # Files of a commit are in a folder snapshots/COMMIT, as the documentation of the cache says.
    path = try_to_load_from_cache(source, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else ""


def _choose_output(body: Any, pool: Pool, model: str) -> tuple[Output, int]:
    """Return which output is the feature, and how many tokens precede those of the patches.

    Some networks with a class token normalise all tokens at the end (DINOv2, ViT: "cls"). Others normalise only the
    class token, and return it as the pooled output (CLIP: "normed cls"). Of the networks without a class token, some
    return a pooled output (EfficientNet, SigLIP: "pooled"); for the rest the feature is the mean over patches ("mean").
    """
    names = [name.rpartition(".")[2] for name, _ in body.named_parameters()]
    has_class = "cls_token" in names or "class_embedding" in names
    skipped = has_class + getattr(body.config, "num_register_tokens", 0)
    if pool == "mean" or pool == "max":
        return pool, skipped
    if has_class:
        return ("normed cls" if hasattr(body, "post_layernorm") else "cls"), skipped
    if pool == "cls":
        raise InputError(f"{model}: has no class token; use --pool mean or max, or leave --pool out")
    pools = any(getattr(body, name, None) is not None for name in ("pooler", "head"))
    return ("pooled" if pools else "mean"), skipped


def reach_hub() -> None:
    """Try to connect to the Hugging Face hub, for at most 5 seconds.

    Without this check, the huggingface_hub library would retry for half a minute, with a warning each time. In offline
    mode and behind a proxy, no connection is tried.

    Raises:
        OSError: The hub does not answer.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or getproxies():
        return
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError as error:
        raise OSError(f"{host} does not answer ({error})") from error
