"""Training settings of denoisers, by preset."""

from dataclasses import dataclass

from sdfkit.training.epochs import count_steps


@dataclass(frozen=True)
class DiTSettings:
    """Training settings of a denoiser.

    Attributes:
        steps: Number of steps. The learning rate follows a cosine schedule from its initial value to 0.
        batch: Number of samples per step; the shape of each sample is drawn at random, with replacement.
        views: Maximum number of views per sample. The number is drawn uniformly from 1 to this maximum.
        lr: Learning rate.
        feature_dropout: Share of samples without views, which classifier-free guidance needs.
        camera_dropout: Share of samples without cameras.
        ema_decay: Decay of the exponential moving average (EMA) of the parameters, which is the trained network; 0
            takes the last parameters.
        min_snr: Upper bound of the weight of a timestep in the loss, which limits nearly clean timesteps; see
            `diffusion.clean_weights`. None uses the weights that follow from the target of the network.
    """

    steps: int
    batch: int
    views: int
    lr: float
    feature_dropout: float
    camera_dropout: float
    ema_decay: float
    min_snr: float | None


# By the name of the network in sdfkit.models.dit.PRESETS.
RECIPES = {
    "latent-10m": DiTSettings(
        steps=15_000,
        batch=32,
        views=8,
        lr=3e-4,
        feature_dropout=0.0,
        camera_dropout=0.0,
        ema_decay=0.999,
        min_snr=None,
    ),
    # A larger batch and learning rate: with 20 shapes, a step uses each shape at six timesteps on average.
    "small": DiTSettings(
        steps=3_000,
        batch=128,
        views=8,
        lr=2e-3,
        feature_dropout=0.0,
        camera_dropout=0.0,
        ema_decay=0.999,
        min_snr=None,
    ),
    # Phase 7 of "Small-data image-to-3-D". The paper states steps and dropout; batch and learning rate are those of its
    # denoiser of codes.
    "weights-132m": DiTSettings(
        steps=30_000,
        batch=32,
        views=8,
        lr=3e-4,
        feature_dropout=0.1,
        camera_dropout=0.2,
        ema_decay=0.999,
        min_snr=None,
    ),
    "weights-small": DiTSettings(
        steps=2_000,
        batch=32,
        views=8,
        lr=1e-3,
        feature_dropout=0.1,
        camera_dropout=0.2,
        ema_decay=0.999,
        min_snr=None,
    ),
}


# Number of shapes up to which the steps of a preset suffice, and the power of the number of shapes with which they
# grow. 3,000 steps recall 20 shapes, but leave 5.6 % of the variance of 645.
FEW_SHAPES, GROWTH = 20, {"small": 0.75}


def choose_steps(
    preset: str, shapes: int, batch: int | None, *, steps: int | None, epochs: int | None
) -> int:
    """Choose the number of training steps.

    Args:
        preset: A key of `RECIPES`.
        shapes: Number of training shapes.
        batch: Samples per step; None for those of the preset.
        steps: The number itself; None for that of the preset, which may grow with the number of shapes.
        epochs: Average number of times that each shape is used, in place of a number of steps.
    """
    recipe = RECIPES[preset]
    if epochs is not None:
        return count_steps(epochs, shapes, batch or recipe.batch)
    return steps or round(recipe.steps * max(1, shapes / FEW_SHAPES) ** GROWTH.get(preset, 0))
