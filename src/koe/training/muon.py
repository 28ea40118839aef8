"""Muon: steps of orthogonal matrices for the weights of linear layers, AdamW's for everything else.

A matrix's gradient has a few directions that are much longer than the others, and so have Adam's steps. Muon (Jordan et
al. 2024, https://kellerjordan.github.io/posts/muon/) gives every direction the same length: the momentum's singular
values are brought near 1 by an iteration of matrix products. Steps are as long as Adam's usually are (Liu et al. 2025,
"Muon is Scalable for LLM Training"), so the learning rate and the weight decay are those of AdamW.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from koe.device import resolve_precision
from koe.training.replicas import replicas

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, steep at 0 (Jordan et al.)
STEP_RMS = 0.2  # root mean square of AdamW's steps at a learning rate of 1 (Liu et al.)


def hidden_weights(network: nn.Module) -> Iterator[nn.Parameter]:
    """The weights of linear layers, except those with one input or output and those under weight norm.

    Convolutions are left to AdamW: on the demo's acoustic model Muon made them no better, and steps a tenth longer.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear) and isinstance(module.weight, nn.Parameter) and min(module.weight.shape) > 1:
            yield module.weight


class Muon(torch.optim.Optimizer):
    """One optimizer over groups of parameters: those with `orthogonal` by Muon, the others by AdamW.

    The first of `betas` is the momentum of both. Matrices are shared out between the processor's cores, each computed
    on one, so the same gradients give the same bits on any number of them.
    """

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        others = [group for group in groups if not group.get("orthogonal")]
        self._adamw = torch.optim.AdamW(others, **settings, fused=True)
        super().__init__(groups, {**self._adamw.defaults, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is part of the interface and unused."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._orthogonal_step(group)
        self._adamw.param_groups = [group for group in self.param_groups if not group["orthogonal"]]
        self._adamw.state = self.state
        self._adamw.step()

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        rate, momentum = group["lr"], group["betas"][0]
        device = weights[0].device
        gradients = [weight.grad for weight in weights]
        momenta = [self._momentum(weight) for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        directions = torch._foreach_lerp(gradients, momenta, momentum)  # Nesterov's
        precision = resolve_precision("auto", device, "")
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

        def descend(weight: Tensor, direction: Tensor) -> None:
            with torch.no_grad():  # which threads do not inherit
                matrix = orthogonalized(direction.to(dtype))
                length = STEP_RMS * max(weight.shape) ** 0.5
                weight.mul_(1 - rate * group["weight_decay"]).add_(matrix, alpha=-rate * length)

        with replicas(torch.get_num_threads() if device.type == "cpu" else 1) as pool:
            for _ in pool.map(descend, weights, directions) if pool else map(descend, weights, directions):
                pass

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        return state["momentum"]


def orthogonalized(matrix: Tensor) -> Tensor:
    """(N, M) with its singular values brought to between 0.7 and 1.2, except those that are tiny beside the others, by
    Newton-Schulz iterations in the precision of `matrix`.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    wide = wide / wide.norm().clamp(min=1e-7)
    if matrix.dtype == torch.float32 and wide.shape[1] >= 2 * wide.shape[0]:
        wide = _factor(wide @ wide.mT) @ wide
    else:
        linear, cubic, quintic = COEFFICIENTS
        for _ in range(ITERATIONS):
            gram = wide @ wide.mT
            wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.mT


def _factor(gram: Tensor) -> Tensor:
    """What all iterations together multiply a matrix by, from its Gram matrix (N, N).

    Each multiplies it by a polynomial of the Gram matrix, so all products are of squares: two thirds of the time for
    matrices four times as wide as high. Errors grow with every iteration, too much for bfloat16.
    """
    product = polynomial = _polynomial(gram)
    for _ in range(ITERATIONS - 1):
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram)
        product = polynomial @ product
    return product


def _polynomial(gram: Tensor) -> Tensor:
    linear, cubic, quintic = COEFFICIENTS
    polynomial = torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic)
    polynomial.diagonal().add_(linear)
    return polynomial
