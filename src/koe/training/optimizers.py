"""Optimizers by name, and the transfer of state from one to another."""

from typing import Any

import torch
from torch import Tensor, nn

from koe.errors import KoeError
from koe.training.muon import Muon, hidden_weights
from koe.training.params import OptimizerParams


def make_optimizer(network: nn.Module, params: OptimizerParams) -> torch.optim.Optimizer:
    """The optimizer over all parameters of `network`, frozen ones included: without a gradient they stay as they are.

    The learning rate is set before each step. RAdam has no fused kernel; it uses those for lists of tensors.
    """
    groups = parameter_groups(network, params.weight_decay)
    common: dict[str, Any] = {"lr": 0.0, "betas": params.betas, "eps": params.epsilon}
    if params.name == "muon":
        return Muon(_with_orthogonal(groups, network), **common)
    if params.name == "radam":
        return torch.optim.RAdam(groups, **common, decoupled_weight_decay=True, foreach=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[params.name]
    return kind(groups, **common, fused=True)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases and norms do not."""
    decayed = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _with_orthogonal(groups: list[dict[str, Any]], network: nn.Module) -> list[dict[str, Any]]:
    """The groups, with the weights that Muon trains in a group of their own, the first."""
    orthogonal = list(hidden_weights(network))
    ids = {id(weight) for weight in orthogonal}
    decayed, rest = groups
    others = [parameter for parameter in decayed["params"] if id(parameter) not in ids]
    return [{**decayed, "params": orthogonal, "orthogonal": True}, {**decayed, "params": others}, rest]


def take_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any], parameter: str, new: str) -> None:
    """Gives `optimizer` the moments and step counts of another (a `state_dict`); its own settings stay.

    Raises KoeError if the tensors of the two differ in number or shape; the message names `parameter` and its value
    `new`, which means a new optimizer.
    """
    own = optimizer.state_dict()
    shapes = [tuple(tensor.shape) for group in optimizer.param_groups for tensor in group["params"]]
    theirs = [len(group["params"]) for group in state["param_groups"]]
    if theirs != [len(group["params"]) for group in own["param_groups"]]:
        raise KoeError(f"{parameter}: that optimizer has {sum(theirs)} tensors and this run {len(shapes)}, or their "
                       f"groups differ; set it to {new}")
    for index, moments in state["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.dim() and tuple(value.shape) != shapes[index]:
                raise KoeError(f"{parameter}: {name} of tensor {index} has shape {tuple(value.shape)} in that "
                               f"optimizer, and {shapes[index]} in this run; set it to {new}")
    optimizer.load_state_dict({"state": state["state"], "param_groups": own["param_groups"]})
