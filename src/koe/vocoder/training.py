"""Training a vocoder: resumable, deterministic on the CPU, with losses, schedules and discriminators by parameters.

Called by the stages `finetune_vocoder` and `train_vocoder`. A step's segments and learning rate are functions of the
seed and the step, and everything else that decides a step is in the checkpoint, so a run that was killed and continued
ends with the same weights and curves as one that never was. Mels of real and generated segments are both computed from
the segment, edges reflected alike, as HiFi-GAN's public implementation does: cut from the whole utterance's mel, the
real one's edge frames would contain samples that the generator never saw. It costs a hundredth of a step.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koe.audio.mel import log_mel
from koe.audio.params import MelParams, SpeakerPitch
from koe.device import mixed_precision, resolve_precision
from koe.errors import KoeError
from koe.names import speaker_key
from koe.randomness import seed_for
from koe.training.averaging import averaged_copy, update_average
from koe.training.checkpoint import Stateful
from koe.training.failures import is_out_of_memory, listed
from koe.training.means import RunningMeans
from koe.training.optimizers import make_optimizer, take_optimizer_state
from koe.training.schedules import rate
from koe.training.session import Session, steps_with_progress
from koe.vocoder.data import MelAudio, SegmentBatch, SegmentSampler
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    gradient_penalty,
    mel_loss,
    stft_loss,
)
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import VocoderParams
from koe.vocoder.validation import ValidationItem, validate

JUDGED_BY = "validation/mel"  # what makes a validation better than another


@dataclass
class VocoderTrainer:
    """One training run over `train`, watched on `validation`; `model` is its result.

    `pitch`: the speakers' ranges, for measuring F0 in validation. `optimizer_states`: of the run whose weights the
    networks have, to go on with its moments (`init.optimizer`). `seconds`: how long the steps so far took (`step`), and
    how much of that they waited for data (`data`).
    """

    generator: VocoderNetwork
    discriminators: Discriminators
    params: VocoderParams
    train: MelAudio
    validation: MelAudio
    seed: int
    device: torch.device
    pitch: SpeakerPitch
    optimizer_states: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"data": 0.0, "step": 0.0}, init=False)

    def __post_init__(self) -> None:
        training = self.params.training
        self.mel: MelParams = self.train.dataset.mel_params
        self.precision = resolve_precision(training.precision, self.device, "vocoder.training.precision")
        self.sampler = SegmentSampler(self.train, training, self.seed, self.generator.takes_f0)
        self.generator.to(self.device)
        self.discriminators.to(self.device)
        self.generator_optimizer = self._optimizer("generator", self.generator)
        self.discriminator_optimizer = self._optimizer("discriminators", self.discriminators)
        self.means = RunningMeans()
        self.average = None if training.ema is None else averaged_copy(self.generator)

    def _optimizer(self, part: str, network: nn.Module) -> torch.optim.Optimizer:
        optimizer = make_optimizer(network, self.params.training.optimizer)
        if part in self.optimizer_states:
            take_optimizer_state(optimizer, self.optimizer_states[part], "vocoder.init.optimizer", "reset")
        return optimizer

    @property
    def model(self) -> VocoderNetwork:
        """The generator that is validated, and the result: the moving average of its weights, if there is one."""
        return self.generator if self.average is None else self.average

    @property
    def kept(self) -> dict[str, Stateful]:
        """What other runs can start from."""
        kept: dict[str, Stateful] = {
            "generator": self.generator, "discriminators": self.discriminators,
            "generator_optimizer": self.generator_optimizer, "discriminators_optimizer": self.discriminator_optimizer,
        }
        return kept if self.average is None else {**kept, "ema": self.average}

    @property
    def objects(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        return {**self.kept, "means": self.means}

    def run(self, session: Session) -> dict[str, float]:
        """Trains to the end and returns the last validation's values."""
        training = self.params.training
        torch.manual_seed(seed_for(self.seed, "vocoder training"))  # a checkpoint brings its own state
        first, latest = session.resume(), {}
        counted = steps_with_progress(session.name, first, training.steps)
        for (step, bar), batch in zip(counted, self._batches(first), strict=True):
            begun = time.perf_counter()
            self.means.add(self.step(step, batch))
            self.seconds["step"] += time.perf_counter() - begun
            last = step == training.steps
            if step % training.log_every == 0 or last:
                means = {f"train/{name}": value for name, value in self.means.take().items()}
                session.log(step, {**means, "learning_rate": self.rate(step - 1)})
                bar.set_postfix(mel=f"{means['train/mel']:.3f}")
            if step % training.validate_every == 0 or last:
                latest = self._watch(session, step)
            if training.keep_every and step % training.keep_every == 0:
                session.keep(f"{step:08d}", step, self.kept)
            if step % training.checkpoint_every == 0 and not last:
                session.save(step)
        return latest

    def _batches(self, first: int) -> Iterator[SegmentBatch]:
        """Batches of steps first + 1 up to the last, one step's read ahead while the networks work."""
        total = self.params.training.steps
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.sampler.batch_at, first)
            for step in range(first, total):
                begun = time.perf_counter()
                with self._explaining(lambda: self._sizes(step + 1)):  # noqa: B023, called before the next step
                    batch = ahead.result()
                    if step + 1 < total:
                        ahead = pool.submit(self.sampler.batch_at, step + 1)
                    batch = batch.to(self.device)
                waited = time.perf_counter() - begun
                self.seconds["data"] += waited
                self.seconds["step"] += waited
                yield batch

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step `step`, from 0."""
        training, epoch = self.params.training, self.sampler.batching.epoch_of(step)
        scale = 1.0 if self.params.init.origin is None else self.params.init.lr_scale
        return scale * rate(training.schedule, step, epoch, training.steps, hidden=1)

    def step(self, step: int, batch: SegmentBatch) -> dict[str, float]:
        """One step of the discriminators, unless they are at rest, and one of the generator.

        `step` counts from 1. Returns the unweighted losses and the gradients' norms. Networks run in `precision`,
        losses and spectra are float32. Raises KoeError if a loss or gradient is no number, or memory does not suffice.
        """
        self.generator.train()
        self.discriminators.train()
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = self.rate(step - 1)
        with self._explaining(lambda: self._sizes(step)):
            with mixed_precision(self.precision, self.device):
                generated = self.generator(batch.mel, batch.source)
            generated = generated.float() * batch.present
            values = self._discriminators_step(step, batch.wave, generated.detach()) if self.judged(step) else {}
            losses = self._generator_losses(step, batch.wave, generated)
            weights = self.params.loss.weights
            total = torch.stack([getattr(weights, part) * loss for part, loss in losses.items()]).sum()
            values |= losses | {"gradient_norm": self._descend(total, self.generator, self.generator_optimizer)}
            numbers = torch.stack([*values.values()]).detach().tolist()  # the only wait for the GPU
        found = dict(zip(values, numbers, strict=True))
        self._check(step, found)
        if self.average is not None:
            update_average(self.average, self.generator, self.params.training.ema or 0.0, step - 1)
        return found

    def judged(self, step: int) -> bool:
        """Whether the discriminators take part in a step, from 1."""
        weights = self.params.loss.weights
        wanted = weights.adversarial > 0 or weights.feature_matching > 0
        present = next(self.discriminators.parameters(), None) is not None
        return wanted and present and step > self.params.training.spectral_steps

    def _discriminators_step(self, step: int, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
        with mixed_precision(self.precision, self.device):
            judgements = self.discriminators.compare(real, generated)
        values = {"discriminator": discriminator_loss(*judgements)}
        total = values["discriminator"]
        r1 = self.params.training.r1
        if r1.weight and (step - self.params.training.spectral_steps - 1) % r1.every == 0:
            wave = real.detach().requires_grad_()
            values["r1"] = gradient_penalty(wave, self.discriminators(wave))
            total = total + r1.every * r1.weight / 2 * values["r1"]  # as much as a weaker one at every step
        norm = self._descend(total, self.discriminators, self.discriminator_optimizer)
        return {**values, "discriminator_gradient_norm": norm}

    def _generator_losses(self, step: int, wave: Tensor, generated: Tensor) -> dict[str, Tensor]:
        losses = {"mel": mel_loss(log_mel(wave, self.mel), log_mel(generated, self.mel))}
        if self.params.loss.weights.stft:
            losses["stft"] = stft_loss(wave, generated, self.params.loss.stft_sizes)
        if self.judged(step):
            self.discriminators.requires_grad_(False)  # gradients flow through them to the generator, not to them
            with mixed_precision(self.precision, self.device):
                with torch.no_grad():
                    real = self.discriminators(wave)
                judged = self.discriminators(generated)
            losses["feature_matching"] = feature_matching_loss(real, judged)
            losses["adversarial"] = adversarial_loss(judged)
            self.discriminators.requires_grad_(True)
        return losses

    def _descend(self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        """One step down; returns the norm of all gradients before they are clipped."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        limit = self.params.training.gradient_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        optimizer.step()
        return norm

    def _check(self, step: int, values: dict[str, float]) -> None:
        """Raises KoeError if a value is no number. The weights are spoilt then; the last checkpoint is not."""
        if not np.isfinite([*values.values()]).all():
            clip = "gradient_clip" if self.params.training.gradient_clip else "gradient_clip (now null: set it)"
            raise KoeError(f"vocoder training diverged: losses or gradients are not finite {self._sizes(step)}; "
                           f"{listed(values)}. Lower vocoder.training.schedule.learning_rate or "
                           f"vocoder.training.{clip}")

    def _sizes(self, step: int) -> str:
        """What a step (from 1) trains on, for messages."""
        names = [self.train.items[index][0] for index in self.sampler.batching.batch_at(step - 1)]
        return (f"at step {step}, batch of {len(names)} segments of {self.params.training.segment_size} samples: "
                + ", ".join(names))

    @contextmanager
    def _explaining(self, sizes: Callable[[], str], lower: str = "") -> Iterator[None]:
        """Makes a KoeError of an error that says that memory does not suffice; without `lower`, batches are to be."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            training = self.params.training
            batches = (f"vocoder.training.batch_size ({training.batch_size}) or vocoder.training.segment_size "
                       f"({training.segment_size})")
            raise KoeError(f"vocoder training is out of memory {sizes()}. Lower {lower or batches} "
                           f"({str(error).partition(chr(10))[0]})") from error

    def _watch(self, session: Session, step: int) -> dict[str, float]:
        """Validates: curves, players, and keeps what is best."""
        with self._explaining(lambda: f"at step {step}, in validation", "resample.max_seconds"):
            validation = validate(self.model, self._validation_items(), self.mel, self.params.training.validation,
                                  self.params.loss.stft_sizes, self.device, self.pitch)
        session.log(step, validation.values)
        players = self.params.training.validation.players
        for (name, _), wave in list(zip(self.validation.items, validation.waves, strict=True))[:players]:
            session.play(step, name.replace("/", "_"), wave, self.mel.sample_rate)
        judged = session.series(JUDGED_BY)
        if self.params.training.keep_best and judged.index(min(judged)) == len(judged) - 1:
            session.keep("best", step, self.kept)
        return validation.values

    def _validation_items(self) -> list[ValidationItem]:
        return [ValidationItem(name, speaker_key(utterance), *self.validation.read(index))
                for index, (name, utterance) in enumerate(self.validation.items)]
