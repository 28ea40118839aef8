"""Training a vocoder: its task for the loop (koe.training.loop), whose step trains two networks.

A step trains the discriminators, then the generator. Mels of real and generated segments are both computed from the
segment, edges reflected alike, as HiFi-GAN's public implementation does: cut from the whole utterance's mel, the real
one's edge frames would contain samples that the generator never saw. This costs a hundredth of a step.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from koe.audio.mel import log_mel
from koe.audio.params import MelParams, SpeakerPitch
from koe.device import mixed_precision
from koe.names import file_name, speaker_key
from koe.training.checkpoint import Stateful
from koe.training.loop import Sound, Task, ValidationReport
from koe.training.optimizers import make_optimizer, take_optimizer_state
from koe.training.schedules import rate
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


class VocoderTask(Task[VocoderNetwork, SegmentBatch]):
    """Trains `generator` and `discriminators` on `train`, validated on `validation`; the result is the generator.

    `pitch`: the speakers' ranges, for measuring F0 in validation. `optimizer_states`: of the run whose weights the
    networks have, by `generator` and `discriminators`, to continue with its moments (`init.optimizer`).
    """

    judged_by = "validation/mel"
    on_bar = ("mel",)
    lower_in_validation = "resample.max_seconds"

    def __init__(
        self, generator: VocoderNetwork, discriminators: Discriminators, params: VocoderParams, train: MelAudio,
        validation: MelAudio, seed: int, device: torch.device, pitch: SpeakerPitch,
        optimizer_states: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__("vocoder", generator, params.training, params.training.steps, seed, device)
        self.generator = self.network
        self.discriminators = discriminators.to(device)
        self.params = params
        self.train = train
        self.validation = validation
        self.pitch = pitch
        self.mel: MelParams = train.dataset.mel_params
        self.sampler = SegmentSampler(train, params.training, seed, generator.takes_f0)
        states = optimizer_states or {}
        self.generator_optimizer = self._optimizer(self.generator, states.get("generator"))
        self.discriminator_optimizer = self._optimizer(self.discriminators, states.get("discriminators"))

    def _optimizer(self, network: nn.Module, state: dict[str, Any] | None) -> torch.optim.Optimizer:
        optimizer = make_optimizer(network, self.training.optimizer)
        if state is not None:
            take_optimizer_state(optimizer, state, "vocoder.init.optimizer", "reset")
        return optimizer

    @property
    def parts(self) -> dict[str, Stateful]:
        return {
            "generator": self.generator, "discriminators": self.discriminators,
            "generator_optimizer": self.generator_optimizer, "discriminators_optimizer": self.discriminator_optimizer,
        }

    def read(self, step: int) -> SegmentBatch:
        return self.sampler.batch_at(step - 1).to(self.device)

    def learning_rate(self, step: int) -> float:
        scale = 1.0 if self.params.init.origin is None else self.params.init.lr_scale
        epoch = self.sampler.batching.epoch_of(step - 1)
        return scale * rate(self.training.schedule, step - 1, epoch, self.total_steps, hidden=1)

    def step(self, step: int, batch: SegmentBatch) -> dict[str, float]:
        """One step of the discriminators, if they take part, and one of the generator. Networks run in
        `precision`, losses and spectra are float32.
        """
        self.generator.train()
        self.discriminators.train()
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(step)
        with mixed_precision(self.precision, self.device):
            generated = self.generator(batch.mel, batch.source)
        generated = generated.float() * batch.present
        values: dict[str, Tensor] = {}
        if self.discriminators_take_part(step):
            values |= self._discriminators_step(step, batch.wave, generated.detach())
        losses = self._generator_losses(step, batch.wave, generated)
        weights = self.params.loss.weights
        total = torch.stack([getattr(weights, part) * loss for part, loss in losses.items()]).sum()
        values |= losses | {"gradient_norm": self._descend(total, self.generator, self.generator_optimizer)}
        numbers = torch.stack([*values.values()]).detach().tolist()  # the only wait for the GPU
        return dict(zip(values, numbers, strict=True))

    def discriminators_take_part(self, step: int) -> bool:
        """Whether the discriminators take part in a step, from 1."""
        weights = self.params.loss.weights
        weighted = weights.adversarial > 0 or weights.feature_matching > 0
        present = next(self.discriminators.parameters(), None) is not None
        return weighted and present and step > self.params.training.spectral_steps

    def _discriminators_step(self, step: int, real: Tensor, generated: Tensor) -> dict[str, Tensor]:
        with mixed_precision(self.precision, self.device):
            of_real, of_generated = self.discriminators.compare(real, generated)
        values = {"discriminator": discriminator_loss(of_real, of_generated)}
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
        if self.discriminators_take_part(step):
            self.discriminators.requires_grad_(False)  # gradients flow through them, but not into them
            with mixed_precision(self.precision, self.device):
                with torch.no_grad():
                    of_real = self.discriminators(wave)
                of_generated = self.discriminators(generated)
            losses["feature_matching"] = feature_matching_loss(of_real, of_generated)
            losses["adversarial"] = adversarial_loss(of_generated)
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

    def validate(self, network: VocoderNetwork) -> ValidationReport:
        """Whole utterances (koe.vocoder.validation), and a few of them to listen to."""
        settings, mel = self.params.training.validation, self.mel
        validation = validate(network, self._validation_items(), mel, settings, self.params.loss.stft_sizes,
                              self.device, self.pitch)
        played = list(zip(self.validation.items, validation.waves, strict=True))[: settings.players]
        sounds = {file_name(name): Sound(wave, mel.sample_rate) for (name, _), wave in played}
        return ValidationReport(validation.values, sounds=sounds)

    def _validation_items(self) -> list[ValidationItem]:
        items = []
        for index, (name, utterance) in enumerate(self.validation.items):
            piece = self.validation.read(index)
            items.append(ValidationItem(name, speaker_key(utterance), piece.mel, piece.f0, piece.wave))
        return items

    def sizes(self, step: int) -> str:
        names = [self.train.items[index][0] for index in self.sampler.batching.batch_at(step - 1)]
        return f"{len(names)} segments of {self.params.training.segment_size} samples: {', '.join(names)}"

    @property
    def lower(self) -> str:
        training = self.params.training
        return (f"vocoder.training.batch_size ({training.batch_size}) or vocoder.training.segment_size "
                f"({training.segment_size})")
