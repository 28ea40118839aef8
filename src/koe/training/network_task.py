"""The task of one network with one optimizer: what is left to write are `batch`, `losses` and `validate`.

    class Copying(NetworkTask[nn.Linear, Tensor]):
        judged_by = "validation/mel"

        def batch(self, items, place):
            return torch.stack([self.mels[item] for item in items])

        def losses(self, batch, place):
            return {"mel": F.l1_loss(self.forward(batch).float(), batch)}

        def validate(self, network):
            return ValidationReport({"validation/mel": float(F.l1_loss(network(self.held_out), self.held_out))})
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from koe.device import mixed_precision
from koe.training.batching import Batching
from koe.training.checkpoint import Stateful
from koe.training.loop import Network, Task
from koe.training.optimizers import make_optimizer
from koe.training.params import TrainingSettings
from koe.training.replicas import add_gradients, replicas
from koe.training.schedules import rate


class Movable(Protocol):
    """A batch: tensors together, such as a frozen dataclass, or a tensor."""

    def to(self, device: torch.device, /) -> Any: ...


Part = TypeVar("Part", bound=Movable)


class Place(NamedTuple):
    """Where a batch stands in a run. What is drawn for it is drawn under the seed and this place."""

    step: int  # optimizer step, from 1
    part: int  # among the batches of the step, from 0


class NetworkTask(Task[Network, list[Part]]):
    """Trains `network` on the batches of `batching`. Arguments are those of `Task`.

    A step has one batch, unless `batching.accumulate` makes it several, or `replicas` deals out each to several threads
    (koe.training.replicas). Losses are then means over the step's batches, weighted by their `size`.
    """

    weights: Mapping[str, float] = {}  # of the losses, by name; 1 if it is not named here
    replicas = 1  # parts of a batch that are computed side by side

    def __init__(
        self, name: str, network: Network, training: TrainingSettings, total_steps: int, batching: Batching, seed: int,
        device: torch.device, average_best: int | None = None, section: str | None = None,
    ) -> None:
        super().__init__(name, network, training, total_steps, seed, device, average_best, section)
        self.batching = batching
        self.optimizer = self.make_optimizer()
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.forward_function: Callable[..., Any] = self.network  # or the network compiled
        self._pool: Executor | None = None  # while steps are done, if there are replicas

    @abstractmethod
    def batch(self, items: list[int], place: Place) -> Part:
        """The items with these indices as a batch, in main memory. Called in a thread (`Task.read`)."""

    @abstractmethod
    def losses(self, batch: Part, place: Place) -> dict[str, Tensor]:
        """The losses of a batch, scalars by name, always the same names in a step."""

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The number that is minimised: the sum of the losses, weighted by `weights`."""
        return torch.stack([self.weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()

    def size(self, batch: Part) -> Tensor:
        """What a batch counts among those of its step, a scalar."""
        return torch.ones((), device=self.device)

    def item_name(self, item: int) -> str:
        """An item in messages."""
        return f"item {item}"

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that the parameters name."""
        return make_optimizer(self.network, self.training.optimizer)

    def forward(self, *inputs: Any) -> Any:
        """The network's output, computed in the precision of the run: in losses use this in place of the network."""
        with mixed_precision(self.precision, self.device):
            return self.forward_function(*inputs)

    def learning_rate(self, step: int) -> float:
        done = step - 1
        return rate(self.training.schedule, done, self.batching.epoch_of(done), self.total_steps, hidden=1)

    @property
    def parts(self) -> dict[str, Stateful]:
        return {"network": self.network, "optimizer": self.optimizer}

    @property
    def objects(self) -> dict[str, Stateful]:
        return {**super().objects, "scaler": self.scaler} if self.scaler.is_enabled() else super().objects

    def sizes(self, step: int) -> str:
        return "; and of ".join(f"{len(items)}: {', '.join(map(self.item_name, items))}"
                                for items in self.batching.batches_at(step - 1))

    @contextmanager
    def resources(self) -> Iterator[None]:
        try:
            with replicas(self.replicas) as self._pool:
                yield
        finally:
            self._pool = None

    def read(self, step: int) -> list[Part]:
        dealt = [items[replica :: self.replicas] for items in self.batching.batches_at(step - 1)
                 for replica in range(min(self.replicas, len(items)))]
        return [self.batch(items, Place(step, part)).to(self.device) for part, items in enumerate(dealt)]

    def step(self, step: int, batch: list[Part]) -> dict[str, float]:
        """One optimizer step on the step's batches, each counted by its share of their sizes. What is a mean over what
        `size` counts is then exactly that of one larger batch, with its gradient.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.network.train()
        sizes = torch.stack([self.size(part) for part in batch])
        jobs = [partial(self._scaled_loss, part, Place(step, index), share)
                for index, (part, share) in enumerate(zip(batch, sizes / sizes.sum(), strict=True))]
        names, losses = zip(*add_gradients(list(self.network.parameters()), jobs, self._pool), strict=True)

        self.scaler.unscale_(self.optimizer)
        limit = self.training.gradient_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        *means, length = torch.stack([*torch.stack(losses).sum(dim=0), norm]).tolist()  # the only wait for the GPU
        values = dict(zip(names[0], means, strict=True))
        if not self._is_left_out(values, length):
            values["gradient_norm"] = length
            self.check(step, values)  # here, so that the weights are still whole
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _scaled_loss(self, batch: Part, place: Place, share: Tensor) -> tuple[Tensor, tuple[list[str], Tensor]]:
        """The sum to differentiate; and the losses' names and their values, without weights."""
        losses = self.losses(batch, place)
        values = share * torch.stack([loss.detach() for loss in losses.values()])
        return self.scaler.scale(self.total(losses) * share), (list(losses), values)

    def _is_left_out(self, losses: Mapping[str, float], norm: float) -> bool:
        """Whether the scaler leaves this step out, for float16, and lowers its scale: it alone was too high."""
        return (self.scaler.is_enabled() and bool(np.isfinite([*losses.values()]).all()) and not np.isfinite(norm)
                and self.scaler.get_scale() >= 1)
