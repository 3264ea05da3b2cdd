"""Pictures to feature vectors, through any image encoder that transformers can load."""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from jaxtyping import Float32, UInt8

from sdfkit.errors import InputError, MissingError
from sdfkit.images import lite0
from sdfkit.images.preprocess import Preprocessing, preprocess, read_preprocessing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Encoder:
    """A frozen network that turns pictures into vectors."""

    network: "torch.nn.Module"
    name: str
    revision: str
    """Commit of the hub's repository, or version of the package; empty for a local folder."""
    preprocessing: Preprocessing
    output: Literal["cls", "normed cls", "pooled", "mean"]
    """Which of the network's outputs is the feature, see `_choose_output`."""
    skipped: int
    """Tokens before those of the patches: the class token and registers."""
    device: str
    bf16: bool

    def embed(self, images: UInt8[np.ndarray, "image row column 3"]) -> Float32[np.ndarray, "image dim"]:
        """Give each picture's feature: its class token after the final LayerNorm, else what is pooled."""
        return self.embed_with_tokens(images)[0]

    def embed_with_tokens(
        self, images: UInt8[np.ndarray, "image row column 3"]
    ) -> tuple[Float32[np.ndarray, "image dim"], Float32[np.ndarray, "image token width"]]:
        """Give features, and the vectors of the patches in reading order, from one pass."""
        import torch

        pixels = preprocess(images, self.preprocessing, self.device)
        # Weights stay in float32: autocast keeps LayerNorm and softmax exact, and costs no time against bf16
        # weights.
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16),
        ):
            outputs = self.network(pixel_values=pixels)
        hidden = outputs.last_hidden_state.float()
        if hidden.ndim == 4:  # a convolutional network's (image, width, row, column)
            hidden = hidden.flatten(2).transpose(1, 2)
        tokens = hidden[:, self.skipped :]
        if self.output == "cls":
            feature = hidden[:, 0]
        elif self.output == "mean":
            feature = tokens.mean(dim=1)
        else:
            feature = outputs.pooler_output.float().flatten(1)
        return feature.cpu().numpy(), tokens.contiguous().cpu().numpy()

    def describe(self) -> dict[str, Any]:
        """Give what a store must record so that its features can be made again."""
        return {
            "model": self.name,
            "revision": self.revision,
            "precision": "bf16" if self.bf16 else "fp32",
            "preprocessing": asdict(self.preprocessing) | {"output": self.output},
        }


def load_encoder(
    model: str, *, revision: str | None, device: str, precision: Literal["fp32", "bf16"]
) -> Encoder:
    """Load an image encoder.

    Args:
        model: A name on the hub, a local folder, or `efficientnet-lite0`, whose weights come with a package.
        revision: Commit, tag or branch on the hub; None for its main branch.
            What was once downloaded is used without asking the hub again.
        device: Where to run, as torch names it.
        precision: Of matrix products.

    Raises:
        MissingError: The model, or the package that carries it, is not on this machine and cannot be fetched.
        InputError: The model is no image encoder, or lacks weights.
    """
    from safetensors import SafetensorError

    bundled = model == lite0.NAME
    source = str(lite0.lite0_folder()) if bundled else model
    try:
        network, report, processor = _read(source, revision)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(source).is_dir():
            raise InputError(f"{model}: no image encoder for transformers: {_line(error)}") from error
        raise MissingError(
            f"{model}: not on this machine, and the hub does not give it: {_line(error)} "
            f"(a downloaded folder works offline: --model PATH; so does --model {lite0.NAME})"
        ) from error

    # Models of images and texts: only the side that sees is kept.
    body = getattr(network, "vision_model", network)
    output, skipped = _choose_output(body)
    lacking = [name for name in report["missing_keys"] if output != "cls" or "pooler" not in name]
    if lacking:
        raise InputError(f"{model}: {len(lacking)} of its weights are missing, first {min(lacking)}")
    return Encoder(
        network=body.to(device).eval().requires_grad_(False),
        name=model,
        revision=lite0.VERSION if bundled else getattr(network.config, "_commit_hash", None) or "",
        preprocessing=read_preprocessing(processor, model),
        output=output,
        skipped=skipped,
        device=device,
        bf16=precision == "bf16",
    )


