"""Pairs as the acoustic model sees them: normalised, reduced, padded into batches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from koe.acoustic.nars2s import Prosody, Source
from koe.acoustic.reduction import average_frames, batch_steps, stack_frames, steps_of
from koe.audio.pitch import continuous_log_f0
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Statistics


@dataclass(frozen=True)
class Sides:
    """Statistics of the source and of the target, applied when features are read."""

    source: Statistics
    target: Statistics
    normalize_target: bool


@dataclass(frozen=True)
class SourceItem:
    """One utterance's source features: mel (S, R * M), pitch (S,), energy (S,), normalised; voiced (S,) bool."""

    mel: np.ndarray
    pitch: np.ndarray
    energy: np.ndarray
    voiced: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Pairs, padded.

    source: see `Source`; durations (B, S) whole target steps; target_mel (B, T * R, M); target_frames (B,) the true
    lengths; prosody: the target's pitch and energy (B, T).
    """

    source: Source
    durations: Tensor
    target_mel: Tensor
    target_frames: Tensor
    prosody: Prosody

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            self.source.to(device), self.durations.to(device), self.target_mel.to(device),
            self.target_frames.to(device), self.prosody.to(device),
        )


def prosody_of(
    f0: np.ndarray, energy: np.ndarray, statistics: Statistics, factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pitch and energy at the reduced rate: (frames,) → (steps,) each."""
    pitch = statistics.normalize_log_f0(continuous_log_f0(f0)[0])
    return average_frames(pitch, factor), average_frames(statistics.normalize_energy(energy), factor)


def source_item(
    mel: np.ndarray, f0: np.ndarray, energy: np.ndarray, statistics: Statistics, factor: int
) -> SourceItem:
    """Source features from an utterance's mel (frames, M), F0 (frames,) and energy (frames,)."""
    pitch, energy = prosody_of(f0, energy, statistics, factor)
    voiced = average_frames((f0 > 0).astype(np.float32), factor) >= 0.5
    return SourceItem(stack_frames(statistics.normalize_mel(mel), factor), pitch, energy, voiced)


def pad(arrays: list[np.ndarray], factor: int = 1) -> Tensor:
    """Arrays (length, …) → (B, length of the batch, …), zeros behind each; `factor` rows make a step."""
    longest = batch_steps(max(steps_of(len(array), factor) for array in arrays)) * factor
    padded = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)


def source_batch(items: list[SourceItem]) -> Source:
    """Pads source items into a batch."""
    return Source(
        mel=pad([item.mel.astype(np.float32) for item in items]),
        pitch=pad([item.pitch.astype(np.float32) for item in items]),
        energy=pad([item.energy.astype(np.float32) for item in items]),
        steps=torch.tensor([len(item.mel) for item in items]),
    )


class PairReader:
    """Reads pairs' features and durations and makes batches of them.

    Args:
        dataset: features of both sides.
        durations: (S,) whole target steps of each pair, by its name.
        sides: statistics of both sides.
        reduction_factor: R.
    """

    def __init__(
        self, dataset: Dataset, durations: Mapping[str, np.ndarray], sides: Sides, reduction_factor: int
    ) -> None:
        self.dataset = dataset
        self.durations = durations
        self.sides = sides
        self.factor = reduction_factor

    def source(self, utterance: str) -> SourceItem:
        """Source features of an utterance."""
        data = self.dataset
        return source_item(
            data.mel(utterance), data.f0(utterance), data.energy(utterance), self.sides.source, self.factor
        )

    def batch(self, pairs: list[tuple[str, str, str]]) -> Batch:
        """A batch of pairs (pair, source utterance, target utterance)."""
        data, target = self.dataset, self.sides.target
        mels = [data.mel(utterance) for _, _, utterance in pairs]
        if self.sides.normalize_target:
            mels = [target.normalize_mel(mel) for mel in mels]
        prosody = [
            prosody_of(data.f0(utterance), data.energy(utterance), target, self.factor) for _, _, utterance in pairs
        ]
        return Batch(
            source=source_batch([self.source(utterance) for _, utterance, _ in pairs]),
            durations=pad([self.durations[pair].astype(np.int64) for pair, _, _ in pairs]),
            target_mel=pad([mel.astype(np.float32) for mel in mels], self.factor),
            target_frames=torch.tensor([len(mel) for mel in mels]),
            prosody=Prosody(pad([pitch for pitch, _ in prosody]), pad([energy for _, energy in prosody])),
        )
