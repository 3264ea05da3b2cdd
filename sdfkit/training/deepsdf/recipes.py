"""Training settings of DeepSDF decoders, by preset."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DeepSDFSettings:
    """Training settings of a decoder.

    Attributes:
        steps: Number of steps. The learning rates follow a cosine schedule from their initial values to 0.
        shapes: Number of shapes per step, or all shapes if there are fewer.
        points: Number of points per shape and step.
        near: Share of those points that lie near the surface.
        first_clamp: Initial value of the clamp. Predicted and true distances are clamped to [-clamp, clamp] before they
            are compared.
        clamp: Value of the clamp from half of the steps on. Until then the clamp changes by the same factor each step.
            "Small-data image-to-3-D" uses 0.1 in all steps.
        matrix_lr: Learning rate of Muon for the decoder's hidden matrices; None trains them with Adam too.
        decoder_lr: Learning rate of Adam for the other parameters of the decoder.
        code_lr: Learning rate of Adam for the latent codes.
        code_std: Standard deviation of the initial codes.
        code_penalty: Weight of the mean squared length of the codes.
        penalty_ramp: Number of steps over which `code_penalty` grows from 0 to its value; in DeepSDF, these are the
            first 100 epochs.
        latent_noise: Standard deviation of the noise that is added to the codes before they are decoded, in units of
            the standard deviation of all codes. It makes codes near each other decode to nearly the same shape.
        kl: Weight of the KL divergence between each code's normal distribution and the standard normal distribution, in
            place of `code_penalty`. In each step, codes are drawn from these distributions; the trained codes are the
            means. 0 trains plain codes.
        eikonal: Weight of the squared difference between the length of the field's gradient and 1, at the points that
            are not near the surface.
        interpolation: Weight of the same difference at codes between those of two shapes; see
            `DeepSDFTraining.interpolation_errors`.
        ema_decay: Decay of the exponential moving average (EMA) of decoder and codes, which is the result of the
            training; 0 takes the last values.
        chunk: Number of points that pass through the decoder at once on a CPU, so that activations stay in the cache; a
            GPU takes all at once. Gradients do not depend on it, except for rounding.
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
    interpolation: float
    ema_decay: float
    chunk: int

    def clamp_at(self, step: int) -> float:
        """Return the value of the clamp at a step."""
        fallen = min(2 * step / self.steps, 1)
        return float(self.first_clamp * (self.clamp / self.first_clamp) ** fallen)


# By the name of the network in sdfkit.models.deepsdf.PRESETS. The first two are those of "Small-data image-to-3-D" for
# 20 shapes, where an epoch has 5 steps.
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
        interpolation=0.0,
        ema_decay=0.0,
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
        interpolation=0.0,
        ema_decay=0.0,
        chunk=2_560,
    ),
    # Measured on twenty generated shapes, with 60 CPU seconds of training. IoU by the signs at points around the shape:
    # mean over all shapes, wagon wheel, thin floor lamp.
    #   clamp 0.1:        0.966, 0.936, 0.914, and false surfaces far from the shape, where the field is not trained
    #   clamp 2:          0.963, 0.893, 0.958; 2 is larger than any distance in the query cube, so that points far from
    #                     the surface count as much as points near the spokes
    #   clamp 2 to 0.1:   0.970, 0.915, 0.958
    # All 3,500 steps take 222 seconds on two idle cores. The mean IoU is then 0.986, the worst 0.927 (a bicycle); the
    # mean absolute error clamped to 0.1 is 0.00044 on average and 0.00073 at worst; and the wheel has one piece with
    # Euler number -24. These meshes have resolution 256 (at 128, the IoU is 0.982 on average and 0.919 at worst). That
    # needs near points with a standard deviation of up to 0.07: with 0.02 and 0.005 only, specks appear between the
    # spokes. A last clamp of 0.5, on another draw: mean IoU 0.984 instead of 0.985, worst 0.932 instead of 0.941, and
    # an unclamped L1 of 0.009 instead of 0.070.
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
        code_std=0.1,  # the final cosines of 20 codes are at most 0.48; with 0.01, at most 0.73, and no better decoder
        code_penalty=1e-5,
        penalty_ramp=0,
        latent_noise=0.0,
        kl=0.0,
        eikonal=0.0,
        interpolation=0.0,
        ema_decay=0.0,
        chunk=8_192,  # all at once: 70 ms per step with two threads, 85 ms in chunks of 2,560
    ),
}

# Factor of the learning rate of codes whose numbers have places. Only few points of a step read each of their numbers,
# and they must learn faster than the decoder learns to do without them.
PLACED_CODE_LR = 10.0


def choose_recipe(preset: str, latent: str) -> DeepSDFSettings:
    """Return the training settings of a preset for codes of a kind.

    Args:
        preset: A key of `RECIPES`.
        latent: A key of `sdfkit.models.latents.LAYOUTS`.
    """
    recipe = RECIPES[preset]
    return recipe if latent == "global" else replace(recipe, code_lr=PLACED_CODE_LR * recipe.code_lr)
