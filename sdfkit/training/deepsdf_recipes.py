"""How DeepSDF decoders are trained, by the names of their presets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DeepSDFSettings:
    """How a decoder is trained.

    Attributes:
        steps: Steps in all; the learning rates fall to 0 over them, as a cosine.
        shapes: Shapes a step; all, if there are fewer.
        points: Points of each of those shapes a step.
        near: The share of those points that lie near the surface.
        first_clamp: Distances, predicted and true, count up to a clamp, which begins here …
        clamp: … and falls to this over the first half of the steps, by the same factor each step. The
            paper's is 0.1 all along.
        matrix_lr: Learning rate of Muon for the decoder's hidden matrices; None trains them by Adam too.
        decoder_lr: Learning rate of Adam for the rest of the decoder.
        code_lr: Learning rate of Adam for the codes.
        code_std: Spread of the codes at the start.
        code_penalty: Weight of the mean squared length of the codes.
        penalty_ramp: Steps over which that weight grows from 0, as DeepSDF's does over its first 100 epochs.
        latent_noise: Noise that codes are decoded with, as a share of their spread: neighbours of a code must
            then stand for nearly the same shape.
        kl: Weight of the divergence of each code's own normal distribution from the standard one, in place of
            the penalty; codes are then drawn from theirs, whose means are the result. 0 keeps codes points.
        eikonal: Weight of the squared difference of the field's slope from 1, at the points that are not near.
        average: Decay of the averaged decoder and codes, which are the result; 0 takes the last ones.
        chunk: Points that pass through the decoder at a time on a CPU, where they should stay in its cache; a
            GPU takes all at once. The gradient is the same but for rounding.
    """

    steps: int
    shapes: int
    points: int
    near: float
    first_clamp: float
    clamp: float
    matrix_lr: float | None
    decoder_lr: float
    code_lr: float
    code_std: float
    code_penalty: float
    penalty_ramp: int
    latent_noise: float
    kl: float
    eikonal: float
    average: float
    chunk: int

    def clamp_at(self, step: int) -> float:
        """The clamp of a step."""
        fallen = min(2 * step / self.steps, 1)
        return float(self.first_clamp * (self.clamp / self.first_clamp) ** fallen)


# By the name of the network in sdfkit.models.deepsdf.PRESETS. The first two are the paper's for 20 shapes,
# where an epoch is 5 steps.
RECIPES = {
    "512x8": DeepSDFSettings(
        steps=20_000,
        shapes=4,
        points=8_192,
        near=0.5,
        first_clamp=0.1,
        clamp=0.1,
        matrix_lr=None,
        decoder_lr=5e-4,
        code_lr=1e-3,
        code_std=0.01,
        code_penalty=1e-5,
        penalty_ramp=0,
        latent_noise=0.0,
        kl=0.0,
        eikonal=0.0,
        average=0.0,
        chunk=1_024,
    ),
    "256x4": DeepSDFSettings(
        steps=4_000,
        shapes=4,
        points=8_192,
        near=0.5,
        first_clamp=0.1,
        clamp=0.1,
        matrix_lr=None,
        decoder_lr=5e-4,
        code_lr=1e-3,
        code_std=0.01,
        code_penalty=1e-5,
        penalty_ramp=0,
        latent_noise=0.0,
        kl=0.0,
        eikonal=0.0,
        average=0.0,
        chunk=2_560,
    ),
    # Twenty built-in shapes, 60 CPU seconds; IoU, by the signs of points around the shape, in the mean, of a
    # wagon wheel and of a thin floor lamp. Clamp 0.1: 0.966, 0.936, 0.914, and false surfaces in the far
    # field, which is never taught. Clamp 2, beyond every distance in the query cube: 0.963, 0.893, 0.958; far
    # points pull as hard as the spokes. From 2 to 0.1: 0.970, 0.915, 0.958.
    # All 3,500 steps take 222 seconds of two quiet cores: mean 0.986, worst 0.927 (a bicycle), L1 up to 0.1 0.00044 and
    # at worst 0.00073, the wheel in one piece with Euler number -24, meshed at 256 (at 128: 0.982, 0.919). That
    # needs near points as wide as std 0.07: with 0.02 and 0.005 alone, specks hang between the spokes. Ending at 0.5,
    # of another draw: mean 0.984 for 0.985, worst 0.932 for 0.941, an unclamped L1 of 0.009 for 0.070.
    "small": DeepSDFSettings(
        steps=3_500,
        shapes=24,
        points=256,
        near=0.9,
        first_clamp=2.0,
        clamp=0.1,
        matrix_lr=0.02,
        decoder_lr=1.5e-3,
        code_lr=3e-3,
        code_std=0.1,  # codes of 20 shapes end at most 0.48 alike; from 0.01, 0.73, and no better a decoder
        code_penalty=1e-5,
        penalty_ramp=0,
        latent_noise=0.0,
        kl=0.0,
        eikonal=0.0,
        average=0.0,
        chunk=8_192,  # all at once: two threads take 70 ms a step, and 85 in parts of 2,560
    ),
}
