import numpy as np
import pytest
import torch

from sdfkit.errors import InputError
from sdfkit.training.run import (
    cosine,
    moments,
    open_device_context,
    pack,
    pack_clock,
    seeded,
    set_rate,
    unpack,
    unpack_clock,
    update_ema,
)


def test_the_cpu_is_always_available():
    assert open_device_context("cpu", "fp32").device.type == "cpu"


def test_an_unresolved_device_name_is_refused():
    with pytest.raises(RuntimeError, match="device type at start of device string: gpu"):
        open_device_context("gpu", "fp32")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_determines_the_dtype_of_matrix_products(precision, dtype):
    with open_device_context("cpu", precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_cosine_schedule_decreases_from_1_to_0():
    assert [cosine(step, 8) for step in (0, 4, 8, 9)] == pytest.approx([1, 0.5, 0, 0])


def test_set_rate_multiplies_the_initial_learning_rates():
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [weight], "initial_lr": lr} for weight, lr in zip(weights, (1.0, 4.0), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=9.0)
    set_rate([optimizer], 0.5)
    weights[0].grad = weights[1].grad = torch.ones(1)
    optimizer.step()
    assert [weight.item() for weight in weights] == [0.5, -1.0]


def test_the_ema_decay_is_warmed_up_by_its_formula():
    ema, expected = {"x": torch.zeros(1)}, 0.0
    for step in range(30):
        update_ema(ema, {"x": torch.full((1,), 1.0 + step)}, 0.7, step)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (1.0 + step)
    assert ema["x"].item() == pytest.approx(expected, rel=1e-5)


def test_an_ema_with_decay_0_is_a_copy():
    ema = {"x": torch.zeros(3)}
    update_ema(ema, {"x": torch.tensor([0.1, 0.2, 0.3])}, 0.0, 5)
    assert torch.equal(ema["x"], torch.tensor([0.1, 0.2, 0.3]))


def test_seeded_uses_its_generator_and_restores_the_global_one():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    draws = []
    for seed in (7, 7, 8):
        with seeded(torch.Generator().manual_seed(seed)):
            draws.append(torch.nn.Linear(3, 3).weight.detach())
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert torch.equal(before, torch.get_rng_state())


def test_tensors_step_and_generator_are_restored_from_a_state():
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor(4.0)}
    generator = torch.Generator().manual_seed(1)
    state = pack("part", tensors) | pack_clock(12, generator)
    assert set(state) == {"part/a", "part/b", "step", "generator"}
    expected = torch.rand(5, generator=generator)
    for tensor in tensors.values():
        tensor.add_(1)
    copies = {"a": torch.zeros(2, 3), "b": torch.zeros(())}
    other = torch.Generator()
    unpack("part", copies, state)
    assert unpack_clock(state, other) == 12
    assert torch.equal(copies["a"] + 1, tensors["a"]) and copies["b"] == 4
    assert torch.equal(torch.rand(5, generator=other), expected)


def test_a_state_of_another_kind_is_refused():
    with pytest.raises(
        InputError, match=r"^training state: has no array part/a; it was saved by another kind of run$"
    ):
        unpack("part", {"a": torch.zeros(2)}, {})


def test_a_state_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"^training state: part/a has shape \(3,\), but .* \(2,\); resume"):
        unpack("part", {"a": torch.zeros(2)}, {"part/a": np.zeros(3, dtype=np.float32)})


def test_packed_moments_of_an_unused_optimizer_are_zeros_without_effect():
    losses = []
    for touched in (False, True):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
        if touched:
            assert all(not tensor.any() for tensor in moments([optimizer], {"w": weight}).values())
        for _ in range(3):
            optimizer.zero_grad()
            (weight * torch.tensor([1.0, 2.0, 3.0])).square().sum().backward()
            optimizer.step()
        losses.append(weight.detach())
    assert torch.equal(*losses)
