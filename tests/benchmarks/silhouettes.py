"""Compare a step of silhouette training with the renderer of the Flow-SDF paper: time, and agreement of gradients.

    python -m tests.benchmarks.silhouettes [trained] [random] [chunks] [codes] [marches --flow FLOW --views VIEWS]

If no part is named, all parts except `marches` run. `marches` measures how near ray marching comes to the least
distance along each ray, on the training shapes of a flow, and how much its errors turn the gradient. The other parts
use one image of 64 × 64 rays with 48 samples, and a decoder of 330,497 parameters. In `trained` the decoder has been
fitted to a torus for 200 steps, and the target is a wider torus; in `random` the decoder has random weights. Times are
the least of three rounds, in CPU seconds; in each round all candidates run once. All candidates use the same jitter, so
that they take the minimum over the same samples and their gradients can be compared.
"""

import argparse
import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdfkit.images.rendering.cameras import fibonacci_cameras
from sdfkit.io.models.reader import read_decoder
from sdfkit.io.stores.contents.training_views import read_pictures
from sdfkit.io.stores.reader import open_store
from sdfkit.models.flow import Flow, build_conditioner
from sdfkit.models.rendering import silhouette
from sdfkit.models.rendering.silhouette import (
    MISSED,
    RADIUS,
    ConditionalField,
    Nearest,
    ball_span,
    cast_rays,
    march,
    march_bounded,
    silhouette_loss,
    soft_silhouette,
)
from sdfkit.training.flow.pictures import choose_rays
from sdfkit.training.flow.recipes import NETWORKS, RECIPES

SIZE, SAMPLES, CODE, WIDTH = 64, 48, 256, 256
YFOV = 0.96  # 55 degrees
Step = Callable[[], Tensor]


class Decoder(nn.Module):
    """Distance from latent code and point: five linear layers, 256 wide; the third also receives the input."""

    def __init__(self) -> None:
        super().__init__()
        inputs = CODE + 3
        self.hidden = nn.ModuleList(
            nn.Linear(width, WIDTH) for width in (inputs, WIDTH, WIDTH + inputs, WIDTH)
        )
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, codes: Tensor, points: Tensor) -> Tensor:
        """As sdfkit's DeepSDF: products with the code are computed once per shape, not once per point."""
        x = points
        for index, layer in enumerate(self.hidden):
            if index in (0, 2):
                of_codes = F.linear(codes, layer.weight[:, -CODE - 3 : -3], layer.bias)[:, None]
                entered = F.linear(points, layer.weight[:, -3:]) + of_codes
                x = entered if index == 0 else F.linear(x, layer.weight[:, :WIDTH]) + entered
            else:
                x = layer(x)
            x = x.relu()
        return self.out(x)[..., 0]

    def written_out(self, codes: Tensor, points: Tensor) -> Tensor:
        """The same distances, computed with the code concatenated to every point."""
        inputs = torch.cat([codes[:, None].expand(*points.shape[:2], CODE), points], dim=-1)
        x = inputs
        for index, layer in enumerate(self.hidden):
            x = layer(torch.cat([x, inputs], dim=-1) if index == 2 else x).relu()
        return self.out(x)[..., 0]


def torus(points: Tensor, ring: float, tube: float) -> Tensor:
    around = torch.hypot(points[..., 0], points[..., 2]) - ring
    return torch.hypot(around, points[..., 1]) - tube


