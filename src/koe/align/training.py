"""Training of the neural aligners: both minimise the losses that their networks compute."""

from typing import NamedTuple

import torch
from torch import Tensor

from koe.align.aligner import Side
from koe.align.monotonic import focus_rate
from koe.align.neural import Network, NetworkParams, build_network
from koe.align.params import AlignTraining
from koe.align.steps import StepBatch, StepReader
from koe.corpus.dataset import Dataset
from koe.names import Pair, speaker_key
from koe.randomness import seed_for
from koe.training.batching import Batching
from koe.training.loop import ValidationReport
from koe.training.means import RunningMeans
from koe.training.network_task import NetworkTask, Place
from koe.training.params import OptimizerParams, ScheduleParams, TrainingParams


def initial_network(method: str, params: NetworkParams, n_mels: int, factor: int, seed: int) -> Network:
    """A network of that method before training, its weights drawn under the seed."""
    torch.manual_seed(seed_for(seed, "aligner weights", method))
    return build_network(method, params, n_mels, factor)


class AlignedPairs(NamedTuple):
    """The data that an aligner is trained and validated on."""

    dataset: Dataset
    reader: StepReader
    train: list[Pair]
    validation: list[Pair]


class AlignerTask(NetworkTask[Network, StepBatch]):
    """Trains `network`, in place. `method` names its section of the parameters, `align.<method>`."""

    lower_in_validation = "resample.max_seconds"

    def __init__(
        self, method: str, network: Network, params: AlignTraining, data: AlignedPairs, seed: int, device: torch.device
    ) -> None:
        lengths = tuple(data.dataset.frames(pair.target) for pair in data.train)
        batching = Batching(lengths, params.batch_size, seed_for(seed, "aligner batches"))
        super().__init__("aligner", network, _training_params(params), params.steps, batching, seed, device,
                         section=f"align.{method}.training")
        self.data = data
        self.batch_size = params.batch_size

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=0.0)

    def batch(self, items: list[int], place: Place) -> StepBatch:
        return self._batch_of([self.data.train[item] for item in items])

    def losses(self, batch: StepBatch, place: Place) -> dict[str, Tensor]:
        return self.network.losses(batch, place.step / self.total_steps)

    def step(self, step: int, batch: list[StepBatch]) -> dict[str, float]:
        values = super().step(step, batch)
        del values["gradient_norm"]  # which is not among the curves of aligners
        return values

    def validate(self, network: Network) -> ValidationReport:
        """Mean losses, by pair, and the focus rate of the validation pairs."""
        means = RunningMeans()
        for start in range(0, len(self.data.validation), self.batch_size):
            batch = self._batch_of(self.data.validation[start : start + self.batch_size]).to(self.device)
            losses = {name: float(loss) for name, loss in network.losses(batch, 1.0).items()}
            for attention, target_steps in zip(network(batch), batch.target_steps.tolist(), strict=True):
                means.add({**losses, "focus": focus_rate(attention[:target_steps].cpu().numpy())})
        return ValidationReport({f"validation/{name}": value for name, value in means.take().items()})

    def item_name(self, item: int) -> str:
        return self.data.train[item].name

    @property
    def lower(self) -> str:
        return f"{self.section}.batch_size ({self.batch_size}); if a single pair is too long, resample.max_seconds"

    @property
    def lower_if_diverged(self) -> str:
        return f"{self.section}.learning_rate or {self.section}.gradient_clip"

    def _batch_of(self, pairs: list[Pair]) -> StepBatch:
        return self.data.reader.batch([(self._side(pair.source), self._side(pair.target)) for pair in pairs])

    def _side(self, utterance: str) -> Side:
        return Side(self.data.dataset.mel(utterance), speaker_key(utterance))


def _training_params(params: AlignTraining) -> TrainingParams:
    """The aligners' few parameters and what is the same for all of them: half a cosine down to 0, float32."""
    return TrainingParams(
        steps=params.steps, batch_size=params.batch_size,
        optimizer=OptimizerParams(name="adam", betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0),
        schedule=ScheduleParams(name="cosine_per_step", learning_rate=params.learning_rate,
                                warmup_steps=params.warmup_steps, final_learning_rate=0.0, decay=1.0, anneal_steps=[],
                                anneal_rate=1.0),
        gradient_clip=params.gradient_clip, ema=None, precision="float32", log_every=params.log_every,
        validate_every=params.validate_every, checkpoint_every=params.checkpoint_every, keep_every=None,
        keep_best=False,
    )
