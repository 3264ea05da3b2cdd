"""Depth of images, by depth estimators of the transformers library, as a condition beside the colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from sdfkit.errors import InputError
from sdfkit.images.encoding.features import Encoder, cached_commit, check_weights, fetch
from sdfkit.images.structure import MaskedView, draw_estimate

if TYPE_CHECKING:
    import torch

    from sdfkit.images.encoding.preprocess import Preprocessing

# Architectures whose output is depth, in metres. That of DPT and Depth Anything depends on the configuration.
METRIC = ("glpn", "zoedepth")
# Checkpoints of DPT lack these weights, because the first fusion layer has no second input.
UNUSED = "fusion_stage.layers.0.residual_layer1"
# Settings of an image processor that change its result.
PREPROCESSING = (
    "do_resize", "size", "size_divisor", "resample", "keep_aspect_ratio", "ensure_multiple_of", "do_rescale",
    "rescale_factor", "do_normalize", "image_mean", "image_std",
)  # fmt: skip


@dataclass(frozen=True)
class DepthEstimator:
    """A frozen network that estimates depth from a single image.

    It always computes in float32: normals are differences between neighbouring depths, which are coarse in bf16.
    """

    network: "torch.nn.Module"
    processor: Any
    """The image processor of the transformers library that belongs to the network."""
    name: str
    revision: str
    """Commit of the repository on the Hugging Face hub; empty for a local folder."""
    is_inverse: bool
    """Whether the network estimates inverse depth, which is larger for nearer surfaces."""
    device: str

    def estimate(
        self, images: UInt8[np.ndarray, "image row column 3"]
    ) -> Float32[np.ndarray, "image row column"]:
        """Return the depth or inverse depth of images, of unknown scale and offset.

        Raises:
            InputError: The images have a size that the network cannot take, or its output is not finite.
        """
        import torch

        height, width = images.shape[1:3]
        settings = self.processor.to_dict()
        multiple = settings.get("size_divisor") or 1
        if not settings.get("do_resize") and (height % multiple or width % multiple):
            raise InputError(
                f"{self.name}: takes images whose height and width are multiples of {multiple}, not {width} × "
                f"{height} pixels; render them in such a size, or use another --depth-model"
            )
        # Padding, against artefacts at the edges of photos, would shift the result; here the edges are background.
        inputs = self.processor(images=list(images), do_pad=False, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            depth = self.network(pixel_values=inputs.to(self.device)).predicted_depth.float()
            full = torch.nn.functional.interpolate(depth[:, None], (height, width), mode="bilinear")[:, 0]
        if not bool(full.isfinite().all()):
            raise InputError(f"{self.name}: its estimate of depth is not finite; use another --depth-model")
        estimated: np.ndarray = full.cpu().numpy()
        return estimated

    def describe(self) -> dict[str, Any]:
        """Return what a store records, so that the depth can be reproduced."""
        settings = self.processor.to_dict()
        used = {name: settings[name] for name in PREPROCESSING if settings.get(name) is not None}
        return {
            "model": self.name,
            "revision": self.revision,
            "output": "inverse depth" if self.is_inverse else "depth",
            "preprocessing": used,
        }


@dataclass(frozen=True)
class DepthEncoder:
    """An image encoder that also encodes the estimated depth of each image, or normals that follow from it, or both."""

    encoder: Encoder
    estimator: DepthEstimator
    kinds: tuple[str, ...]
    """The images of a view that are encoded: rgb, and depth, normal or both."""

    @property
    def preprocessing(self) -> "Preprocessing":
        """The preprocessing of the encoder."""
        return self.encoder.preprocessing

    def encode(self, views: Sequence[MaskedView]) -> dict[str, np.ndarray]:
        """Encode views; see `Encoder.encode` for the result and `draw_estimate` for the images of depth and normals."""
        estimates = self.estimator.estimate(np.stack([view.picture for view in views]))
        stacks = []
        for view, estimate in zip(views, estimates, strict=True):
            drawn = draw_estimate(estimate, view, is_inverse=self.estimator.is_inverse)
            stacks.append(np.stack([{"rgb": view.picture, **drawn}[kind] for kind in self.kinds]))
        return self.encoder.encode(stacks)

    def describe(self) -> dict[str, Any]:
        """Return what a store records, so that the features can be reproduced."""
        return self.encoder.describe() | {"depth": self.estimator.describe()}


def load_depth_estimator(model: str, *, revision: str | None, device: str) -> DepthEstimator:
    """Load a depth estimator.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
        revision: Commit, tag or branch on the hub; None for the main branch.
        device: The torch device to run on.

    Raises:
        MissingError: The model is not on this machine and cannot be downloaded.
        InputError: The model is not a depth estimator, is of an architecture that is not supported, or lacks weights.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    # As for encoders, always the image processor that uses Pillow.
    read_processor = partial(AutoImageProcessor.from_pretrained, backend="pil")

    def read(source: str, **options: Any) -> tuple[Any, Any, Any]:
        network, report = AutoModelForDepthEstimation.from_pretrained(
            source, dtype="float32", output_loading_info=True, **options
        )
        return network, report, read_processor(source, **options)

    advice = "offline, give a downloaded folder (--depth-model FOLDER)"
    network, report, processor = fetch(model, model, revision, read, "depth estimator", advice)
    check_weights(report, model, unused=(UNUSED, "pooler"))
    return DepthEstimator(
        network=network.to(device).eval().requires_grad_(False),
        processor=processor,
        name=model,
        revision=cached_commit(model, revision),
        is_inverse=_gives_inverse_depth(network.config, model),
        device=device,
    )


def _gives_inverse_depth(config: Any, model: str) -> bool:
    """Return whether a network estimates inverse depth, by its configuration.

    Raises:
        InputError: The architecture is not one of those for which this is known.
    """
    if config.model_type == "depth_anything":
        return bool(config.depth_estimation_type == "relative")
    if config.model_type == "dpt":
        # DPT on DINOv2, trained on metric depth of NYU and KITTI, has one more layer than the networks of MiDaS.
        return not config.add_projection
    if config.model_type in METRIC:
        return False
    raise InputError(
        f"{model}: is of type {config.model_type}, which is not supported; use a model of Depth Anything, DPT, "
        f"{' or '.join(name.upper() if name == 'glpn' else 'ZoeDepth' for name in METRIC)}"
    )
