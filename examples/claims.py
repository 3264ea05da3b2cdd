#!/usr/bin/env python3
"""Print figures of the two papers that follow from the code, or from other figures of the same paper.

    python examples/claims.py

CLAIMS.md quotes them. Nothing is trained, and networks are built without memory for their parameters.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module

WEIGHTS, CODE, FEATURE = 54_785, 64, 768
NORM, COSINE = 13.39, 0.9606  # of the 976 weight vectors: mean norm, mean pairwise cosine
AUTOENCODED, MSE = 0.9965, 2.28e-5  # of the autoencoder: cosine to the original, squared error a weight
TABLE = {0: 0.18912, 50: 0.18286, 100: 0.187, 200: 0.18563, 300: 0.19423, 450: 0.19252}  # MSE(x0) by timestep


def count(network: "Module") -> str:
    return f"{sum(parameter.numel() for parameter in network.parameters()):,}"


def count_parameters() -> Iterator[tuple[str, str]]:
    """Yield the number of parameters of each of the papers' networks, and sizes of their inputs."""
    import torch

    from sdfkit.models import autoencoder, deepsdf, dit, layers, mlp
    from sdfkit.models.flow import Flow, build_conditioner
    from sdfkit.training.flow.recipes import NETWORKS

    with torch.device("meta"):
        yield "per-shape network", f"{layers.count_parameters(mlp.PRESETS['relu-pe']):,}"
        for name in ("256x4", "512x8"):
            decoder = deepsdf.DeepSDF(deepsdf.PRESETS[name])
            yield f"DeepSDF decoder {name}", count(decoder)
        yield "… inputs", str(decoder.hidden[0].in_features)
        yield "latent DiT", count(dit.DiT(dit.PRESETS["latent-10m"](CODE, FEATURE)))
        weights = dit.PRESETS["weights-132m"](WEIGHTS, FEATURE)
        yield "weight DiT", count(dit.DiT(weights))
        tokens, length = len(weights.lengths), weights.lengths[0]
        yield "… tokens", f"{tokens} × {length:,}, {tokens * length - WEIGHTS} numbers of padding"
        for length in (128, 256):
            network = autoencoder.Autoencoder(autoencoder.PRESETS["1024x3"](WEIGHTS, length))
            yield f"weight autoencoder, code of {length}", count(network)
        flow, field = NETWORKS["paper"]
        yield "Flow-SDF conditioner", count(build_conditioner(flow, pooled=True))
        yield "Flow-SDF velocity", count(Flow(flow))
        yield "Flow-SDF decoder", count(deepsdf.DeepSDF(field))


def derive() -> Iterator[tuple[str, str]]:
    """Yield figures that follow from others of the same paper."""
    from sdfkit.analysis.vectors import implied_std
    from sdfkit.models.diffusion import TIMESTEPS, cosine_alphas

    alphas = cosine_alphas(TIMESTEPS).double()
    for timestep, error in TABLE.items():
        alpha = alphas[timestep].item()
        implied = error * alpha / (1 - alpha)
        yield f"t = {timestep}: ᾱ, MSE(ε) from MSE(x0)", f"{alpha:.4f}, {implied:.4g}"
    std = implied_std(NORM, COSINE, WEIGHTS)
    yield "standard deviation of a weight, from norm and cosine", f"{std:.4f}"
    yield "cosine of the mean to a weight vector, √0.9606", f"{math.sqrt(COSINE):.3f}"
    left = (1 - AUTOENCODED**2) / (1 - COSINE)
    yield "variance that the autoencoder leaves, from its cosine", f"{left:.1%}"
    yield "… from its squared error", f"{MSE / std**2:.1%}"
    yield "feature cache, 976 × 64 × 768 float32", f"{976 * 64 * FEATURE * 4 / 1e6:.0f} MB"
    yield "seconds a view, 777 shapes × 64 in 13 hours", f"{13 * 3600 / (777 * 64):.2f}"
    yield "weights to code, 54,785 / 64", f"{WEIGHTS / CODE:.0f}"
    yield "DeepSDF error of 976 shapes over that of 20", f"{0.00212 / 0.00051:.1f}"
    # 4 shapes a step; an epoch is one pass over the shapes.
    yield "DeepSDF steps a second, 20 shapes", f"{4000 * 20 / 4 / (13 * 60):.0f}"
    yield "… 976 shapes, the same step", f"{1500 * 976 / 4 / (140 * 60):.0f}"
    yield "uses of a shape in 15,000 steps of 32, 20 shapes", f"{15_000 * 32 / 20:,.0f}"
    yield "… 976 shapes", f"{15_000 * 32 / 976:.0f}"
    yield "Flow-SDF points an image, 64 × 64 × 48", f"{64 * 64 * 48:,}"
    yield "Flow-SDF minutes of phase 2, 200 epochs of 14 s", f"{200 * 14 / 60:.0f}"
    yield "… with the 70 of the baseline (stated: 90)", f"{70 + 200 * 14 / 60:.0f}"
    yield "Flow-SDF seconds an epoch, 50 shapes × (258 + 282) ms (stated: 14)", f"{50 * 0.54:.0f}"


def figures() -> list[tuple[str, str]]:
    return [*count_parameters(), *derive()]


def main() -> None:
    for name, value in figures():
        print(f"{name:<70}{value}")


if __name__ == "__main__":
    main()
