"""Networks and training settings of Flow-SDF, by preset."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from sdfkit.errors import UsageError
from sdfkit.models.deepsdf import DeepSDFConfig
from sdfkit.models.flow import FlowConfig

# The stages in their order: an encoder and the decoder, by silhouettes; a flow to the encoder's codes; conditioner,
# flow and decoder together, by silhouettes; the same by silhouettes and shading.
STAGES = ("encoder", "distil", "joint", "rgb")


@dataclass(frozen=True)
class FlowSettings:
    """Training settings of all stages.

    Attributes:
        steps: Number of steps of each stage. Learning rates follow a cosine schedule to 0 in each.
        sphere: Number of the encoder's first steps that fit the decoder to a ball, without pictures.
        shapes: Shapes per step, or all shapes if there are fewer.
        size: Side in pixels of the masks that supervise, which may be larger than the conditioner's input: rays cost
            the same, and details thinner than a pixel are lost.
        views: Views per shape whose silhouettes are compared.
        rays: Rays through each of those.
        edge: How many times as likely a ray near the silhouette's edge is drawn as another.
        batch: Pictures per step of distillation.
        draws: Noise vectors, each at its own time, for each of those pictures.
        first_temperature: Temperature of the soft silhouette at the encoder's first step …
        temperature: … and after nine tenths of its steps.
        silhouette: Cross-entropy of the soft silhouette (the paper's), or the bound by distance transforms of SDF-SRN.
        exhaustive: Evaluate 48 samples on every ray, as in the paper's ray march, and not only where error bounds allow
            the smallest distance.
        eikonal: Weight of the squared difference between the length of the field's gradient and 1.
        decoder_lr: Learning rate of the decoder.
        matrix_lr: Learning rate of Muon for its hidden matrices; None trains them with Adam too.
        conditioner_lr: Learning rate of encoder and conditioner.
        flow_lr: Learning rate of the velocity network.
        lr_scale: Factor of the learning rates in the stages that continue from trained networks (joint and rgb).
        code_penalty: Weight of the mean square of codes.
        sampling: Weight, in distillation, of the error after all Euler steps beside that of the velocity.
        euler: Number of Euler steps.
        code_scale: Start the flow from noise with the mean and the standard deviation of the codes. Without it, the
            codes are too small to be distinguished from the noise.
        dropout: Share of pictures that the flow is not given, which classifier-free guidance needs.
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
        """Return the temperature of a step of the encoder's stage; the other stages use the last one."""
        fallen = min(step / (0.9 * self.steps["encoder"]), 1)
        return float(self.first_temperature * (self.temperature / self.first_temperature) ** fallen)


# Conditioner and flow of the paper, with the paper's decoder or one for two CPU cores.
PAPER = FlowConfig(
    code=256, channels=(32, 64, 128, 256), hidden=512, feature=None, patches=1, velocity="mlp", width=384, blocks=6
)  # fmt: skip
NETWORKS = {
    "paper": (PAPER, DeepSDFConfig(code=256, bands=0, hidden=256, layers=4, skip=2, activation="silu")),
    "small": (PAPER, DeepSDFConfig(code=256, bands=4, hidden=128, layers=4, skip=2, activation="silu")),
}
RECIPES = {
    # The paper's 200 epochs over 50 pictures: one picture per step, and all of its pixels.
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


def choose_stages(stage: str, supervision: str, start: str | None) -> tuple[list[str], str]:
    """Return the stages to train, and the stage before them, whose store training starts from.

    Args:
        stage: A stage, or `all`.
        supervision: `mask`, without the rgb stage, or `mask+rgb`.
        start: The store of the stage before, or None.

    Raises:
        UsageError: The stage needs a store to start from and none is given, or the other way round.
    """
    if stage in ("encoder", "all"):
        if start is not None:
            raise UsageError(f"--start: --stage {stage} does not continue from another stage")
        return [stage] if stage != "all" else list(STAGES[: 4 if supervision == "mask+rgb" else 3]), ""
    before = STAGES[STAGES.index(stage) - 1]
    if start is None:
        raise UsageError(f"--stage {stage} continues from --stage {before}; name its store with --start")
    return [stage], before


def adapt_network(
    network: FlowConfig,
    velocity: Literal["mlp", "dit"],
    features: Float[Tensor, "shape view patch feature"] | None,
) -> FlowConfig:
    """Return a network's configuration for a velocity network, and for features if these are the conditions."""
    config = replace(network, velocity=velocity)
    if features is None:
        return config
    _, _, patches, width = features.shape
    return replace(config, feature=width, patches=patches)
