"""Optimizers are what their names say, and take over another's moments only where they fit."""

from typing import Any

import pytest
import torch

from koe.errors import KoeError
from koe.training.optimizers import make_optimizer, take_optimizer_state
from koe.training.params import OptimizerParams


def params_of(name: str, weight_decay: float = 0.0) -> OptimizerParams:
    return OptimizerParams(name=name, betas=(0.9, 0.98), epsilon=1e-9, weight_decay=weight_decay)  # type: ignore


def network_of(width: int = 3, layers: int = 2) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)), torch.nn.LayerNorm(width))


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.zero_grad()
    (network(torch.eye(3)) - torch.arange(9.0).reshape(3, 3)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize(("name", "kind", "settings"), [
    ("adam", torch.optim.Adam, {}), ("adamw", torch.optim.AdamW, {"weight_decay": 0.01}),
    ("radam", torch.optim.RAdam, {"weight_decay": 0.01, "decoupled_weight_decay": True}),
])
def test_steps_equal_those_of_the_plain_optimizer(
    name: str, kind: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    network, reference = network_of(), network_of()
    ours = make_optimizer(network, params_of(name, settings.get("weight_decay", 0.0)))
    matrices = [parameter for parameter in reference.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in reference.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    plain = kind(groups, lr=0.1, betas=(0.9, 0.98), eps=1e-9, **settings)  # type: ignore[call-arg]
    for _ in range(8):
        step(network, ours)
        step(reference, plain)
    for one, other in zip(network.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_biases_and_norms_do_not_decay() -> None:
    network = network_of()
    decayed, rest = make_optimizer(network, params_of("adamw", 0.1)).param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert {id(each) for each in decayed["params"]} == {id(network[0].weight), id(network[1].weight)}
    assert len(rest["params"]) == 4


def test_frozen_parameters_are_held_and_not_touched() -> None:
    network = network_of()
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    optimizer = make_optimizer(network, params_of("adamw", 0.1))
    step(network, optimizer)
    assert torch.equal(network[0].weight, before)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


def test_anothers_moments_are_taken_but_not_its_settings() -> None:
    network = network_of()
    before = make_optimizer(network, params_of("adam"))
    step(network, before)
    after = make_optimizer(network, params_of("adamw", 0.25))
    take_optimizer_state(after, before.state_dict(), "acoustic.init.keep_optimizer", "false")
    assert torch.equal(after.state_dict()["state"][0]["exp_avg"], before.state_dict()["state"][0]["exp_avg"])
    assert after.param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize(("width", "layers", "reason"), [
    (3, 3, "has 8 tensors and this run 6"), (4, 2, r"exp_avg of tensor 0 has shape \(4, 4\).*\(3, 3\)"),
])
def test_moments_of_other_shapes_are_refused(width: int, layers: int, reason: str) -> None:
    other = network_of(width, layers)
    theirs = make_optimizer(other, params_of("adam"))
    for group in theirs.param_groups:
        group["lr"] = 0.1
    other(torch.ones(2, width)).sum().backward()
    theirs.step()
    with pytest.raises(KoeError, match=f"vocoder.init.optimizer: .*{reason}.*set it to reset"):
        take_optimizer_state(make_optimizer(network_of(), params_of("adam")), theirs.state_dict(),
                             "vocoder.init.optimizer", "reset")
