"""Pictures to feature vectors, through any image encoder that transformers can load."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from jaxtyping import Float32, UInt8

from sdfkit.errors import InputError, MissingError
from sdfkit.images.encoding import lite0
from sdfkit.images.encoding.preprocess import Preprocessing, preprocess, read_preprocessing

if TYPE_CHECKING:
    import torch

Pool = Literal["auto", "cls", "mean", "max"]
Output = Literal["cls", "normed cls", "pooled", "mean", "max"]
Tokens = Literal["none", "patch", "all"]
Precision = Literal["fp32", "bf16", "int8"]

# Pictures that go through together in int8. Rounding is as fast as the cache: on DINOv2-base 2 cost 173 ms each,
# 4 cost 169, and 8, whose activations leave the cache, 187.
INT8_IMAGES = 4

# What a feature in int8 must keep of its direction.
LEAST_COSINE = 0.999


@dataclass(frozen=True)
class Encoder:
    """A frozen network that turns pictures into vectors."""

    network: "torch.nn.Module"
    name: str
    revision: str
    """Commit of the hub's repository, or version of the package; empty for a local folder."""
    preprocessing: Preprocessing
    output: Output
    """Which of the network's outputs is the feature, see `_choose_output`."""
    tokens: Tokens
    """Which of its tokens to keep as well: none, those of the patches, or all."""
    skipped: int
    """Tokens before those of the patches: the class token and registers."""
    device: str
    precision: Precision

    def encode(self, views: Sequence[UInt8[np.ndarray, "kind row column 3"]]) -> dict[str, np.ndarray]:
        """Give `feature` (view, dim), and `token` (view, token, dim) where tokens are kept.

        A view is a stack of pictures, such as colour, depth and normals: their vectors stand one behind the
        other in `dim`.
        """
        feature, token = self.embed_with_tokens(np.concatenate(views))
        arrays = {"feature": feature} | ({} if self.tokens == "none" else {"token": token})
        stacked = {name: array.reshape(len(views), -1, *array.shape[1:]) for name, array in arrays.items()}
        # The kind moves beside the numbers that it is joined with.
        joined = {name: np.moveaxis(array, 1, -2) for name, array in stacked.items()}
        return {name: array.reshape(*array.shape[:-2], -1) for name, array in joined.items()}

    def embed(self, images: UInt8[np.ndarray, "image row column 3"]) -> Float32[np.ndarray, "image dim"]:
        """Give each picture's feature."""
        return self.embed_with_tokens(images)[0]

    def embed_with_tokens(
        self, images: UInt8[np.ndarray, "image row column 3"]
    ) -> tuple[Float32[np.ndarray, "image dim"], Float32[np.ndarray, "image token width"]]:
        """Give features, and the vectors of the patches in reading order, from one pass.

        The class token and registers come before the patches where all tokens are kept.
        """
        if self.precision == "int8" and len(images) > INT8_IMAGES:
            parts = [
                self.embed_with_tokens(images[at : at + INT8_IMAGES])
                for at in range(0, len(images), INT8_IMAGES)
            ]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

        import torch

        pixels = preprocess(images, self.preprocessing, self.device)
        # Weights stay in float32: autocast keeps LayerNorm and softmax exact, and costs no time against bf16
        # weights.
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            outputs = self.network(pixel_values=pixels)
        hidden = outputs.last_hidden_state.float()
        if hidden.ndim == 4:  # a convolutional network's (image, width, row, column)
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
        """Give what a store must record so that its features can be made again."""
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
        model: A name on the hub, a local folder, or `efficientnet-lite0`, whose weights come with a package.
        revision: Commit, tag or branch on the hub; None for its main branch.
            What was once downloaded is used without asking the hub again.
        pool: The feature: the class token, or the mean or the greatest of the patches' vectors; `auto` is the
            class token, and what the network pools where it has none.
        tokens: Which tokens to keep as well.
        device: Where to run, as torch names it.
        precision: Of matrix products. With int8 the encoder is tried on a picture of a sphere first.

    Raises:
        MissingError: The model, or the package that carries it, is not on this machine and cannot be fetched;
            or the machine has no int8 units.
        InputError: The model is no image encoder, has no class token to give, lacks weights, or does not bear int8.
    """
    from transformers import AutoImageProcessor

    bundled = model == lite0.NAME
    source = str(lite0.lite0_folder()) if bundled else model
    # Pillow's processor, whether torchvision is installed or not: features must not depend on that.
    network, report, processor = read_pretrained(
        source,
        model,
        revision,
        partial(AutoImageProcessor.from_pretrained, backend="pil"),
        "image",
        lite0.NAME,
    )

    # Models of images and texts: only the side that sees is kept.
    body = getattr(network, "vision_model", network)
    output, skipped = _choose_output(body, pool, model)
    check_weights(report, model, uses_pooler=output in ("normed cls", "pooled"))
    encoder = Encoder(
        network=body.to(device).eval().requires_grad_(False),
        name=model,
        revision=lite0.VERSION if bundled else getattr(network.config, "_commit_hash", None) or "",
        preprocessing=read_preprocessing(processor, model),
        output=output,
        tokens=tokens,
        skipped=skipped,
        device=device,
        precision="fp32" if precision == "int8" else precision,
    )
    return _in_int8(encoder) if precision == "int8" else encoder


def _in_int8(encoder: Encoder) -> Encoder:
    from sdfkit.models.quantised import has_int8_units, quantise

    if encoder.device != "cpu" or not has_int8_units():
        raise MissingError(
            "--precision int8: needs a processor with VNNI, and --device cpu; use another precision"
        )
    picture = _sphere()
    exact = encoder.embed(picture)[0]
    if quantise(encoder.network) == 0:
        raise InputError(
            f"{encoder.name}: has no linear layers, so int8 gains nothing; leave --precision out"
        )
    rough = encoder.embed(picture)[0]
    cosine = float(exact @ rough / np.linalg.norm(exact) / np.linalg.norm(rough))
    # Random weights keep 0.9994 (DINOv2-base). In a trained network a few numbers far larger than the rest may leave
    # the others too few of the 8 bits: MiniLM's text encoder falls to 0.991, and would be refused.
    if cosine < LEAST_COSINE:
        raise InputError(
            f"{encoder.name}: int8 turns its features too far (cosine {cosine:.4f}); leave --precision out"
        )
    return replace(encoder, precision="int8")


def _sphere() -> UInt8[np.ndarray, "1 row column 3"]:
    """Draw a gray ball under a headlight, on black."""
    y, x = np.mgrid[-1.3:1.3:224j, -1.3:1.3:224j]
    height = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    return np.repeat((200 * height).astype(np.uint8)[None, ..., None], 3, axis=-1)


def check_weights(report: dict[str, Any], model: str, *, uses_pooler: bool) -> None:
    """Refuse a checkpoint without weights that the feature depends on; transformers would draw them.

    Raises:
        InputError: Some are missing.
    """
    lacking = [name for name in report["missing_keys"] if uses_pooler or "pooler" not in name]
    if lacking:
        raise InputError(f"{model}: {len(lacking)} of its weights are missing, first {min(lacking)}")


def read_pretrained(
    source: str,
    model: str,
    revision: str | None,
    read_processor: Callable[..., Any],
    sees: str,
    bundled: str,
) -> tuple[Any, Any, Any]:
    """Load a network and what prepares its input, from a folder, the cache or the hub.

    Args:
        source: A folder, or a name on the hub.
        model: What messages call it.
        revision: On the hub.
        read_processor: Loads what prepares the input, as transformers' `from_pretrained`.
        sees: What it encodes, for messages.
        bundled: The name of the model that needs no hub, for messages.

    Returns:
        The network, what its checkpoint lacks, and what prepares its input.

    Raises:
        MissingError: It is not on this machine and cannot be fetched.
        InputError: The folder holds no such encoder.
    """
    from safetensors import SafetensorError

    try:
        return _read(source, revision, read_processor)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(source).is_dir():
            raise InputError(f"{model}: no {sees} encoder for transformers: {_line(error)}") from error
        raise MissingError(
            f"{model}: not on this machine, and the hub does not give it: {_line(error)} "
            f"(a downloaded folder works offline: --model PATH; so does --model {bundled})"
        ) from error


def _read(source: str, revision: str | None, read_processor: Callable[..., Any]) -> tuple[Any, Any, Any]:
    from huggingface_hub import hf_hub_download
    from transformers import AutoModel

    def read(local_files_only: bool) -> tuple[Any, Any, Any]:
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        processor = read_processor(source, **options)
        network, report = AutoModel.from_pretrained(
            source, dtype="float32", output_loading_info=True, **options
        )
        return network, report, processor

    try:
        with lite0.hide_progress_bars():
            return read(local_files_only=True)
    except OSError:
        if Path(source).is_dir():
            raise
    reach_hub()
    # Fails once, clearly, where the hub has no such model; from_pretrained would try again for every file.
    hf_hub_download(source, "config.json", revision=revision)
    return read(local_files_only=False)


def _choose_output(body: Any, pool: Pool, model: str) -> tuple[Output, int]:
    """Decide which output is the feature, and how many tokens come before the patches'.

    Networks with a class token normalise all tokens at the end (DINOv2, ViT: "cls"), or only that token,
    which they then call pooled (CLIP: "normed cls"). The others pool (EfficientNet, SigLIP: "pooled") or
    leave it to us ("mean").
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
    """Try a connection, which fails in seconds; the hub's library would retry for half a minute, and tell each time.

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


def _line(error: Exception) -> str:
    """Give the first line of a library's message."""
    return str(error).strip().partition("\n")[0]
