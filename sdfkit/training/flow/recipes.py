"""Networks and training settings of Flow-SDF, by preset."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from sdfkit.errors import UsageError
from sdfkit.models.deepsdf import DeepSDFConfig, place_codes
from sdfkit.models.flow import FlowConfig
from sdfkit.training.epochs import count_steps

# The stages of training in order. encoder: encoder and decoder, on silhouettes. distil: a flow from noise to the codes
# of the encoder. joint: conditioner, flow and decoder together, on silhouettes. rgb: the same on silhouettes and
# shading.
STAGES = ("encoder", "distil", "joint", "rgb")


@dataclass(frozen=True)
class FlowSettings:
    """Training settings of all stages.

    Attributes:
        steps: Number of steps of each stage. Learning rates follow a cosine schedule to 0 in each.
        sphere: Number of first steps of the stage encoder, which fit the decoder to a ball, without images.
        shapes: Number of shapes per step, or all shapes if there are fewer.
        size: Side in pixels of the masks that supervise, which may be larger than the input of the conditioner. Larger
            masks do not make steps slower, and show details that are thinner than a pixel of smaller masks.
        views: Number of views per shape whose silhouettes are compared in a step.
        rays: Number of rays through each of these views.
        edge: Ratio of the probability of a ray near the silhouette's edge to that of another ray.
        batch: Number of images per step of the stage distil.
        draws: Number of noise vectors, each at its own time, for each of these images.
        first_temperature: Temperature of the soft silhouette at the first step of the stage encoder.
        temperature: Temperature from nine tenths of the steps of this stage on, and in the other stages.
        silhouette: `bce`: cross-entropy of the soft silhouette, as in Flow-SDF; `dt-bound`: bounds from distance
            transforms of the masks, as in SDF-SRN.
        exhaustive: Evaluate 48 samples on every ray, as in Flow-SDF. If false, only those samples are evaluated that
            can be nearest to the surface, by bounds.
        eikonal: Weight of the squared difference between the length of the field's gradient and 1.
        decoder_lr: Learning rate of the decoder.
        matrix_lr: Learning rate of Muon for the decoder's hidden matrices; None trains them with Adam too.
        conditioner_lr: Learning rate of encoder and conditioner.
        flow_lr: Learning rate of the velocity network.
        lr_scale: Factor of the learning rates in the stages that continue from trained networks (joint and rgb).
        code_penalty: Weight of the mean squared length of codes.
        sampling: Weight of the error of the sampled codes after all Euler steps in the stage distil; the error of the
            velocity has the weight 1.
        euler: Number of Euler steps.
        code_scale: Start the flow from noise with the mean and the standard deviation of the codes. Without it, the
            codes are too small to be distinguished from the noise.
        dropout: Share of images that are withheld from the flow, so that classifier-free guidance is possible.
        shading: Weight of the error of shading in the last stage.
    """

    steps: Mapping[str, int]
    sphere: int
    shapes: int
    size: int
    views: int
    rays: int
    edge: float
    batch: int
    draws: int
    first_temperature: float
    temperature: float
    silhouette: Literal["bce", "dt-bound"]
    exhaustive: bool
    eikonal: float
    decoder_lr: float
    matrix_lr: float | None
    conditioner_lr: float
    flow_lr: float
    lr_scale: float
    code_penalty: float
    sampling: float
    euler: int
    code_scale: bool
    dropout: float
    shading: float

    def temperature_at(self, step: int) -> float:
        """Return the temperature at a step of the stage encoder; the other stages use `temperature`."""
        fallen = min(step / (0.9 * self.steps["encoder"]), 1)
        return float(self.first_temperature * (self.temperature / self.first_temperature) ** fallen)


# Conditioner and flow of the paper "Flow-SDF", with its decoder ("paper"), or with one for two CPU cores ("small").
PAPER = FlowConfig(
    code=256, channels=(32, 64, 128, 256), hidden=512, feature=None, patches=1, velocity="mlp", width=384, blocks=6
)  # fmt: skip
NETWORKS = {
    "paper": (PAPER, DeepSDFConfig(code=256, bands=0, hidden=256, layers=4, skip=2, activation="silu")),
    "small": (PAPER, DeepSDFConfig(code=256, bands=4, hidden=128, layers=4, skip=2, activation="silu")),
}
RECIPES = {
    # As in Flow-SDF: 200 epochs over 50 images, with one image per step, and all of its pixels.
    "paper": FlowSettings(
        steps={"encoder": 10_000, "distil": 3_000, "joint": 10_000, "rgb": 5_000},
        sphere=500, shapes=1, size=64, views=1, rays=4_096, edge=1.0, batch=50, draws=1, first_temperature=0.08,
        temperature=0.003,
        silhouette="bce", exhaustive=True, eikonal=0.1, decoder_lr=5e-4, matrix_lr=None, conditioner_lr=3e-4,
        flow_lr=1e-3, lr_scale=0.1, code_penalty=1e-5, sampling=1.0, euler=8, code_scale=True, dropout=0.0, shading=1.0,
    ),
    "small": FlowSettings(
        steps={"encoder": 4_500, "distil": 1_200, "joint": 150, "rgb": 120},
        sphere=100, shapes=50, size=128, views=1, rays=64, edge=4.0, batch=64, draws=8, first_temperature=0.08,
        temperature=0.003, silhouette="bce", exhaustive=False, eikonal=0.1, decoder_lr=1.5e-3, matrix_lr=0.02,
        conditioner_lr=1e-3, flow_lr=2e-3, lr_scale=0.005, code_penalty=1e-5, sampling=0.0, euler=8, code_scale=True,
        dropout=0.0, shading=1.0,
    ),
}  # fmt: skip


def choose_networks(
    preset: str,
    latent: str,
    velocity: Literal["mlp", "dit"],
    features: Float[Tensor, "shape view patch feature"] | None,
) -> tuple[FlowConfig, DeepSDFConfig]:
    """Return the networks of a preset with codes and a velocity network of a kind.

    Args:
        preset: A key of `NETWORKS`.
        latent: A key of `sdfkit.models.latents.LAYOUTS`.
        velocity: Kind of the velocity network.
        features: Features on which the flow is conditioned, in place of images; they decide the size of its input.
    """
    flow, decoder = NETWORKS[preset]
    placed = place_codes(decoder, latent)
    flow = replace(flow, code=placed.code, velocity=velocity)
    if features is None:
        return flow, placed
    _, _, patches, width = features.shape
    return replace(flow, feature=width, patches=patches), placed


def choose_stages(stage: str, supervision: str, start: str | None) -> tuple[list[str], str]:
    """Return the stages to train, and the stage before them, from whose store training continues.

    Args:
        stage: A stage, or `all`.
        supervision: `mask`, without the rgb stage, or `mask+rgb`.
        start: Path of the store of the stage before, or None.

    Raises:
        UsageError: The stage needs a store to start from and none is given, or the other way round.
    """
    if stage in ("encoder", "all"):
        if start is not None:
            raise UsageError(f"--start: --stage {stage} starts from untrained networks; leave --start out")
        return [stage] if stage != "all" else list(STAGES[: 4 if supervision == "mask+rgb" else 3]), ""
    before = STAGES[STAGES.index(stage) - 1]
    if start is None:
        raise UsageError(
            f"--stage {stage} continues from --stage {before}; give the store of that stage with --start"
        )
    return [stage], before


def choose_stage_steps(
    recipe: FlowSettings, steps: int | None, epochs: int | None, shapes: int, views: int
) -> dict[str, int] | None:
    """Return the number of steps of each stage that --steps and --epochs give; None for those of the preset.

    An epoch uses each view once on average, as Flow-SDF counts 200 epochs over 50 images. Those of the stage encoder
    include its first steps, which fit a ball.

    Args:
        recipe: Settings of the training, with the numbers of shapes, views and images per step.
        steps: Number of steps of each stage.
        epochs: Number of epochs of each stage, in place of `steps`.
        shapes: Number of training shapes.
        views: Number of views of each.
    """
    if epochs is None:
        return None if steps is None else dict.fromkeys(STAGES, steps)
    rendered = min(recipe.shapes, shapes) * min(recipe.views, views)
    return {
        stage: count_steps(epochs, shapes * views, recipe.batch if stage == "distil" else rendered)
        for stage in STAGES
    }
