"""Training of the neural aligners: both minimise the losses that their networks name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from koe.align.aligner import Side
from koe.align.monotonic import focus_rate
from koe.align.neural import Network, NetworkParams, build_network
from koe.align.params import AlignTraining
from koe.align.steps import StepBatch, StepReader
from koe.corpus.dataset import Dataset
from koe.errors import KoeError
from koe.names import Pair, speaker_key
from koe.randomness import seed_for
from koe.training.batching import Batching
from koe.training.checkpoint import Stateful
from koe.training.failures import listed
from koe.training.means import RunningMeans
from koe.training.schedules import cosine_per_step
from koe.training.session import Session, steps_with_progress


def initial_network(method: str, params: NetworkParams, n_mels: int, factor: int, seed: int) -> Network:
    """A network of that method before training, its weights drawn under the seed."""
    torch.manual_seed(seed_for(seed, "aligner weights", method))
    return build_network(method, params, n_mels, factor)


@dataclass(frozen=True)
class AlignerTrainer:
    """Trains `network`, in place, on the pairs `train`; `validation` is only watched."""

    network: Network
    params: AlignTraining
    dataset: Dataset
    reader: StepReader
    train: list[Pair]
    validation: list[Pair]
    seed: int
    device: torch.device

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.to(self.device).parameters(), lr=self.params.learning_rate)

    @cached_property
    def means(self) -> RunningMeans:
        return RunningMeans()

    @property
    def objects(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {"network": self.network, "optimizer": self.optimizer, "means": self.means}

    @cached_property
    def batching(self) -> Batching:
        lengths = tuple(self.dataset.frames(pair.target) for pair in self.train)
        return Batching(lengths, self.params.batch_size, seed_for(self.seed, "aligner batches"))

    def run(self, session: Session) -> None:
        """Trains to the end, from where a killed run was; the network is ready to align then."""
        torch.manual_seed(seed_for(self.seed, "aligner training"))  # dropout; a checkpoint brings its own state
        first = session.resume()
        for step, bar in steps_with_progress(session.name, first, self.params.steps):
            self.means.add(self._step(step))
            last = step == self.params.steps
            if step % self.params.log_every == 0 or last:
                means = self.means.take()
                session.log(step, {**_named("train", means), "learning_rate": self._rate(step)})
                bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
            if step % self.params.validate_every == 0 or last:
                session.log(step, _named("validation", self._validate()))
            if step % self.params.checkpoint_every == 0 and not last:
                session.save(step)
        self.network.eval().cpu()

    def _rate(self, step: int) -> float:
        params = self.params
        return cosine_per_step(step - 1, params.learning_rate, params.warmup_steps, params.steps, 0.0)

    def _step(self, step: int) -> dict[str, float]:
        self.network.train()
        losses = self._losses([self.train[index] for index in self.batching.batch_at(step - 1)], step)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        self.optimizer.zero_grad()
        sum(losses.values(), torch.zeros((), device=self.device)).backward()
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.params.gradient_clip))
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not np.isfinite([*values.values(), norm]).all():
            raise KoeError(f"the training of the aligner diverged at step {step}: {listed(values)}, gradient norm "
                           f"{norm:g}; lower learning_rate in its training section under align:")
        self.optimizer.step()
        return values

    def _losses(self, pairs: list[Pair], step: int) -> Mapping[str, Tensor]:
        return self.network.losses(self._batch(pairs), step / self.params.steps)

    def _batch(self, pairs: list[Pair]) -> StepBatch:
        sides = [(self._side(pair.source), self._side(pair.target)) for pair in pairs]
        return self.reader.batch(sides).to(self.device)

    def _side(self, utterance: str) -> Side:
        return Side(self.dataset.mel(utterance), speaker_key(utterance))

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Mean losses, by pair, and the focus rate of the validation pairs."""
        self.network.eval()
        means = RunningMeans()
        for batch in self._validation_batches:
            losses = self.network.losses(batch, 1.0)
            focus = [focus_rate(attention[:target].cpu().numpy())
                     for attention, target in zip(self.network(batch), batch.target_steps.tolist(), strict=True)]
            for value in focus:
                means.add({**{name: float(loss) for name, loss in losses.items()}, "focus": value})
        return means.take()

    @property
    def _validation_batches(self) -> Iterator[StepBatch]:
        size = self.params.batch_size
        for start in range(0, len(self.validation), size):
            yield self._batch(self.validation[start : start + size])


def _named(split: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in values.items()}
