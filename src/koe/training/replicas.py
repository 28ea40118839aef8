"""Data parallelism on a CPU: the parts of a batch side by side, a core each.

Layers of a small network are too small to share out between cores: on two of them a training step of the demo's
acoustic model took as long as on one. Parts of its batch, each on a core of its own, take two thirds of that.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from koe.parallel import thread_pool

Kept = TypeVar("Kept")


@contextmanager
def replicas(count: int) -> Iterator[Executor | None]:
    """Threads that compute `count` parts at once and share the cores out between them; None for a single part.

    A part's operations use as many threads as its share of the cores, so that one core and two cores compute two parts
    with the same bits.
    """
    if count == 1:
        yield None
        return
    with thread_pool(count, max(1, torch.get_num_threads() // count)) as pool:
        yield pool


def add_gradients(
    parameters: Sequence[Tensor], parts: Sequence[Callable[[], tuple[Tensor, Kept]]], pool: Executor | None = None
) -> list[Kept]:
    """Gives `parameters` the gradients of the sum of the parts' losses, and returns what else the parts return.

    Each part returns its loss and something to keep. Gradients are added up in the parts' order, whichever is done
    first, so the same parts give the same bits. A parameter that no loss depends on gets none.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]

    def differentiate(part: Callable[[], tuple[Tensor, Kept]]) -> tuple[tuple[Tensor | None, ...], Kept]:
        loss, kept = part()
        return torch.autograd.grad(loss, trained, allow_unused=True), kept

    for parameter in parameters:
        parameter.grad = None
    everything_kept = []
    for gradients, kept in pool.map(differentiate, parts) if pool else map(differentiate, parts):
        _accumulate(trained, gradients)
        everything_kept.append(kept)
    return everything_kept


def _accumulate(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Adds gradients to those that the parameters have. The first are copied: fused optimizers and clipping expect
    tensors of their own, laid out as the parameters are, and gradients need not be either.
    """
    first: list[tuple[Tensor, Tensor]] = []
    later: list[tuple[Tensor, Tensor]] = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        pairs = later
        if parameter.grad is None:
            parameter.grad, pairs = torch.empty_like(parameter), first
        pairs.append((parameter.grad, gradient))
    for pairs, operation in ((first, torch._foreach_copy_), (later, torch._foreach_add_)):
        if pairs:
            operation([own for own, _ in pairs], [gradient for _, gradient in pairs])
