"""The task of one network with one optimizer: a subclass adds `batch`, `losses` and `validate`.

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
    """A batch: a tensor, or several in one object, such as a frozen dataclass."""

    def to(self, device: torch.device, /) -> Any: ...


Part = TypeVar("Part", bound=Movable)


class Place(NamedTuple):
    """Position of a batch in a run. Random numbers for a batch depend on the seed and this position alone."""

    step: int  # optimizer step, from 1
    part: int  # among the batches of the step, from 0


class NetworkTask(Task[Network, list[Part]]):
    """Trains `network` on the batches of `batching`. Arguments are those of `Task`.

    A step has one batch, unless `batching.accumulate` gives it several, or `replicas` deals each out to several threads
    (koe.training.replicas). Losses are then means over the step's batches, weighted by their `size`.
    """

    weights: Mapping[str, float] = {}  # of the losses, by name; 1 for those not named
    replicas = 1  # parts of a batch that are computed at the same time

    def __init__(
        self, name: str, network: Network, training: TrainingSettings, total_steps: int, batching: Batching, seed: int,
        device: torch.device, average_best: int | None = None, section: str | None = None,
    ) -> None:
        super().__init__(name, network, training, total_steps, seed, device, average_best, section)
        self.batching = batching
        self.optimizer = self.make_optimizer()
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.forward_function: Callable[..., Any] = self.network  # or its compiled form
        self._pool: Executor | None = None  # the replicas' threads, while steps are done

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
        """Weight of a batch among those of its step, a scalar."""
        return torch.ones((), device=self.device)

    def item_name(self, item: int) -> str:
        """Name of an item in messages."""
        return f"item {item}"

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that the parameters name."""
        return make_optimizer(self.network, self.training.optimizer)

    def forward(self, *inputs: Any) -> Any:
        """The network's output, computed in the precision of the run; `losses` use this instead of the network."""
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
        parts = [items[replica :: self.replicas] for items in self.batching.batches_at(step - 1)
                 for replica in range(min(self.replicas, len(items)))]
        return [self.batch(items, Place(step, part)).to(self.device) for part, items in enumerate(parts)]

    def step(self, step: int, batch: list[Part]) -> dict[str, float]:
        """One optimizer step on the step's batches, each weighted by its share of their sizes. A loss that is a mean
        over what `size` counts, and its gradient, are then exactly those of one larger batch.
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
        totals = torch.stack(losses).sum(dim=0)
        *means, gradient_norm = torch.stack([*totals, norm]).tolist()  # the only wait for the GPU
        values = dict(zip(names[0], means, strict=True))
        if not self._skipped_by_scaler(values, gradient_norm):
            values["gradient_norm"] = gradient_norm
            self.check(step, values)  # before the optimizer's step, while the weights are still finite
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _scaled_loss(self, batch: Part, place: Place, share: Tensor) -> tuple[Tensor, tuple[list[str], Tensor]]:
        """The sum to differentiate, and the names and unweighted values of the losses."""
        losses = self.losses(batch, place)
        values = share * torch.stack([loss.detach() for loss in losses.values()])
        return self.scaler.scale(self.total(losses) * share), (list(losses), values)

    def _skipped_by_scaler(self, losses: Mapping[str, float], gradient_norm: float) -> bool:
        """Whether the scaler of float16 skips this step and lowers its scale, which alone made gradients overflow."""
        return (self.scaler.is_enabled() and bool(np.isfinite([*losses.values()]).all())
                and not np.isfinite(gradient_norm) and self.scaler.get_scale() >= 1)
