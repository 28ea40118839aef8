"""Optimizers by name, and the state of one for another."""

from typing import Any

import torch
from torch import Tensor, nn

from koe.errors import KoeError
from koe.training.muon import Muon, hidden_weights
from koe.training.params import OptimizerParams


def make_optimizer(network: nn.Module, params: OptimizerParams) -> torch.optim.Optimizer:
    """The optimizer over all parameters of `network`, frozen ones included: without a gradient they are not touched.

    The learning rate is set before each step. RAdam has no fused kernel and goes through lists of tensors instead.
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
    """The groups, with those that Muon takes in one of their own, the first."""
    taken = list(hidden_weights(network))
    ids = {id(weight) for weight in taken}
    decayed, rest = groups
    others = [parameter for parameter in decayed["params"] if id(parameter) not in ids]
    return [{**decayed, "params": taken, "orthogonal": True}, {**decayed, "params": others}, rest]


def take_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any], parameter: str, new: str) -> None:
    """Gives `optimizer` another's moments and step counts (a `state_dict`); its own settings stay.

    Raises KoeError naming `parameter`, and its value `new` for a new optimizer, if the other's tensors differ in number
    or shape.
    """
    own = optimizer.state_dict()
    shapes = [tuple(tensor.shape) for group in optimizer.param_groups for tensor in group["params"]]
    theirs = [len(group["params"]) for group in state["param_groups"]]
    if theirs != [len(group["params"]) for group in own["param_groups"]]:
        raise KoeError(f"{parameter}: that optimizer is over {sum(theirs)} tensors, this training over {len(shapes)}, "
                       f"or they are grouped otherwise; set it to {new}")
    for index, moments in state["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.dim() and tuple(value.shape) != shapes[index]:
                raise KoeError(f"{parameter}: {name} of tensor {index} has shape {tuple(value.shape)} in that "
                               f"optimizer, and {shapes[index]} in this training; set it to {new}")
    optimizer.load_state_dict({"state": state["state"], "param_groups": own["param_groups"]})
