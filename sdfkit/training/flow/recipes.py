"""How Flow-SDF is trained, by the names of its presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sdfkit.models.deepsdf import DeepSDFConfig
from sdfkit.models.flow import FlowConfig

# What is trained, one after the other: an encoder and the decoder by silhouettes; a flow towards the encoder's
# codes; everything by silhouettes, through the flow; the same by silhouettes and shades.
STAGES = ("encoder", "distil", "joint", "rgb")


@dataclass(frozen=True)
class FlowSettings:
    """How the stages are trained.

    Attributes:
        steps: Steps of each stage; learning rates fall to 0 over them, as a cosine.
        sphere: How many of the encoder's first steps shape the decoder into a ball, without pictures.
        shapes: Shapes a step; all, if there are fewer.
        size: Pixels a side of the masks that teach, which may be larger than what the conditioner looks at: a ray costs
            the same, and what is thinner than a pixel is lost.
        views: Views of each that a silhouette is compared with.
        rays: Rays through each of those.
        edge: How many times as likely a ray near the silhouette's edge is chosen as another.
        batch: Pictures a step of distillation.
        draws: Noises that each of those is reached from, at as many times.
        first_temperature: Of the soft silhouette, at the encoder's first step …
        temperature: … and from nine tenths of its steps on.
        silhouette: Cross-entropy of the soft silhouette (the paper's), or the bound by distance transforms of SDF-SRN.
        exhaustive: Look at 48 samples a ray, the paper's march, and not where bounds allow the smallest distance.
        eikonal: Weight of the squared difference of the field's slope from 1.
        decoder_lr: Learning rate of the decoder.
        matrix_lr: Learning rate of Muon for its hidden matrices; None trains them by Adam too.
        conditioner_lr: Learning rate of encoder and conditioner.
        flow_lr: Learning rate of the velocity.
        lr_scale: What the learning rates are multiplied by once a stage begins with what another has learned.
        code_penalty: Weight of the mean square of codes.
        sampling: Weight, in distillation, of the error after all Euler steps beside that of the velocity.
        euler: Euler steps.
        code_scale: Let the flow begin at noise of the codes' own mean and spread. Without it, codes drown.
        dropout: Share of pictures that the flow does not see, so that guidance is possible.
        shading: Weight of the error of shades, in the last stage.
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
        """The temperature of a step of the encoder's stage; the others keep the last."""
        fallen = min(step / (0.9 * self.steps["encoder"]), 1)
        return float(self.first_temperature * (self.temperature / self.first_temperature) ** fallen)


# Networks: those of the paper, and a decoder for two cores.
PAPER = FlowConfig(
    code=256, channels=(32, 64, 128, 256), hidden=512, feature=None, patches=1, velocity="mlp", width=384, blocks=6
)  # fmt: skip
NETWORKS = {
    "paper": (PAPER, DeepSDFConfig(code=256, bands=0, hidden=256, layers=4, skip=2, activation="silu")),
    "small": (PAPER, DeepSDFConfig(code=256, bands=4, hidden=128, layers=4, skip=2, activation="silu")),
}
RECIPES = {
    # Its 200 epochs over 50 pictures, one a step and every pixel of it.
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
