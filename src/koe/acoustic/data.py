"""Pairs as the acoustic model sees them: normalised, reduced, padded into batches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from koe.acoustic.nars2s import Prosody, Source
from koe.acoustic.reduction import average_frames, batch_steps, stack_frames, steps_of
from koe.acoustic.speakers import Speakers
from koe.audio.pitch import continuous_log_f0
from koe.corpus.dataset import Dataset, speaker_key
from koe.corpus.pairing import Direction, Pair
from koe.corpus.statistics import Statistics


@dataclass(frozen=True)
class SourceItem:
    """One utterance's source features: mel (S, R * M), pitch (S,), energy (S,), normalised; voiced (S,) bool.

    target: statistics of the speaker it is converted to; voices: see `Speakers.voices`.
    """

    mel: np.ndarray
    pitch: np.ndarray
    energy: np.ndarray
    voiced: np.ndarray
    target: Statistics
    voices: np.ndarray | None


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
    mel: np.ndarray, f0: np.ndarray, energy: np.ndarray, speakers: Speakers, direction: Direction, factor: int,
    heard: np.ndarray | None = None,
) -> SourceItem:
    """Source features from an utterance's mel (frames, M), F0 (frames,) and energy (frames,).

    `direction` is the source and the target speaker; `heard` (256,) the utterance's own speaker embedding, if known.
    """
    source, target = direction
    statistics = speakers.of_source(source)
    pitch, energy = prosody_of(f0, energy, statistics, factor)
    voiced = average_frames((f0 > 0).astype(np.float32), factor) >= 0.5
    stacked = stack_frames(statistics.normalize_mel(mel), factor)
    return SourceItem(
        stacked, pitch, energy, voiced, speakers.of_target(target), speakers.voices(direction, heard))


def pad(arrays: list[np.ndarray], factor: int = 1) -> Tensor:
    """Arrays (length, …) → (B, length of the batch, …), zeros behind each; `factor` rows make a step."""
    longest = batch_steps(max(steps_of(len(array), factor) for array in arrays)) * factor
    padded = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)


def source_batch(items: list[SourceItem]) -> Source:
    """Pads source items into a batch."""
    voices = [item.voices for item in items if item.voices is not None]
    return Source(
        mel=pad([item.mel.astype(np.float32) for item in items]),
        pitch=pad([item.pitch.astype(np.float32) for item in items]),
        energy=pad([item.energy.astype(np.float32) for item in items]),
        steps=torch.tensor([len(item.mel) for item in items]),
        voices=torch.from_numpy(np.stack(voices)) if voices else None,
    )


class PairReader:
    """Reads pairs' features and durations and makes batches of them.

    Args:
        dataset: features of both sides.
        durations: (S,) whole target steps of each pair, by its name.
        speakers: everyone who speaks in the pairs.
        reduction_factor: R.
        heard: speaker embeddings (256,) of source utterances, where `conditioning.level` is `utterance`.
    """

    def __init__(
        self, dataset: Dataset, durations: Mapping[str, np.ndarray], speakers: Speakers, reduction_factor: int,
        heard: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.dataset = dataset
        self.durations = durations
        self.speakers = speakers
        self.factor = reduction_factor
        self.heard = heard or {}

    def source(self, pair: Pair) -> SourceItem:
        """Source features of a pair."""
        _, source, target = pair
        data, direction = self.dataset, (speaker_key(source), speaker_key(target))
        return source_item(
            data.mel(source), data.f0(source), data.energy(source), self.speakers, direction, self.factor,
            self.heard.get(source),
        )

    def batch(self, pairs: list[Pair]) -> Batch:
        """A batch of pairs."""
        data = self.dataset
        targets = [(name, self.speakers.of_target(speaker_key(name))) for _, _, name in pairs]
        mels = [data.mel(name) for name, _ in targets]
        if self.speakers.normalize_target:
            mels = [statistics.normalize_mel(mel) for mel, (_, statistics) in zip(mels, targets, strict=True)]
        prosody = [prosody_of(data.f0(name), data.energy(name), statistics, self.factor)
                   for name, statistics in targets]
        return Batch(
            source=source_batch([self.source(pair) for pair in pairs]),
            durations=pad([self.durations[pair].astype(np.int64) for pair, _, _ in pairs]),
            target_mel=pad([mel.astype(np.float32) for mel in mels], self.factor),
            target_frames=torch.tensor([len(mel) for mel in mels]),
            prosody=Prosody(pad([pitch for pitch, _ in prosody]), pad([energy for _, energy in prosody])),
        )
