"""Conformer blocks: three kinds of positions, widths of their own. Padding: `test_padding`."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from koe.nn import conformer
from koe.nn.conformer import Conformer, RelativeAttention, by_distance, sinusoids
from koe.nn.layers import length_mask
from koe.nn.params import ConformerParams

POSITIONS = ["rotary", "relative", "absolute"]


def small(**changes: Any) -> ConformerParams:
    return ConformerParams(**{
        "layers": 2, "hidden": 8, "attention": 8, "heads": 2, "feed_forward": 16, "convolution": 8, "kernel": 3,
        "positions": "rotary", "norm": "layer", "dropout": 0.0, "inner_dropout": 0.0, "attention_dropout": 0.0,
    } | changes)


def whole(length: int, batch: int = 1) -> torch.Tensor:
    return torch.ones(batch, length, dtype=torch.bool)


OPTIONS = [*({"positions": positions} for positions in POSITIONS), {"norm": "batch"}, {"attention": 24, "heads": 3},
           {"convolution": 20}, {"hidden": 6, "attention": 4, "heads": 1, "convolution": 2}]


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_gradients_reach_every_parameter(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    params = small(**changes, dropout=0.1, inner_dropout=0.1, attention_dropout=0.1)
    network = Conformer(params)
    network(torch.randn(2, 9, params.hidden), length_mask(torch.tensor([9, 5]), 9)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("positions", POSITIONS)
def test_order_matters(positions: str) -> None:
    """Attention without positions would give a reversed sequence reversed; a kernel of 1 leaves only attention."""
    torch.manual_seed(0)
    network = Conformer(small(positions=positions, kernel=1)).eval()
    x = torch.randn(1, 7, 8)
    assert not torch.allclose(network(x.flip(1), whole(7)).flip(1), network(x, whole(7)), atol=1e-3)


@pytest.mark.parametrize("positions", ["rotary", "relative"])
def test_only_distance_matters(positions: str) -> None:
    """A sequence after masked steps is the same sequence."""
    torch.manual_seed(0)
    network = Conformer(small(positions=positions)).eval()
    x = torch.randn(1, 6, 8)
    shifted = torch.cat([torch.randn(1, 4, 8), x], dim=1)
    mask = ~length_mask(torch.tensor([4]), 10)
    assert torch.allclose(network(shifted, mask)[:, 4:], network(x, whole(6)), atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_both_ways_to_attend_agree(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Conformer(small(positions=positions)).eval()
    x, mask = torch.randn(2, 9, 8), length_mask(torch.tensor([9, 5]), 9)
    written_out = network(x, mask)
    monkeypatch.setattr(conformer, "_WRITTEN_OUT_STEPS", 0)
    assert torch.allclose(network(x, mask)[mask], written_out[mask], atol=1e-5)


def test_scores_by_distance_are_those_of_each_pair_of_steps() -> None:
    scores = torch.randn(2, 3, 5, 9)
    shifted = by_distance(scores)
    for i in range(5):
        for j in range(5):
            assert torch.equal(shifted[..., i, j], scores[..., i, 4 - (i - j)])


def test_relative_attention_is_transformer_xls() -> None:
    """Against the published formula, written with loops (Dai et al., 2019, section 3.3)."""
    torch.manual_seed(0)
    attention = RelativeAttention(small(positions="relative", heads=1)).eval()
    torch.nn.init.normal_(attention.content_bias)
    torch.nn.init.normal_(attention.position_bias)
    x = torch.randn(1, 5, 8)
    ours = attention(x, torch.zeros(1, 1, 1, 5), attention.positions(x))
    q, k, v = attention.project(attention.norm(x))[0].split(8, dim=-1)
    scores = torch.zeros(5, 5)
    for i in range(5):
        for j in range(5):
            distance = attention.distance(sinusoids(torch.tensor([float(i - j)]), 8))[0]
            scores[i, j] = (q[i] + attention.content_bias) @ k[j] + (q[i] + attention.position_bias) @ distance
    expected = attention.out(F.softmax(scores / 8**0.5, dim=-1) @ v)
    assert torch.allclose(ours[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["dropout", "inner_dropout", "attention_dropout"])
def test_each_dropout_is_heard_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    network, x = Conformer(small(**{name: 0.5})), torch.randn(1, 6, 8)
    assert not torch.equal(network(x, whole(6)), network(x, whole(6)))
    assert torch.equal(network.eval()(x, whole(6)), network(x, whole(6)))


def test_batch_norm_trains_on_one_step() -> None:
    assert torch.isfinite(Conformer(small(norm="batch"))(torch.randn(1, 1, 8), whole(1))).all()