def _read(source: str, revision: str | None) -> tuple[Any, Any, Any]:
    """Give the network, what its checkpoint lacks, and its image processor."""
    from huggingface_hub import hf_hub_download
    from transformers import AutoImageProcessor, AutoModel
    from transformers.utils import logging

    def read(local_files_only: bool) -> tuple[Any, Any, Any]:
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        # Pillow's processor, whether torchvision is installed or not: features must not depend on that.
        processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)  # type: ignore[no-untyped-call]
        network, report = AutoModel.from_pretrained(
            source, dtype="float32", output_loading_info=True, **options
        )
        return network, report, processor

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # reading a folder takes a second
    try:
        return read(local_files_only=True)
    except OSError:
        if Path(source).is_dir():
            raise
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    reach_hub()
    # Fails once, clearly, where the hub has no such model; from_pretrained would try again for every file.
    hf_hub_download(source, "config.json", revision=revision)
    return read(local_files_only=False)


def _choose_output(body: Any) -> tuple[Literal["cls", "normed cls", "pooled", "mean"], int]:
    """Decide which output is the feature, and how many tokens come before the patches'.

    Networks with a class token normalise all tokens at the end (DINOv2, ViT: "cls"), or only that token,
    which they then call pooled (CLIP: "normed cls"). The others pool (EfficientNet, SigLIP: "pooled") or
    leave it to us ("mean").
    """
    names = [name.rpartition(".")[2] for name, _ in body.named_parameters()]
    if "cls_token" in names or "class_embedding" in names:
        skipped = 1 + getattr(body.config, "num_register_tokens", 0)
        return ("normed cls" if hasattr(body, "post_layernorm") else "cls"), skipped
    pools = any(getattr(body, name, None) is not None for name in ("pooler", "head"))
    return ("pooled" if pools else "mean"), 0


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


def embed_rows(
    encoder: Encoder,
    rows: Iterable[tuple[int, UInt8[np.ndarray, "view row column 3"]]],
    *,
    batch: int,
    tokens: bool,
) -> Iterator[tuple[int, Float32[np.ndarray, "view dim"], Float32[np.ndarray, "view token width"] | None]]:
    """Embed the pictures of many shapes in batches that do not stop at a shape's end.

    Args:
        encoder: From `load_encoder`.
        rows: A shape's row and its pictures, at least one; all pictures of one size.
        batch: Pictures a pass.
        tokens: Also give the vectors of the patches.

    Yields:
        Each shape's row, features and, if wanted, patch vectors: in the order they came, as soon as the batch
        with its last picture is done.
    """
    waiting: list[tuple[int, int]] = []  # row and number of pictures, of shapes not yet complete
    pictures: list[UInt8[np.ndarray, "row column 3"]] = []
    features: list[Float32[np.ndarray, " dim"]] = []
    patches: list[Float32[np.ndarray, "token width"]] = []

    def embed() -> None:
        feature, token = encoder.embed_with_tokens(np.stack(pictures[:batch]))
        features.extend(feature)
        if tokens:
            patches.extend(token)
        del pictures[:batch]

    def complete() -> Iterator[
        tuple[int, Float32[np.ndarray, "view dim"], Float32[np.ndarray, "view token width"] | None]
    ]:
        while waiting and len(features) >= waiting[0][1]:
            row, count = waiting.pop(0)
            yield row, np.stack(features[:count]), np.stack(patches[:count]) if tokens else None
            del features[:count], patches[:count]

    for row, views in rows:
        waiting.append((row, len(views)))
        pictures.extend(views)
        while len(pictures) >= batch:
            embed()
            yield from complete()
    while pictures:
        embed()
        yield from complete()
