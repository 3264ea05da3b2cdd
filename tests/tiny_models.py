"""A tiny image encoder and tiny depth estimators with random weights, built from configurations."""

import torch
from transformers import (
    BitImageProcessorPil,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessorPil,
)

SMALL = {"neck_hidden_sizes": [8] * 4, "fusion_hidden_size": 8}
BODY = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
DINO = {"image_size": 28, "patch_size": 14, "out_indices": [1, 2, 3, 4], "reshape_hidden_states": False}


def save_image_encoder(folder):
    """Save a DINOv2 of one layer, for images of 28 pixels, in the format of transformers."""
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    crop = {"height": 28, "width": 28}
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)


def _dpt(**changed):
    return DPTForDepthEstimation(
        DPTConfig(**BODY, **SMALL, image_size=32, backbone_out_indices=[0, 1, 2, 3], **changed)
    )


def _depth_anything(kind):
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=Dinov2Config(**BODY, **DINO), reassemble_hidden_size=16, patch_size=14, **SMALL,
            head_hidden_size=4, depth_estimation_type=kind, max_depth=20 if kind == "metric" else 1,
        )
    )  # fmt: skip


def _glpn():
    sizes = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1, 1, 2, 2]}
    return GLPNForDepthEstimation(GLPNConfig(**sizes, decoder_hidden_size=8))


RESIZED = {"size": {"height": 32, "width": 32}}
# The settings of the published image processors, at a smaller size.
KEPT = {"size": {"height": 28, "width": 28}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
BUILT = {
    "dpt": (_dpt, DPTImageProcessorPil, RESIZED),
    "depth-anything": (lambda: _depth_anything("relative"), DPTImageProcessorPil, KEPT),
    "metric": (lambda: _depth_anything("metric"), DPTImageProcessorPil, KEPT),
    "glpn": (_glpn, GLPNImageProcessorPil, {}),
}


def save_depth_model(folder, name, seed=0):
    """Save a model of `BUILT` and its image processor in a folder, and return the folder's path."""
    build, processor, settings = BUILT[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build()
        for parameter in network.parameters():  # so that depth varies over an image
            torch.nn.init.normal_(parameter, 0.05, 0.3)
    network.save_pretrained(folder)
    processor(**settings).save_pretrained(folder)
    return str(folder)