def fit(decoder: Decoder, codes: Tensor, steps: int) -> None:
    """Fit the decoder to a torus, with an eikonal loss (gradients of norm 1)."""
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    for _ in range(steps):
        points = (torch.rand(1, 1024, 3) * 2 - 1).requires_grad_()
        distances = decoder(codes.detach(), points)
        (slope,) = torch.autograd.grad(distances.sum(), points, create_graph=True)
        loss = (distances - torus(points, 0.5, 0.2)).abs().mean()
        loss = loss + 0.1 * (slope.norm(dim=-1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def sample(near: Tensor, far: Tensor) -> Tensor:
    """Depths along each ray, with the same jitter as in `march`."""
    drawn = torch.rand((*near.shape, SAMPLES), generator=torch.Generator().manual_seed(0))
    return near[..., None] + (far - near)[..., None] * (torch.arange(SAMPLES) + drawn) / SAMPLES


def plain(
    field: ConditionalField, codes: Tensor, origins: Tensor, directions: Tensor, temperature: float
) -> Tensor:
    """Compute all samples with gradient."""
    near, far = ball_span(origins, directions, RADIUS)
    points = origins[:, :, None] + sample(near, far)[..., None] * directions[:, :, None]
    distances = field(codes, points.flatten(1, 2)).view(*near.shape, SAMPLES)
    return torch.where(near < far, -distances.min(-1).values / temperature, MISSED)


def nearest_only(
    field: ConditionalField, codes: Tensor, origins: Tensor, directions: Tensor, temperature: float
) -> Tensor:
    """Compute all samples without gradient, then the nearest sample of each ray with gradient. No ray is culled."""
    near, far = ball_span(origins, directions, RADIUS)
    with torch.no_grad():
        points = origins[:, :, None] + sample(near, far)[..., None] * directions[:, :, None]
        best = field(codes, points.flatten(1, 2)).view(*near.shape, SAMPLES).argmin(-1)
        points = points.gather(2, best[..., None, None].expand(*near.shape, 1, 3))[:, :, 0]
    return torch.where(near < far, -field(codes, points) / temperature, MISSED)


def ours(
    field: ConditionalField,
    codes: Tensor,
    origins: Tensor,
    directions: Tensor,
    temperature: float,
    look: Callable[..., Nearest],
    **how: object,
) -> Tensor:
    nearest = look(field, codes, origins, directions, **how)
    return soft_silhouette(field, codes, nearest, temperature)


def compare(decoder: Decoder, codes: Tensor, temperature: float) -> None:
    camera = torch.from_numpy(fibonacci_cameras(5, 2.5)[1:2])
    origins, directions = cast_rays(camera, torch.tensor([YFOV]), SIZE, SIZE, None)
    rays = origins[:, None].expand_as(directions), directions
    depths = torch.linspace(1.5, 3.5, 400)[:, None]
    wider = torus(origins + depths[..., None] * directions, 0.6, 0.2).amin(0) < 0
    mask = wider[None].float()
    parameters = [codes, *decoder.parameters()]

    def take(
        renderer: Callable[..., Tensor], field: ConditionalField, *more: object, **how: object
    ) -> Tensor:
        logits = renderer(field, codes, *rays, temperature, *more, **how)
        loss = F.binary_cross_entropy_with_logits(logits, mask)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])

    candidates: dict[str, Step] = {
        "plain": lambda: take(plain, decoder.written_out),
        "plain, code part once": lambda: take(plain, decoder),
        "nearest only": lambda: take(nearest_only, decoder.written_out),
        "  + code part once": lambda: take(nearest_only, decoder),
        "march: + ball, in cache": lambda: take(
            ours, decoder, march, samples=SAMPLES, jitter=torch.Generator().manual_seed(0)
        ),
        "march_bounded 10 + 4 x 2 + 1": lambda: take(
            ours, decoder, march_bounded, samples=10, rounds=4, refine=2
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    gradients = {}
    for _ in range(3):
        for name, step in candidates.items():
            began = time.process_time()
            gradients[name] = step()
            seconds[name].append(time.process_time() - began)
    least = {name: min(each) for name, each in seconds.items()}
    truth = gradients["plain"].double()
    print(
        f"\ntemperature {temperature}: CPU s a step, times faster, gradient's relative difference, 1 - cosine"
    )
    for name, gradient in gradients.items():
        difference = ((gradient.double() - truth).norm() / truth.norm()).item()
        turned = 1 - F.cosine_similarity(gradient.double(), truth, dim=0).item()
        print(
            f"{name:<32}{least[name]:7.3f}{least['plain'] / least[name]:8.1f}{difference:12.1e}{turned:12.1e}"
        )


def trained() -> None:
    torch.manual_seed(0)
    decoder, codes = Decoder(), (0.06 * torch.randn(1, CODE)).requires_grad_()
    fit(decoder, codes, 200)
    for temperature in (0.08, 0.006):
        compare(decoder, codes, temperature)


def random() -> None:
    torch.manual_seed(0)
    compare(Decoder(), (0.06 * torch.randn(1, CODE)).requires_grad_(), 0.08)


def chunks() -> None:
    """Print the time per point, by the number of points evaluated at once."""
    torch.manual_seed(0)
    decoder, codes, points = Decoder(), torch.randn(1, CODE), torch.rand(1, 65_536, 3)
    everything = torch.ones(1, 65_536, dtype=torch.bool)
    sizes = (256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536)
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):
        for size in sizes:
            silhouette.CPU_BATCH = size
            with torch.no_grad():
                began = time.process_time()
                silhouette.evaluate_at(decoder, codes, points, everything)
                costs[size].append(time.process_time() - began)
    for size, each in costs.items():
        print(f"{size:>6} points at once {1e6 * min(each) / 65_536:7.2f} CPU us a point")


def codes() -> None:
    """Print the time to compute a latent code: from the encoder directly, or from the flow in eight steps."""
    config, _ = NETWORKS["paper"]
    encoder, flow = build_conditioner(config, pooled=True), Flow(config)
    picture, noise = torch.rand(1, 1, 3, SIZE, SIZE), torch.randn(1, config.code)
    ways: dict[str, Step] = {
        "encoder": lambda: encoder(picture),
        "conditioner and flow": lambda: flow.run(noise, encoder(picture), steps=8, guidance=1.0),
    }
    costs: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for _ in range(20):
            for name, way in ways.items():
                began = time.process_time()
                way()
                costs[name].append(time.process_time() - began)
    for name, each in costs.items():
        print(f"{name:<22}{1000 * min(each):7.2f} CPU ms a code")


def marches(flow: str, views: str) -> None:
    """Compare marching of the rays of a training step with 1,024 samples along each ray."""
    settings = RECIPES["small"]
    temperature = settings.temperature
    with open_store(flow, "flow", manifest=None) as store:
        decoder, codes = read_decoder(store, "cpu"), torch.from_numpy(store.read("code")).requires_grad_()
    pictures = read_pictures(
        views, None, most=None, parts=False, size=settings.size, temperature=temperature, manifest=None
    ).pictures
    generator = torch.Generator().manual_seed(0)
    seen = torch.randint(pictures.conditions, (len(codes), 1), generator=generator)
    chances = torch.rand(len(codes), 1, settings.rays, generator=generator)
    rays = choose_rays(pictures, torch.arange(len(codes)), seen, chances, edge=settings.edge)
    parameters = [codes, *decoder.requires_grad_().parameters()]

    def differentiate(nearest: Nearest) -> tuple[float, Tensor]:
        logits = soft_silhouette(decoder, codes, nearest, temperature)
        loss = silhouette_loss(logits, rays.mask).mean()
        return loss.item(), torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])

    asked = (decoder, codes.detach(), rays.origins, rays.directions)
    dense = march(*asked, samples=1024, jitter=None)
    least, truth = differentiate(dense)
    near = dense.distances.abs() < 0.02
    print(f"{near.sum()} rays within 0.02 of a surface; loss {least:.5f}")
    ways: dict[str, Callable[[], Nearest]] = {
        f"march {samples}": functools.partial(march, *asked, samples=samples, jitter=None)
        for samples in (19, 48, 96, 192)
    } | {
        f"march_bounded {first} + {rounds} x {refine} + 1": functools.partial(
            march_bounded, *asked, samples=first, rounds=rounds, refine=refine
        )
        for first, rounds, refine in ((8, 4, 2), (10, 3, 2), (10, 4, 2), (12, 4, 2), (12, 2, 4))
    }
    for name, way in ways.items():
        began = time.process_time()
        nearest = way()
        cost = time.process_time() - began
        error = (nearest.distances - dense.distances)[near]
        loss, gradient = differentiate(nearest)
        print(
            f"{name:<32}{cost:7.3f} CPU s; too far by {error.mean():.5f}, at most {error.max():.4f}; loss {loss:.5f}; "
            f"gradient's cosine {F.cosine_similarity(gradient, truth, dim=0):.4f}"
        )


def main() -> None:
    parts = {"trained": trained, "random": random, "chunks": chunks, "codes": codes}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[[], *parts, "marches"])
    parser.add_argument("--flow", help="store written by train-flow")
    parser.add_argument("--views", help="store of the views that the flow was trained on")
    options = parser.parse_args()
    parts["marches"] = functools.partial(marches, options.flow, options.views)
    for name in options.part or list(parts)[:-1]:
        print(f"\n== {name}", flush=True)
        parts[name]()


if __name__ == "__main__":
    main()
