"""Tables of the presets of the training and fitting commands, for --help and the man pages.

The tables are made from the networks and settings in the code, which need torch, and are stored in presets.txt, so that
reading them does not. After a preset has changed:

    python -m sdfkit.report.presets > sdfkit/report/presets.txt
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

# Lengths of codes, weights and features for which parameters are counted: those of train-deepsdf, of fit-mlp, and of
# the default encoder of embed.
CODE, WEIGHTS, FEATURE, LATENT = 64, 54_785, 768, 128

# A row of a table: its title, and the cell of each preset.
TableRow = tuple[str, Sequence[Any]]


def preset_table(command: str) -> str | None:
    """Return the table of a command's presets as plain text, or None if the command has none.

    Args:
        command: Name of the command, such as `train-dit`.
    """
    return _read_tables().get(command)


@cache
def _read_tables() -> dict[str, str]:
    text = Path(__file__).with_name("presets.txt").read_text(encoding="utf-8").rstrip("\n")
    return dict(section.split("\n", 1) for section in text.split("\n\n"))


def make_tables() -> dict[str, str]:
    """Make the tables of all commands from the networks and settings in the code."""
    return {
        "train-deepsdf": _lay_out(_deepsdf()),
        "train-dit": _lay_out(_dit()),
        "train-ae": _lay_out(_autoencoder()),
        "train-flow": _lay_out(_flow()),
        "train-recon": _lay_out(_recon()),
        "fit-mlp": _lay_out(_mlp()),
    }


def format_tables(tables: Mapping[str, str]) -> str:
    """Join tables to the text of presets.txt: each follows the name of its command."""
    return "\n\n".join(f"{command}\n{table}" for command, table in tables.items()) + "\n"


def _lay_out(rows: Sequence[TableRow]) -> str:
    cells = [[title, *map(_text, values)] for title, values in rows]
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(
        "  ".join([title.ljust(first), *map(str.rjust, values, others)]) for title, *values in cells
    )


def _text(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)


def _fields(settings: Mapping[str, Any], titles: Mapping[str, str]) -> list[TableRow]:
    """Make a row for each field of the presets' settings, with its title."""
    return [
        (title, [getattr(preset, name) for preset in settings.values()]) for name, title in titles.items()
    ]


