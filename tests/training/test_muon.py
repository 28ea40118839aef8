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

    def forward(self) -> torch.Tensor:
        x = self.wide(self.voices.weight)[None]
        x = self.norm(self.mixing(x.mT).mT + x)
        return self.out(self.normed(self.narrow(x))).square().sum()


def step(network: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.01
    network.zero_grad()
    network().backward()
    for optimizer in optimizers:
        optimizer.step()


def names(network: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (32, 32)])
def test_singular_values_are_brought_near_one_and_directions_kept(shape: tuple[int, int]) -> None:
    left, lengths, right = torch.linalg.svd(
        torch.randn(shape, generator=torch.Generator().manual_seed(1)), full_matrices=False)
    stretched = left @ torch.diag(lengths.clamp(min=1) * torch.linspace(5, 1, len(lengths))) @ right
    found = orthogonalized(stretched)
    assert found.shape == shape
    inside = left.mT @ found @ right.mT
    assert torch.linalg.svdvals(found).min() > 0.6 and torch.linalg.svdvals(found).max() < 1.3
    assert torch.allclose(inside, torch.diag(torch.diagonal(inside)), atol=1e-4)


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


def test_steps_equal_those_of_pytorchs_muon_and_adamw() -> None:
    network, reference = Network(), Network()
    ours = make_optimizer(network, MUON)
    matrices = list(hidden_weights(reference))
    rest = [each for each in reference.parameters() if not any(each is weight for weight in matrices)]
    muon = torch.optim.Muon(matrices, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": [each for each in rest if each.dim() > 1], "weight_decay": 0.1},
         {"params": [each for each in rest if each.dim() == 1], "weight_decay": 0.0}], betas=(0.9, 0.98))
    for _ in range(6):
        step(network, ours)
        step(reference, muon, adamw)
    for (name, one), other in zip(network.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3), name  # PyTorch's is in bfloat16 on every processor
        assert not torch.equal(one, dict(Network().named_parameters())[name]), name


def test_one_thread_and_two_make_the_same_bits() -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            network = Network()
            optimizer = make_optimizer(network, MUON)
            for _ in range(3):
                step(network, optimizer)
            found.append(list(network.parameters()))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    path, first, second = tmp_path / "checkpoint.safetensors", Network(), Network()
    optimizer, resumed = make_optimizer(first, MUON), make_optimizer(second, MUON)
    for _ in range(3):
        step(first, optimizer)
    save_checkpoint(path, 3, {"network": first, "optimizer": optimizer})
    load_checkpoint(path, {"network": second, "optimizer": resumed})
    for network, each in ((first, optimizer), (second, resumed)):
        step(network, each)
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_frozen_weights_are_held_and_not_touched() -> None:
    network = Network()
    network.wide.requires_grad_(False)
    before = network.wide.weight.clone()
    optimizer = make_optimizer(network, MUON)
    assert isinstance(optimizer, Muon)
    step(network, optimizer)
    assert torch.equal(network.wide.weight, before)
    assert any(network.wide.weight is each for each in optimizer.param_groups[0]["params"])
