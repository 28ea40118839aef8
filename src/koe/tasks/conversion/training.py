"""Training of the acoustic model, as a task of the training loop (koe.training.loop)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from koe.device import compiled
from koe.errors import KoeError
from koe.names import Pair, file_name
from koe.nn.layers import drawing_from
from koe.randomness import numpy_generator, torch_generator
from koe.steps import batch_steps
from koe.tasks.conversion.data import Batch, PairReader
from koe.tasks.conversion.losses import PARTS, acoustic_losses, weighted_sum
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.teacher_forcing import teacher_forced_share
from koe.tasks.conversion.validation import JUDGED_BY, convert_pairs, validate
from koe.training.batching import Batching
from koe.training.loop import ValidationReport
from koe.training.network_task import NetworkTask, Place
from koe.training.optimizers import take_optimizer_state
from koe.training.pictures import mel_picture
from koe.training.schedules import rate


class AcousticTask(NetworkTask[NARS2S, Batch]):
    """Trains `network` on the pairs `train`, and validates it on the pairs `validation`.

    `optimizer_state`: of the run that `network`'s weights come from, to continue with its moments
    (`init.keep_optimizer`); `steps_before`: step at which the schedule continues (`init.keep_schedule`).
    """

    judged_by = JUDGED_BY
    gap_parts = PARTS
    on_bar = ("postnet", "pitch")
    lower_in_validation = "resample.max_seconds"

    def __init__(
        self, network: NARS2S, params: AcousticParams, reader: PairReader, train: list[Pair], validation: list[Pair],
        seed: int, device: torch.device, optimizer_state: dict[str, Any] | None = None, steps_before: int = 0,
    ) -> None:
        training = params.training
        frames = tuple(reader.dataset.frames(pair.target) for pair in train)
        batching = Batching(frames, training.batch_size, seed, training.batch_frames,
                            batch_steps(1) * params.reduction.factor, training.accumulate)
        total_steps = training.steps or (training.epochs or 0) * batching.steps_per_epoch
        super().__init__("acoustic", network, training, total_steps, batching, seed, device, training.average_best)
        self.params = params
        self.reader = reader
        self.train = train
        self.validation = validation
        self.steps_before = steps_before
        self.early_stopping = training.early_stopping
        # On a GPU, and when compiled, the network processes a batch whole.
        self.replicas = 1 if training.compile or device.type != "cpu" else training.replicas
        if optimizer_state is not None:
            take_optimizer_state(self.optimizer, optimizer_state, "acoustic.init.keep_optimizer", "false")
        if training.compile:
            self.forward_function = compiled(self.network, device, "acoustic.training.compile")
        warmup = training.schedule.warmup_steps
        if warmup >= steps_before + total_steps:
            raise KoeError(f"acoustic.training.schedule.warmup_steps: {warmup}, and acoustic.training.epochs "
                           f"({training.epochs}) are only {total_steps} steps; lower it, or train longer")

    @property
    def notes(self) -> dict[str, float]:
        return {"padding_ratio": self.batching.padding_ratio}

    def batch(self, items: list[int], place: Place) -> Batch:
        """With `training.shift` utterances begin at a random frame of their first step, so that the model is trained
        on the same sounds in every position within a step.
        """
        pairs, starts = [self.train[item] for item in items], None
        if self.params.training.shift:
            generator = numpy_generator(self.seed, "shift", place.step - 1, place.part)
            starts = generator.integers(0, self.params.reduction.factor, (len(pairs), 2))
        return self.reader.batch(pairs, starts)

    def size(self, batch: Batch) -> Tensor:
        """Target frames, by which accumulated batches are weighted: losses of the mel, pitch and energy are then those
        of one larger batch; that of durations, a mean over source steps, nearly so.
        """
        return batch.target_frames.sum()

    def losses(self, batch: Batch, place: Place) -> dict[str, Tensor]:
        """The parts' losses, with some or all of the utterances teacher-forced."""
        share = teacher_forced_share(self.params.teacher_forcing, self.steps_before + place.step - 1)
        drawn = numpy_generator(self.seed, "teacher forcing", *place).random(len(batch.durations)) < share
        prosody = batch.prosody if drawn.any() else None
        forced = None if drawn.all() else torch.from_numpy(drawn).to(self.device)
        generator = torch_generator(self.seed, "dropout", *place)
        with drawing_from(generator):
            output = self.forward(batch.source, batch.durations, prosody, forced)
        return acoustic_losses(output, batch, self.params.loss)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        return weighted_sum(losses, self.params.loss.weights)

    def learning_rate(self, step: int) -> float:
        scale = 1.0 if self.params.init.origin is None else self.params.init.lr_scale
        place, total = self.steps_before + step - 1, self.steps_before + self.total_steps
        return scale * rate(self.params.training.schedule, place, self.batching.epoch_of(step - 1), total,
                            self.params.encoder.hidden)

    def check(self, step: int, values: Mapping[str, float]) -> None:
        """Raises KoeError if a value is not finite, or the gradient above its limit."""
        super().check(step, values)
        limit = self.params.training.gradient_limit
        if limit is not None and values.get("gradient_norm", 0.0) > limit:
            raise KoeError(f"acoustic training diverged: the gradient is above acoustic.training.gradient_limit "
                           f"({limit:g}) {self.described(step, values)}. Lower "
                           "acoustic.training.schedule.learning_rate, or raise the limit")

    def validate(self, network: NARS2S) -> ValidationReport:
        """Values of the validation pairs (koe.tasks.conversion.validation), and pictures of a few converted mels."""
        values = validate(network, self.reader, self.validation, self.params, self.device)
        shown = self.validation[: self.params.training.pictures]
        mels = convert_pairs(network, self.reader, shown, self.params, self.device)
        pictures = {file_name(pair.name): mel_picture(mel, self.reader.dataset.mel(pair.target))
                    for mel, pair in zip(mels, shown, strict=True)}
        return ValidationReport(values, pictures)

    def sizes(self, step: int) -> str:
        frames, batches = self.reader.dataset.frames, []
        for items in self.batching.batches_at(step - 1):
            pairs = [self.train[item] for item in items]
            source, target = (max(frames(pair[side]) for pair in pairs) for side in (1, 2))
            padded = [-(-longest // self.batching.multiple) * self.batching.multiple for longest in (source, target)]
            batches.append(f"{len(pairs)} pairs, source up to {source} frames (padded: {padded[0]}), target up to "
                           f"{target} (padded: {padded[1]}): {', '.join(pair.name for pair in pairs)}")
        return "; and of ".join(batches)

    @property
    def lower(self) -> str:
        name = "batch_frames" if self.params.training.batch_size is None else "batch_size"
        return (f"acoustic.training.{name} ({getattr(self.params.training, name)}), raising "
                "acoustic.training.accumulate instead; if a single pair is too long, resample.max_seconds")
