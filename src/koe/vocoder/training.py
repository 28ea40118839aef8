"""Training HiFi-GAN: resumable, deterministic on the CPU, with the published losses and schedule.

Called by the `finetune_vocoder` stage. The published schedule lowers the learning rate per epoch, not per step:
per step it would be spent within minutes (lesson 16). Mels of real and generated segments are both computed from
the segment, edges reflected alike, as the public implementation does: cut from the whole utterance's mel, the
real one's edge frames would contain samples that the generator never saw. It costs a hundredth of a step.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koe.audio.mel import log_mel
from koe.errors import KoeError
from koe.params import MelParams, VocoderParams
from koe.randomness import seed_for
from koe.store import compare_contracts
from koe.training.schedules import exponential_per_epoch
from koe.training.session import Session, steps_with_progress
from koe.training.transfer import differing_tensors
from koe.vocoder.data import MelAudio, SegmentBatch, SegmentSampler
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.hifigan import Generator
from koe.vocoder.losses import adversarial_loss, discriminator_loss, feature_matching_loss, mel_loss
from koe.vocoder.model_file import read_vocoder

_WEIGHT_DECAY = 0.01  # PyTorch's default for AdamW, which the public implementation keeps


@dataclass
class VocoderTrainer:
    """One training run over `train`, watched on `validation`."""

    generator: Generator
    discriminators: Discriminators
    params: VocoderParams
    train: MelAudio
    validation: MelAudio
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        self.mel: MelParams = self.train.dataset.mel_params
        self.sampler = SegmentSampler(self.train, self.params.training, self.seed)
        self.generator.to(self.device)
        self.discriminators.to(self.device)
        self.generator_optimizer = self._optimizer(self.generator)
        self.discriminator_optimizer = self._optimizer(self.discriminators)

    def _optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        training = self.params.training
        return torch.optim.AdamW(
            module.parameters(), lr=training.learning_rate, betas=training.betas, weight_decay=_WEIGHT_DECAY,
            fused=True,
        )

    @property
    def objects(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "generator": self.generator,
            "discriminators": self.discriminators,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def run(self, session: Session) -> dict[str, float]:
        """Trains to the end and returns the last validation's values."""
        training = self.params.training
        sums: dict[str, list[float]] = defaultdict(list)
        latest: dict[str, float] = {}
        for step, bar in steps_with_progress(session.name, session.resume(), training.steps):
            losses = self.step(step, self.sampler.batch_at(step - 1).to(self.device))
            for part, value in losses.items():
                sums[part].append(value)
            last = step == training.steps
            if step % training.log_every == 0 or last:
                means = {f"train/{part}": float(np.mean(values)) for part, values in sums.items()}
                session.log(step, {**means, "learning_rate": self.rate(step - 1)})
                bar.set_postfix(mel=f"{means['train/mel']:.3f}")
                sums.clear()
            if step % training.validate_every == 0 or last:
                latest = self.validate()
                session.log(step, latest)
            if step % training.checkpoint_every == 0 and not last:
                session.save(step)
        return latest

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step `step` (from 0), constant within an epoch."""
        training = self.params.training
        epoch = self.sampler.batching.epoch_of(step)
        return exponential_per_epoch(epoch, training.learning_rate, training.learning_rate_decay_per_epoch)

    def step(self, step: int, batch: SegmentBatch) -> dict[str, float]:
        """One step of the discriminators, unless they are still at rest, and one of the generator.

        `step` counts from 1. Returns the unweighted losses.
        """
        self.generator.train()
        self.discriminators.train()
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = self.rate(step - 1)
        generated = self.generator(batch.mel) * batch.present
        losses: dict[str, Tensor] = {}
        adversarial = step > self.params.training.mel_only_steps
        if adversarial:
            losses["discriminator"] = discriminator_loss(*self.discriminators.compare(batch.wave, generated.detach()))
            self._descend(losses["discriminator"], self.discriminators, self.discriminator_optimizer, step)
        losses |= self._generator_losses(batch.wave, generated, adversarial)
        weights = self.params.loss_weights
        total = torch.stack([
            getattr(weights, part) * loss for part, loss in losses.items() if part != "discriminator"
        ]).sum()
        self._descend(total, self.generator, self.generator_optimizer, step)
        return {part: float(loss.detach()) for part, loss in losses.items()}

    def _generator_losses(self, wave: Tensor, generated: Tensor, adversarial: bool) -> dict[str, Tensor]:
        losses = {"mel": mel_loss(log_mel(wave, self.mel), log_mel(generated, self.mel))}
        if adversarial:
            self.discriminators.requires_grad_(False)  # gradients flow through them to the generator, not to them
            with torch.no_grad():
                real = self.discriminators(wave)
            judged = self.discriminators(generated)
            losses["feature_matching"] = feature_matching_loss(real, judged)
            losses["adversarial"] = adversarial_loss(judged)
            self.discriminators.requires_grad_(True)
        return losses

    def _descend(self, loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        limit = self.params.training.gradient_clip or float("inf")
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), limit))
        if not np.isfinite(norm):
            names = ", ".join(self.train.pairs[index][0] for index in self.sampler.batching.batch_at(step - 1))
            raise KoeError(
                f"vocoder training diverged at step {step}: the {type(module).__name__.lower()}'s gradients are not "
                f"finite (loss {float(loss.detach()):g}); pairs: {names}. Lower vocoder.training.learning_rate, or "
                "set vocoder.training.gradient_clip"
            )
        optimizer.step()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """L1 between log-mels of real and generated waveforms, mean over the validation pairs, each in full."""
        self.generator.eval()
        losses = []
        for mel, wave in self.validation:
            generated = self.generator(torch.from_numpy(mel)[None].to(self.device))[0]
            real = torch.from_numpy(wave).to(self.device)
            losses.append(float(mel_loss(log_mel(real, self.mel), log_mel(generated, self.mel))))
        return {"validation/mel": float(np.mean(losses))}


def initial_models(params: VocoderParams, mel: MelParams, seed: int) -> tuple[Generator, Discriminators]:
    """The networks to train: random under `seed`, or those of the folder `vocoder.init`.

    Raises ContractError if that vocoder's mel settings differ from `mel`, KoeError if its sizes differ from
    `params`. A folder without discriminators gives the generator; the discriminators then start at random.
    """
    torch.manual_seed(seed_for(seed, "vocoder"))
    generator, discriminators = Generator(params.generator, mel.n_mels), Discriminators(params.discriminators)
    if params.init is None:
        return generator, discriminators
    start = read_vocoder(params.init)
    compare_contracts(f"vocoder.init ({params.init})", start.mel.contract(), "params.yaml", mel.contract())
    _take(start.generator, generator, "generator", params.init)
    if start.discriminators is None:
        print(f"vocoder: {params.init} has no discriminators; they start at random")
    else:
        _take(start.discriminators, discriminators, "discriminators", params.init)
    return generator, discriminators


def _take(given: nn.Module, wanted: nn.Module, part: str, folder: str) -> None:
    differing = differing_tensors(given.state_dict(), wanted.state_dict())
    if differing:
        raise KoeError(
            f"vocoder.init: the {part} in {folder} and vocoder.{part} differ in {differing}; set vocoder.{part} as in "
            f"{folder}/vocoder.json"
        )
    wanted.load_state_dict(given.state_dict())


def scratch_warning(train: MelAudio, params: VocoderParams) -> str | None:
    """What to expect of a vocoder that starts from nothing, with the amount of data (lesson 11)."""
    if params.init is not None:
        return None
    return (
        f"vocoder: WARNING: vocoder.init is null, so training starts from scratch, on {train.hours:.2f} hours "
        f"({len(train.pairs)} pairs) and for {params.training.steps} steps. The published model took 24 hours of "
        "speech and 2500000 steps; on 3000 utterances a run from scratch never got clean. Set vocoder.init to the "
        "folder of a trained vocoder to fine-tune it; until then griffin_lim sounds better."
    )
