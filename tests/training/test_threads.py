"""Gradients computed by several threads equal those of one thread in every run."""

import pytest
import torch
from torch import nn

from sdfkit.training.threads import MAX_THREADS, GradientThreads

POINTS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def losses(layer, at):
    return layer(POINTS[at]).square().sum(dim=1)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_gradients_with_several_threads_equal_those_with_one(threads, count):
    threads(count)
    torch.manual_seed(0)
    layer, unused = nn.Linear(5, 3), nn.Parameter(torch.ones(2))
    rows, parameters = torch.tensor([0, 6, 2, 1, 5]), [*layer.parameters(), unused]
    truth = torch.autograd.grad(losses(layer, rows).sum() / 20, list(layer.parameters()))
    pool, inside = GradientThreads(torch.device("cpu")), []

    def compute(at):
        inside.append(torch.get_num_threads())
        return losses(layer, at)

    assert pool.count == min(count, MAX_THREADS)
    first = None
    for _ in range(2):
        found = pool.compute_gradients(compute, rows, parameters, total=20)
        assert torch.allclose(found, losses(layer, rows)) and not found.requires_grad
        assert all(torch.allclose(p.grad, g) for p, g in zip(layer.parameters(), truth, strict=True))
        assert unused.grad is None
        assert first is None or all(
            torch.equal(p.grad, g) for p, g in zip(layer.parameters(), first, strict=True)
        )
        first = [parameter.grad.clone() for parameter in layer.parameters()]
    # torch's threads are divided among the threads; the number of the calling thread does not change.
    assert set(inside) == {count // pool.count} and torch.get_num_threads() == count


def test_exceptions_of_threads_are_raised(threads):
    threads(2)
    layer = nn.Linear(5, 3)

    def compute(at):
        raise ValueError("no gradient here")

    with pytest.raises(ValueError, match="no gradient here"):
        GradientThreads(torch.device("cpu")).compute_gradients(
            compute, torch.arange(4), list(layer.parameters()), total=4
        )
