import pytest
import torch

from sdfkit.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_orthogonalisation_makes_singular_values_nearly_1(shape):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 0.1, min(shape))
    near_orthogonal = orthogonalise(1000 * left @ torch.diag(values) @ right)
    inside = left.T @ near_orthogonal @ right.T
    assert torch.allclose(inside, torch.diag(inside.diagonal()), atol=1e-4)
    assert inside.diagonal().min() > 0.65 and inside.diagonal().max() < 1.25


def test_a_matrix_without_gradient_is_not_changed():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_kernels_count_as_matrices_with_a_row_for_each_output_channel():
    kernel = torch.nn.Parameter(torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    matrix = torch.nn.Parameter(kernel.detach().reshape(4, 18).clone())
    gradient = torch.arange(72.0).sin()
    for parameter in (kernel, matrix):
        parameter.grad = gradient.reshape(parameter.shape).clone()
        Muon([{"params": [parameter], "lr": 0.1}]).step()
    assert torch.equal(kernel.reshape(4, 18), matrix)


def test_updates_do_not_depend_on_the_norm_of_the_gradient():
    steps = []
    for length in (1e-3, 1e3):
        matrix = torch.nn.Parameter(torch.zeros(4, 6))
        optimizer = Muon([{"params": [matrix], "lr": 0.1}])
        matrix.grad = length * torch.arange(24.0).sin().reshape(4, 6)
        optimizer.step()
        steps.append(matrix.detach())
    assert torch.allclose(*steps, atol=1e-5)


def test_a_quadratic_function_is_minimised():
    torch.manual_seed(0)
    wanted, matrix = torch.randn(5, 5), torch.nn.Parameter(torch.zeros(5, 5))
    optimizer = Muon([{"params": [matrix], "lr": 0.05}])
    losses = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimizer.zero_grad()
        loss = (matrix - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]
