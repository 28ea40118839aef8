"""Lesson 31 for every shared network and each of its options: what stands behind a sequence leaves no trace in it."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from koe.nn.conformer import Conformer
from koe.nn.convolution import Convolution
from koe.nn.layers import MaskedBatchNorm, average_steps, length_mask, masked_mean
from koe.nn.length import regulate_length, round_durations
from koe.nn.params import ConformerParams, PostnetParams, PredictorParams
from koe.nn.postnet import Postnet
from koe.nn.variance import VariancePredictor

WIDTH, LENGTHS = 8, torch.tensor([9, 5, 1])
CONFORMER: dict[str, Any] = {
    "layers": 2, "hidden": WIDTH, "attention": 8, "heads": 2, "feed_forward": 16, "convolution": 8, "kernel": 3,
    "positions": "rotary", "norm": "layer", "dropout": 0.1, "inner_dropout": 0.1, "attention_dropout": 0.1}
POSTNET: dict[str, Any] = {"layers": 3, "kernel": 5, "filter": 6, "norm": "layer", "dropout": 0.1}
PREDICTOR: dict[str, Any] = {"layers": 2, "kernel": 3, "filter": 6, "dropout": 0.1, "stop_gradient": False}

Masked = Callable[[Tensor, Tensor], Tensor]


def changes_nothing(network: nn.Module, call: Masked) -> None:
    """Each sequence of a padded batch comes out as it does alone, whatever the padding holds."""
    network.eval()
    for module in network.modules():
        if isinstance(module, MaskedBatchNorm):  # as after some training
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x, mask = torch.randn(len(LENGTHS), 9, WIDTH), length_mask(LENGTHS, 9)
    together = call(x, mask)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = call(x[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        assert torch.allclose(together[row, :length], alone[0], atol=1e-5), length
    other = call(torch.where(mask[..., None], x, 9.0), mask)
    assert torch.allclose(other[mask], together[mask], atol=1e-5)


@pytest.mark.parametrize("changes", [
    *({"positions": positions, "norm": norm}
      for positions, norm in product(["rotary", "relative", "absolute"], ["layer", "batch"])),
    {"attention": 24, "heads": 3}, {"convolution": 20}, {"kernel": 1}, {"layers": 1}], ids=str)
def test_lesson_31_of_a_conformer(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = Conformer(ConformerParams(**CONFORMER | changes))
    changes_nothing(network, network)


@pytest.mark.parametrize("changes", [
    *({"norm": norm, "layers": layers} for norm, layers in product(["layer", "batch"], [1, 2, 4])), {"kernel": 1}],
    ids=str)
def test_lesson_31_of_a_postnet(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = Postnet(WIDTH, PostnetParams(**POSTNET | changes))
    changes_nothing(network, network)


@pytest.mark.parametrize("changes", [{}, {"stop_gradient": True}, {"layers": 1}, {"kernel": 7}], ids=str)
@pytest.mark.parametrize("with_prosody", [False, True])
def test_lesson_31_of_a_variance_predictor(changes: dict[str, Any], with_prosody: bool) -> None:
    torch.manual_seed(0)
    network = VariancePredictor(WIDTH, PredictorParams(**PREDICTOR | changes))
    changes_nothing(network, lambda x, mask: network(x, mask, 2 * x if with_prosody else None))


@pytest.mark.parametrize("kernel", [1, 5])
@pytest.mark.parametrize("groups", [1, WIDTH])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("contiguous", [False, True])
def test_lesson_31_of_a_convolution(kernel: int, groups: int, causal: bool, contiguous: bool) -> None:
    """It takes no mask: whoever calls it makes the padding 0, which is what stands beyond the ends."""
    torch.manual_seed(0)
    network = Convolution(WIDTH, WIDTH, kernel, groups, causal, contiguous)
    changes_nothing(network, lambda x, mask: network(x * mask[..., None]))


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_causal_convolution_does_not_look_ahead(contiguous: bool) -> None:
    torch.manual_seed(0)
    network, x = Convolution(WIDTH, WIDTH, 4, causal=True, contiguous=contiguous), torch.randn(2, 9, WIDTH)
    assert torch.allclose(network(x)[:, :6], network(x[:, :6]), atol=1e-6)
    assert not torch.allclose(network(x)[:, 6:], network(x.flip(1)).flip(1)[:, 6:], atol=1e-3)


def test_lesson_31_of_durations_and_the_length_regulator() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(len(LENGTHS), 9, WIDTH), length_mask(LENGTHS, 9)
    real = 3 * torch.rand(len(LENGTHS), 9)
    whole = round_durations(real, mask)
    assert not whole[~mask].any()
    size = int(whole.sum(dim=1).max())
    together = regulate_length(x, whole, size)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = round_durations(real[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        assert torch.equal(whole[row, :length], alone[0])
        steps = int(alone.sum())
        assert torch.equal(together[row, :steps], regulate_length(x[row : row + 1, :length], alone, steps)[0])


def test_lesson_31_of_means() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(len(LENGTHS), 9, WIDTH), length_mask(LENGTHS, 9)
    other = torch.where(mask[..., None], x, 9.0)
    assert torch.allclose(masked_mean(x, mask), masked_mean(other, mask))
    assert torch.allclose(masked_mean(x, mask), x[mask].mean())
    averaged = [average_steps(each, mask, 2)[length_mask(-(-LENGTHS // 2), 5)] for each in (x, other)]
    assert torch.allclose(*averaged)
