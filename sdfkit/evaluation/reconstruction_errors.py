"""Errors of a reconstruction network on its training shapes, beside those of the visual hull of the same images."""

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from sdfkit.training.recon.training import ReconTraining

# Numbers of views for which errors are measured, and number of batches of the training that are drawn for each.
VIEWS, BATCHES = (1, 4, 8), 8


class ReconstructionErrors(NamedTuple):
    """Mean absolute errors of clamped distances, from some number of views of each shape."""

    views: int
    network: float
    hull: float


def measure_errors(training: "ReconTraining") -> list[ReconstructionErrors]:
    """Measure errors on random training shapes, views and points. The neighbours of a shape are other shapes."""
    network, clamp = training.result(), training.settings.clamp
    available = training.views.yfov.shape[1]
    found = []
    for count in (count for count in VIEWS if count <= available):
        sums = torch.zeros(2)
        for batch in range(BATCHES):
            # Steps after the last one of the training have draws of their own.
            drawn = training.draw(training.settings.steps + batch)
            chances = torch.rand(len(drawn.rows), available, generator=torch.Generator().manual_seed(batch))
            drawn = training.with_views(drawn, chances.argsort(dim=1)[:, :count])
            views, neighbours, points = training.inputs(drawn)
            truth = drawn.distances.to(points.device)
            with torch.inference_mode():
                predicted = network(network.encode(views, neighbours), points)
                hull = views.cone_distances(views.project(points)).amax(1)
            for place, values in enumerate((predicted, hull)):
                sums[place] += (values.clamp(-clamp, clamp) - truth.clamp(-clamp, clamp)).abs().mean().item()
        found.append(ReconstructionErrors(count, *(sums / BATCHES).tolist()))
    return found
