"""Training the acoustic model: resumable, deterministic on the CPU, validated as conversion works.

Called by the `train_acoustic` stage. The step's batch, learning rate and dropout are functions of the seed and the
step, so a run that was killed and continued ends with the same weights as one that never was.
"""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from koe.acoustic.data import Batch, PairReader
from koe.acoustic.inference import convert_items
from koe.acoustic.losses import PARTS, acoustic_losses, weighted_sum
from koe.acoustic.model_file import build_network, load_acoustic
from koe.acoustic.nars2s import NARS2S
from koe.acoustic.speakers import Speakers
from koe.corpus.pairing import Pair
from koe.device import mixed_precision
from koe.errors import KoeError
from koe.evaluation.mel_distortion import mel_cepstral_distortion_of_mels
from koe.params import AcousticParams, MelParams
from koe.randomness import seed_for
from koe.store import compare_contracts
from koe.training.batching import Batching
from koe.training.schedules import warmup_cosine_per_step
from koe.training.session import Session, steps_with_progress
from koe.training.transfer import differing_tensors


@dataclass
class AcousticTrainer:
    """One training run over `train`, watched on `validation`."""

    network: NARS2S
    params: AcousticParams
    reader: PairReader
    train: list[Pair]
    validation: list[Pair]
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        training = self.params.training
        self.network.to(self.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, training.weight_decay), lr=training.learning_rate,
            betas=training.betas, fused=True,
        )
        lengths = tuple(self.reader.dataset.frames(target) for _, _, target in self.train)
        self.batching = Batching(lengths, training.batch_size, self.seed)

    @property
    def objects(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"network": self.network, "optimizer": self.optimizer}

    def run(self, session: Session) -> dict[str, float]:
        """Trains to the end and returns the last validation's values."""
        training = self.params.training
        torch.manual_seed(seed_for(self.seed, "acoustic training"))  # dropout; a checkpoint brings its own state
        first = session.resume()
        sums: dict[str, list[float]] = defaultdict(list)
        latest: dict[str, float] = {}
        for (step, bar), batch in zip(
            steps_with_progress(session.name, first, training.steps), self._batches(first, training.steps), strict=True
        ):
            losses, norm = self._step(step, batch)
            for part, value in {**losses, "gradient_norm": norm}.items():
                sums[part].append(value)
            last = step == training.steps
            if step % training.log_every == 0 or last:
                means = {f"train/{part}": float(np.mean(values)) for part, values in sums.items()}
                session.log(step, {**means, "learning_rate": self._rate(step - 1)})
                bar.set_postfix({part: f"{means[f'train/{part}']:.3f}" for part in ("postnet", "pitch")})
                sums.clear()
            if step % training.validate_every == 0 or last:
                latest = self.validate()
                gaps = self._gaps(session, latest)
                session.log(step, {**latest, **gaps})
            if training.keep_every and step % training.keep_every == 0:
                session.keep(f"{step:08d}", step)
            if step % training.checkpoint_every == 0 and not last:
                session.save(step)
        return latest

    def _batches(self, first: int, steps: int) -> Iterator[Batch]:
        """Batches of steps first + 1 to steps, one read ahead while the model works."""
        def read(step: int) -> Batch:
            return self.reader.batch([self.train[index] for index in self.batching.batch_at(step)]).to(self.device)

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(read, first)
            for step in range(first, steps):
                batch = ahead.result()
                if step + 1 < steps:
                    ahead = pool.submit(read, step + 1)
                yield batch

    def _rate(self, step: int) -> float:
        training = self.params.training
        return warmup_cosine_per_step(
            step, training.learning_rate, training.warmup_steps, training.steps, training.final_learning_rate
        )

    def _step(self, step: int, batch: Batch) -> tuple[dict[str, float], float]:
        """One optimizer step; `step` counts from 1. Returns the parts' losses and the gradient's norm."""
        training = self.params.training
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step - 1)
        self.network.train()
        with mixed_precision(training.precision, self.device):
            output = self.network(
                batch.source, batch.durations, batch.prosody if self.params.teacher_forcing else None
            )
        losses = acoustic_losses(output, batch)
        total = weighted_sum(losses, self.params.loss_weights)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        limit = training.gradient_clip or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        if not (np.isfinite(norm) and bool(torch.isfinite(total))):
            raise KoeError(self._explain_divergence(step, batch, losses))
        self.optimizer.step()
        return {part: float(loss.detach()) for part, loss in losses.items()}, norm

    def _explain_divergence(self, step: int, batch: Batch, losses: dict[str, Tensor]) -> str:
        utterances = ", ".join(self.train[index][0] for index in self.batching.batch_at(step - 1))
        values = ", ".join(f"{part} {float(loss):g}" for part, loss in losses.items())
        return (
            f"acoustic training diverged at step {step}: losses or gradients are not finite ({values}); batch of "
            f"{len(batch.durations)} pairs, {batch.target_mel.shape[1]} frames: {utterances}. Lower "
            "acoustic.training.learning_rate, or set acoustic.training.gradient_clip"
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses on the validation pairs with the target's durations and nothing else of the target, as conversion
        would do if it knew the timing; the teacher-forced mel under its own name; and the free-running mel-cepstral
        distortion (lesson 28).
        """
        self.network.eval()
        sums: dict[str, float] = defaultdict(float)
        size = self.params.training.batch_size
        for start in range(0, len(self.validation), size):
            pairs = self.validation[start : start + size]
            batch = self.reader.batch(pairs).to(self.device)
            free = acoustic_losses(self.network(batch.source, batch.durations), batch)
            forced = acoustic_losses(self.network(batch.source, batch.durations, batch.prosody), batch)
            for part in PARTS:
                sums[f"validation/{part}"] += float(free[part]) * len(pairs)
            sums["validation/postnet_teacher_forced"] += float(forced["postnet"]) * len(pairs)
        values = {name: total / len(self.validation) for name, total in sums.items()}
        return {**values, "validation/mcd_db": self._free_running_mcd()}

    def _free_running_mcd(self) -> float:
        sources = [self.reader.source(pair) for pair in self.validation]
        conversions = convert_items(
            self.network, sources, self.params.normalize_target, self.params.training.batch_size, self.device
        )
        return float(np.mean([
            mel_cepstral_distortion_of_mels(conversion.mel, self.reader.dataset.mel(target))
            for conversion, (_, _, target) in zip(conversions, self.validation, strict=True)
        ]))

    def _gaps(self, session: Session, validation: dict[str, float]) -> dict[str, float]:
        """Validation less training loss of each part: how far the model overfits (lesson 4)."""
        train = session.latest("train/")
        return {
            f"gap/{part}": validation[f"validation/{part}"] - train[f"train/{part}"]
            for part in PARTS if f"train/{part}" in train
        }


def initial_network(params: AcousticParams, mel: MelParams, own: Speakers, seed: int) -> tuple[NARS2S, Speakers]:
    """The network to train, and the speakers with the statistics to train it with.

    From scratch: random weights under `seed`, and the data's own statistics. With `acoustic.init`: that model's
    weights, and its statistics too, for its weights mean nothing under others (lesson 19). Raises ContractError if
    its mel settings differ, KoeError naming what differs if its shape, or who its learned vectors stand for, does.
    """
    torch.manual_seed(seed_for(seed, "acoustic"))
    network = build_network(params, mel.n_mels, len(own.trained))
    if params.init is None:
        return network, own
    start = load_acoustic(params.init)
    compare_contracts(f"acoustic.init ({params.init})", start.preparation.mel.contract(), "params.yaml", mel.contract())
    differing = differing_tensors(start.network.state_dict(), network.state_dict())
    if differing:
        raise KoeError(
            f"acoustic.init: the model in {params.init} and the acoustic parameters differ in {differing}; set the "
            "sizes under acoustic: to that model's"
        )
    if params.conditioning.by == "learned" and start.speakers.trained != own.trained:
        raise KoeError(
            f"acoustic.init: the model in {params.init} learned {', '.join(start.speakers.trained)}, and the pairs "
            f"have {', '.join(own.trained)}; its vectors would stand for others. Use acoustic.conditioning.by: encoder"
        )
    network.load_state_dict(start.network.state_dict())
    normalization = start.speakers.normalization
    for speaker in own.normalization.speakers.keys() - normalization.speakers.keys():  # whom that model never met
        normalization = normalization.with_speaker(speaker, own.normalization.speakers[speaker])
    return network, replace(own, normalization=normalization)


def parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases and norms do not."""
    decayed = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
