"""Averages of weights: over the steps of a run, and over its best validations."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def averaged_copy(network: Network) -> Network:
    """A copy to hold a moving average: not trained, and without dropout."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, updates: int) -> None:
    """Moves `average` towards the weights of `network`: average = decay * average + (1 - decay) * weights.

    After few `updates` the decay is lower, (1 + updates) / (10 + updates), so that the first weights are soon
    forgotten (TensorFlow's ExponentialMovingAverage). Buffers, such as a batch norm's statistics, are copied.
    """
    weight = 1 - min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
    for held, current in zip(average.buffers(), network.buffers(), strict=True):
        held.copy_(current)


class BestWeights:
    """The weights at the `count` lowest values seen so far, kept in main memory; part of a checkpoint."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._values: list[float] = []  # rising
        self._weights: list[dict[str, Tensor]] = []

    def offer(self, value: float, network: nn.Module) -> None:
        """Keeps the weights if `value` is among the lowest; of equal values the first one ranks higher."""
        rank = sum(other <= value for other in self._values)
        if rank < self.count:
            self._values.insert(rank, value)
            self._weights.insert(rank, {
                name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()
            })
            del self._values[self.count :], self._weights[self.count :]

    def mean(self) -> dict[str, Tensor]:
        """Mean of the kept weights, a `state_dict`; tensors that are not floating-point are those of the best."""
        best = self._weights[0]
        return {
            name: torch.stack([weights[name] for weights in self._weights]).mean(dim=0)
            if tensor.is_floating_point() else tensor
            for name, tensor in best.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"values": self._values, "weights": dict(enumerate(self._weights))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._values = list(state["values"])
        self._weights = [state["weights"][index] for index in range(len(self._values))]
