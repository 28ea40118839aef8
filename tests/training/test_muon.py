"""Muon's steps are PyTorch's, its matrices orthogonal, its state one that checkpoints hold."""

from pathlib import Path

import pytest
import torch
from torch import nn

from koe.training.checkpoint import load_checkpoint, save_checkpoint
from koe.training.muon import Muon, hidden_weights, orthogonalized
from koe.training.optimizers import make_optimizer
from koe.training.params import OptimizerParams

MUON = OptimizerParams(name="muon", betas=(0.9, 0.98), epsilon=1e-8, weight_decay=0.1)


class Network(nn.Module):
    """One layer of every kind that the models have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.voices = nn.Embedding(3, 12)
        self.wide = nn.Linear(12, 40)
        self.norm = nn.LayerNorm(40)
        self.mixing = nn.Conv1d(40, 40, 3, padding=1)
        self.narrow = nn.Linear(40, 8)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.out = nn.Linear(8, 1)


def give_gradients(generator: torch.Generator, *networks: nn.Module) -> None:
    """The same to each. Matrices are of full rank: the iteration is so steep at 0 (3.4445 ** 5 = 485) that in bfloat16
    it makes any number of singular values that should be 0, and another one of gradients that differ by a rounding.
    """
    for parameters in zip(*(network.parameters() for network in networks), strict=True):
        gradient = torch.randn(parameters[0].shape, generator=generator)
        for parameter in parameters:
            parameter.grad = gradient.clone() if parameter.requires_grad else None


def optimizer_of(network: nn.Module) -> Muon:
    optimizer = make_optimizer(network, MUON)
    assert isinstance(optimizer, Muon)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    return optimizer


def names(network: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


def published(matrix: torch.Tensor) -> torch.Tensor:
    """What the iterations make of a matrix, in float64: a polynomial of each singular value (Jordan et al. 2024)."""
    left, lengths, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    lengths = lengths / lengths.norm()
    for _ in range(5):
        lengths = 3.4445 * lengths - 4.7750 * lengths**3 + 2.0315 * lengths**5
    return left @ torch.diag(lengths) @ right


# How far rounding may take an orthogonalized matrix, in spectral norm. Each of the 15 products is rounded once, by up
# to 2 ** -8 of its length, about 1, in bfloat16 (measured: 0.029 in all); in float32 it is 2 ** -24, and the sums of up
# to 40 terms inside the products are rounded too, which adds up as the root of their number does (measured: 1.5e-6; of
# matrices that are wide or high, where the Gram matrix is iterated and an error in it grows each time, up to 9e-6).
ROUNDING = {torch.bfloat16: 15 * 2**-8, torch.float32: 4 * 15 * 2**-24 * 40**0.5}


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (32, 32)])
def test_singular_values_are_brought_near_one_and_directions_kept(shape: tuple[int, int], dtype: torch.dtype) -> None:
    left, lengths, right = torch.linalg.svd(
        torch.randn(shape, generator=torch.Generator().manual_seed(1)), full_matrices=False)
    stretched = left @ torch.diag(lengths.clamp(min=1) * torch.linspace(5, 1, len(lengths))) @ right
    found = orthogonalized(stretched.to(dtype))
    assert found.shape == shape and found.dtype == dtype
    sizes = torch.linalg.svdvals(found.float())
    assert sizes.min() > 0.6 and sizes.max() < 1.3
    assert torch.linalg.matrix_norm(found - published(stretched), 2) < ROUNDING[dtype]


def test_no_gradient_at_all_is_no_step() -> None:
    assert torch.equal(orthogonalized(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_takes_the_weights_of_linear_layers() -> None:
    network = Network()
    assert names(network, list(hidden_weights(network))) == {"wide.weight", "narrow.weight"}
    orthogonal, decayed, rest = make_optimizer(network, MUON).param_groups
    assert names(network, decayed["params"]) == {
        "voices.weight", "mixing.weight", "out.weight", "normed.parametrizations.weight.original0",
        "normed.parametrizations.weight.original1"}
    assert [group["weight_decay"] for group in (orthogonal, decayed, rest)] == [0.1, 0.1, 0.0]
    assert sum(len(group["params"]) for group in (orthogonal, decayed, rest)) == len(list(network.parameters()))


class PlainMuon:
    """Muon with the steps of AdamW's length, written out (Liu et al. 2025), with MUON's settings and a rate of 0.01."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights
        self.momenta = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights]

    @torch.no_grad()
    def step(self) -> None:
        for weight, momentum in zip(self.weights, self.momenta, strict=True):
            momentum.mul_(0.9).add_(weight.grad, alpha=0.1)
            orthogonal = published(0.9 * momentum + 0.1 * weight.grad)
            weight.sub_(0.01 * (0.1 * weight + 0.2 * max(weight.shape) ** 0.5 * orthogonal))


def test_steps_equal_those_of_muon_and_adamw(auto_precision: str) -> None:
    """In float32 Muon is the one written out, in bfloat16 PyTorch's, which computes in that everywhere."""
    network, reference = Network(), Network()
    ours = optimizer_of(network)
    matrices = list(hidden_weights(reference))
    rest = [each for each in reference.parameters() if not any(each is weight for weight in matrices)]
    muon = PlainMuon(matrices) if auto_precision == "float32" else torch.optim.Muon(
        matrices, lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": [each for each in rest if each.dim() > 1], "weight_decay": 0.1},
         {"params": [each for each in rest if each.dim() == 1], "weight_decay": 0.0}], lr=0.01, betas=(0.9, 0.98))
    generator, steps = torch.Generator().manual_seed(2), 6
    for _ in range(steps):
        give_gradients(generator, network, reference)
        for optimizer in (ours, muon, adamw):
            optimizer.step()
    for (name, one), other in zip(network.named_parameters(), reference.parameters(), strict=True):
        # Sums of a few float32 numbers below 1. Products are the same ones in bfloat16 (measured: 0); in float32 a step
        # is up to 0.01 * 0.2 * 40 ** 0.5 times a matrix that rounding takes somewhere else (measured: 9e-8).
        written_out = auto_precision == "float32" and any(other is weight for weight in matrices)
        tolerance = 5e-7 + written_out * steps * 0.0127 * ROUNDING[torch.float32]
        assert (one - other).abs().max() < tolerance, name
        assert not torch.equal(one, dict(Network().named_parameters())[name]), name


def test_one_thread_and_two_make_the_same_bits(auto_precision: str) -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            network, generator = Network(), torch.Generator().manual_seed(3)
            optimizer = optimizer_of(network)
            for _ in range(3):
                give_gradients(generator, network)
                optimizer.step()
            found.append(list(network.parameters()))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path: Path, auto_precision: str) -> None:
    path, first, second = tmp_path / "checkpoint.safetensors", Network(), Network()
    optimizer, resumed = optimizer_of(first), optimizer_of(second)
    generator = torch.Generator().manual_seed(4)
    for _ in range(3):
        give_gradients(generator, first)
        optimizer.step()
    save_checkpoint(path, 3, {"network": first, "optimizer": optimizer})
    load_checkpoint(path, {"network": second, "optimizer": resumed})
    give_gradients(generator, first, second)
    for each in (optimizer, resumed):
        each.step()
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_frozen_weights_are_held_and_not_touched() -> None:
    network = Network()
    network.wide.requires_grad_(False)
    before = network.wide.weight.clone()
    optimizer = optimizer_of(network)
    give_gradients(torch.Generator().manual_seed(5), network)
    optimizer.step()
    assert torch.equal(network.wide.weight, before)
    assert any(network.wide.weight is each for each in optimizer.param_groups[0]["params"])
