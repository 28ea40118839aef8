"""What the parts of the acoustic model share."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from koe.nn.convolution import Convolution
from koe.nn.layers import Dropout, MaskedBatchNorm, average_steps, length_mask


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("kernel", [1, 5])
@pytest.mark.parametrize("contiguous", [False, True])
def test_convolving_is_pytorchs_convolution(groups: int, kernel: int, contiguous: bool) -> None:
    ours = Convolution(8, 16, kernel, groups, contiguous=contiguous)
    theirs = nn.Conv1d(8, 16, kernel, padding=kernel // 2, groups=groups)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 11, 8)
    assert torch.allclose(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(probability: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(probability)(torch.ones(7, 101, 103))
    assert float((dropped == 0).float().mean()) == pytest.approx(probability, abs=0.01)
    assert dropped.max() == pytest.approx(1 / (1 - round(probability * 256) / 256))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)


def test_dropout_draws_each_element_by_itself() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.5), torch.ones(64, 64)
    first, second = dropout(ones) > 0, dropout(ones) > 0
    for other in (second, first.roll(1, dims=1), first.roll(4, dims=1)):
        assert float((first == other).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_dropout_rests_in_evaluation_and_at_probability_0() -> None:
    x = torch.randn(5)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x


def test_masked_batch_norm_is_batch_norm_of_the_real_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(6), nn.BatchNorm1d(6)
    for _ in range(3):
        x, mask = torch.randn(4, 9, 6) * 3 + 1, length_mask(torch.tensor([9, 2, 5, 1]), 9)
        assert torch.allclose(ours(x, mask)[mask], theirs(x[mask]), atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-6)
    assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-5)
    assert torch.allclose(ours.eval()(x, mask)[mask], theirs.eval()(x[mask]), atol=1e-5)


def test_masked_batch_norm_takes_one_step() -> None:
    norm, x = MaskedBatchNorm(4), torch.randn(1, 2, 4)
    normalized = norm(x, torch.tensor([[True, False]]))
    assert torch.allclose(normalized[0, 0], x[0, 0], atol=1e-4)  # by the running statistics, which are 0 and 1 still
    assert not normalized[0, 1].any()
    assert torch.equal(norm.running_mean, torch.zeros(4))


def test_a_frozen_batch_norm_does_in_training_what_it_does_later() -> None:
    norm, x, mask = MaskedBatchNorm(4, momentum=0.0), torch.randn(2, 5, 4) + 3, torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(norm(x, mask), norm.eval()(x, mask))


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_averages_of_steps_are_over_real_ones(factor: int) -> None:
    x, lengths = torch.randn(2, 7, 3), torch.tensor([7, 4])
    averaged = average_steps(x, length_mask(lengths, 7), factor)
    assert averaged.shape == (2, -(-7 // factor), 3)
    for row, length in enumerate(lengths):
        expected = torch.stack([piece.mean(dim=0) for piece in x[row, :length].split(factor)])
        assert torch.allclose(averaged[row, : len(expected)], expected, atol=1e-6)


def test_convolving_trains_in_bfloat16() -> None:
    convolution = Convolution(4, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.relu(convolution(torch.randn(2, 5, 4))).float().sum()
    loss.backward()
    assert convolution.weight.grad is not None and convolution.weight.grad.dtype == torch.float32