def _count(build: "Callable[[], Module]") -> int:
    """Count the parameters of a network without allocating them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


def _deepsdf() -> list[TableRow]:
    from sdfkit.models.deepsdf import PRESETS, DeepSDF, place_codes
    from sdfkit.models.latents import LAYOUTS
    from sdfkit.training.deepsdf.recipes import RECIPES

    presets = list(reversed(PRESETS))  # the default first
    settings = {preset: RECIPES[preset] for preset in presets}
    configs = [PRESETS[preset] for preset in presets]
    clamps = (
        f"{recipe.clamp:g}"
        if recipe.clamp == recipe.first_clamp
        else f"{recipe.first_clamp:g} to {recipe.clamp:g}"
        for recipe in settings.values()
    )
    return [
        ("preset", presets),
        ("layers x width of the decoder", [f"{config.layers} x {config.hidden}" for config in configs]),
        ("parameters of the decoder", [_count(partial(DeepSDF, config)) for config in configs]),
        *(
            (
                f"with --latent {latent} (codes of {layout.code:,})",
                [_count(partial(DeepSDF, place_codes(PRESETS[preset], latent))) for preset in presets],
            )
            for latent, layout in LAYOUTS.items()
            if layout is not None
        ),
        *_fields(
            settings,
            {
                "steps": "steps (--steps, --epochs)",
                "shapes": "shapes per step (--batch)",
                "points": "points per shape and step (--points)",
                "near": "share of points near surface (--near-focus)",
            },
        ),
        ("clamp of distances, first to last", list(clamps)),
        *_fields(
            settings,
            {
                "decoder_lr": "learning rate of decoder, Adam (--lr)",
                "matrix_lr": "learning rate of hidden matrices, Muon",
                "code_lr": "learning rate of codes (--code-lr)",
                "code_std": "standard deviation of initial codes (--code-std)",
                "code_penalty": "weight of squared code length (--code-penalty)",
                "ema_decay": "EMA decay (--ema)",
            },
        ),
    ]


def _dit() -> list[TableRow]:
    from sdfkit.models.dit import PRESETS, DiT
    from sdfkit.training.dit.recipes import FEW_SHAPES, GROWTH, RECIPES

    configs = {
        preset: build(WEIGHTS if preset.startswith("weights") else CODE, FEATURE)
        for preset, build in PRESETS.items()
    }
    return [
        ("preset", list(PRESETS)),
        ("layers x width", [f"{config.layers} x {config.width}" for config in configs.values()]),
        ("length of code or weights", [config.dim for config in configs.values()]),
        ("tokens per vector (--tokens)", [config.tokens for config in configs.values()]),
        (
            "parameters, 768-d features",
            [_count(partial(DiT, config)) for config in configs.values()],
        ),
        ("steps (--steps, --epochs)", [RECIPES[preset].steps for preset in PRESETS]),
        (
            f"n > {FEW_SHAPES} shapes: times (n/{FEW_SHAPES})^",
            [f"{GROWTH[preset]:g}" if preset in GROWTH else None for preset in PRESETS],
        ),
        *_fields(
            {preset: RECIPES[preset] for preset in PRESETS},
            {
                "batch": "samples per step (--batch)",
                "views": "maximum views (--views)",
                "lr": "learning rate (--lr)",
                "feature_dropout": "share without views",
                "camera_dropout": "share without cameras",
                "ema_decay": "EMA decay (--ema)",
            },
        ),
    ]


def _autoencoder() -> list[TableRow]:
    from sdfkit.models.autoencoder import PRESETS, Autoencoder
    from sdfkit.training.autoencoder import RECIPES

    configs = [build(WEIGHTS, LATENT) for build in PRESETS.values()]
    return [
        ("preset", list(PRESETS)),
        (
            "layers x width of encoder and of decoder",
            [f"{config.layers} x {config.hidden}" for config in configs],
        ),
        (
            f"parameters, for networks of {WEIGHTS:,} weights",
            [_count(partial(Autoencoder, config)) for config in configs],
        ),
        *_fields(
            {preset: RECIPES[preset] for preset in PRESETS},
            {
                "epochs": "passes over the shapes (--epochs)",
                "batch": "shapes per step (--batch)",
                "lr": "learning rate (--lr)",
            },
        ),
    ]


def _flow() -> list[TableRow]:
    from sdfkit.models.flow import FlowNetworks
    from sdfkit.training.flow.recipes import NETWORKS, RECIPES, STAGES

    presets = list(reversed(NETWORKS))  # the default first
    settings = {preset: RECIPES[preset] for preset in presets}
    lights = [[0.0, 0.0, 1.0]]
    return [
        ("preset", presets),
        (
            "layers x width of the decoder",
            [f"{NETWORKS[name][1].layers} x {NETWORKS[name][1].hidden}" for name in presets],
        ),
        (
            "parameters of all networks",
            [_count(partial(FlowNetworks, *NETWORKS[name], lights)) for name in presets],
        ),
        *(
            (
                f"steps of stage {stage} (--steps, --epochs)",
                [recipe.steps[stage] for recipe in settings.values()],
            )
            for stage in STAGES
        ),
        *_fields(
            settings,
            {
                "shapes": "shapes per step (--batch)",
                "views": "views per shape and step",
                "rays": "rays per view (--rays)",
                "size": "side of masks in pixels",
                "silhouette": "silhouette loss (--silhouette)",
                "temperature": "final temperature of silhouettes (--temperature)",
                "eikonal": "weight of the eikonal loss (--eikonal)",
                "dropout": "share of samples without condition (--cfg-dropout)",
                "decoder_lr": "learning rate of decoder, Adam",
                "matrix_lr": "learning rate of decoder matrices, Muon",
                "conditioner_lr": "learning rate of encoder and conditioner",
                "flow_lr": "learning rate of flow",
                "lr_scale": "factor of learning rates in stages joint and rgb",
            },
        ),
    ]


def _recon() -> list[TableRow]:
    from sdfkit.models.recon.network import PRESETS, Recon
    from sdfkit.training.recon.training import RECIPES

    configs = PRESETS.values()
    return [
        ("preset", list(PRESETS)),
        ("side of images in pixels", [config.size for config in configs]),
        ("cells of the volume along a side", [config.cells for config in configs]),
        ("layers x width that decode a point", [f"{config.layers} x {config.hidden}" for config in configs]),
        ("similar training shapes", [config.neighbours for config in configs]),
        ("parameters", [_count(partial(Recon, config)) for config in configs]),
        *_fields(
            {preset: RECIPES[preset] for preset in PRESETS},
            {
                "steps": "steps (--steps, --epochs)",
                "shapes": "shapes per step (--batch)",
                "points": "points per shape and step (--points)",
                "near": "share of points near surface",
                "views": "maximum views (--views)",
                "single": "share of steps with one view",
                "fewer": "share of shapes with few candidates for similarity",
                "turned": "share of shapes that are turned (--turned)",
                "clamp": "clamp of distances in the loss",
                "lr": "learning rate of Muon (--lr)",
                "ema_decay": "EMA decay",
            },
        ),
    ]


def _mlp() -> list[TableRow]:
    from sdfkit.models.layers import count_parameters
    from sdfkit.models.mlp import PRESETS
    from sdfkit.training.mlp.recipes import FAST, FAST_STEPS, PAPER, PAPER_EPOCHS

    columns = [("fast", network, FAST[network]) for network in PRESETS]
    columns += [("paper", network, PAPER) for network in PRESETS]
    configs = [PRESETS[network] for _, network, _ in columns]
    return [
        ("preset", [preset for preset, _, _ in columns]),
        ("network (--network)", [network for _, network, _ in columns]),
        ("layers x width", [f"{config.layers} x {config.hidden}" for config in configs]),
        ("parameters", [count_parameters(config) for config in configs]),
        (
            "steps (--steps, --epochs)",
            [FAST_STEPS if preset == "fast" else f"{PAPER_EPOCHS} epochs" for preset, _, _ in columns],
        ),
        ("samples per step (--points)", [recipe["points"] for _, _, recipe in columns]),
        ("share near surface (--near-focus)", [recipe["near"] for _, _, recipe in columns]),
        ("learning rate (--lr)", [recipe["lr"] for _, _, recipe in columns]),
    ]


if __name__ == "__main__":
    sys.stdout.write(format_tables(make_tables()))
