"""Layers that networks over padded sequences share.

Sequences are (B, T, C), with a mask, bool (B, T), True where a step is real.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.nn.params import Norm

# Of the thread, not an argument: replicas share one network, and every forward down to the dropouts would pass it on.
_drawing = threading.local()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """On CPUs, dropout in this thread draws from `generator`, so that threads do not take turns with a shared one."""
    _drawing.generator = generator
    try:
        yield
    finally:
        del _drawing.generator


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) → bool (B, size), True before each length."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, T) or (B, T, C) where mask (B, T) is True."""
    if values.dim() == 3:
        values = values.mean(dim=-1)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def average_steps(x: Tensor, mask: Tensor, factor: int) -> Tensor:
    """(B, T, C), (B, T) → (B, ceil(T / factor), C): means of every `factor` steps, of the real ones only."""
    missing = -x.shape[1] % factor
    real = F.pad(mask[..., None].to(x.dtype), (0, 0, 0, missing)).unflatten(1, (-1, factor))
    steps = F.pad(x, (0, 0, 0, missing)).unflatten(1, (-1, factor))
    return (steps * real).sum(dim=2) / real.sum(dim=2).clamp(min=1)


class Dropout(nn.Module):
    """Dropout that draws 8 random bits per element on CPUs, where PyTorch's draws take several times as long.

    On CPUs the probability is rounded to multiples of 1 / 256, and the scale is that of the rounded one.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(…) → (…)."""
        if not (self.training and self.probability):
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.probability)
        dropped = min(round(self.probability * 256), 255)  # of 256 draws
        if not dropped:
            return x
        generator = getattr(_drawing, "generator", None)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        draws = words.view(torch.int8)[: x.numel()].view(x.shape)
        last = dropped - 129  # the highest draw that is dropped; clamping, unlike comparing, gives bytes of 0 and 1
        kept = draws.clamp_(last, last + 1).sub_(last)
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


class MaskedBatchNorm(nn.Module):
    """Batch norm (Ioffe & Szegedy, 2015) with statistics of real steps only, so padding does not count.

    The running statistics, in the state_dict as PyTorch's are, normalise a single real step, which has no variance, and
    every step if momentum is 0, which freezes them. Padded steps of the result are 0.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, C), (B, T) → (B, T, C)."""
        rows = mask.flatten().nonzero().squeeze(1)
        single = len(rows) == 1  # which PyTorch refuses to train on
        flat = x.flatten(0, 1)
        normalized = F.batch_norm(
            flat.index_select(0, rows), self.running_mean, self.running_var, self.weight, self.bias,
            self.training and self.momentum > 0 and not single, self.momentum, self.epsilon)
        return torch.zeros_like(flat).index_copy(0, rows, normalized.to(x.dtype)).view_as(x)


def norm_layer(kind: Norm, width: int) -> nn.LayerNorm | MaskedBatchNorm:
    """The norm that a `norm` parameter names."""
    return nn.LayerNorm(width) if kind == "layer" else MaskedBatchNorm(width)


def normalize(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """(B, T, C), (B, T) → (B, T, C)."""
    return norm(x, mask) if isinstance(norm, MaskedBatchNorm) else norm(x)
