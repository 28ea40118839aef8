"""Pairs as input of the acoustic model: normalised, reduced, padded into batches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from koe.align.durations import durations_of
from koe.audio.pitch import continuous_log_f0
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Statistics, without_octave_errors
from koe.names import Direction, Pair, speaker_key
from koe.steps import average_frames, batch_steps, steps_of
from koe.tasks.conversion.nars2s import Prosody, Source
from koe.tasks.conversion.params import ReductionParams
from koe.tasks.conversion.reduction import reduce_mel, reduce_prosody, steps_per_value, values_of, values_per_step
from koe.tasks.conversion.speakers import Speakers


@dataclass(frozen=True)
class SourceItem:
    """Source features of one utterance, normalised; for the letters see `koe.tasks.conversion.nars2s`."""

    mel: np.ndarray  # (S, W)
    pitch: np.ndarray  # (S * K,)
    energy: np.ndarray  # (S * K,)
    voiced: np.ndarray  # (S,) bool
    target: Statistics  # of the target speaker
    voices: np.ndarray | None  # see `Speakers.voices`


@dataclass(frozen=True)
class Batch:
    """A batch of pairs, padded."""

    source: Source
    durations: Tensor  # (B, S) whole target steps
    target_mel: Tensor  # (B, T * R, M)
    target_frames: Tensor  # (B,) true lengths
    prosody: Prosody  # the target's
    reduction: ReductionParams

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            self.source.to(device), self.durations.to(device), self.target_mel.to(device),
            self.target_frames.to(device), self.prosody.to(device), self.reduction,
        )


def prosody_of(
    f0: np.ndarray, energy: np.ndarray, statistics: Statistics, reduction: ReductionParams, outliers: float | None,
    skipped: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pitch and energy at the rate of `reduction`: (frames,) → (values,) each, see `reduce_prosody`.

    F0 that the statistics leave out (`stats.outliers`, octave errors) is interpolated over, like unvoiced frames; the
    first `skipped` frames are left out afterwards.
    """
    pitch = statistics.normalize_log_f0(continuous_log_f0(without_octave_errors(f0, outliers))[0])
    energy = statistics.normalize_energy(energy)
    return reduce_prosody(pitch[skipped:], reduction), reduce_prosody(energy[skipped:], reduction)


def source_item(
    mel: np.ndarray, f0: np.ndarray, energy: np.ndarray, speakers: Speakers, direction: Direction,
    reduction: ReductionParams, embedding: np.ndarray | None = None, skipped: int = 0,
) -> SourceItem:
    """Source features from an utterance's mel (frames, M), F0 (frames,) and energy (frames,).

    `direction` is the source and the target speaker; `embedding` (256,) the utterance's own speaker embedding, if
    known; the first `skipped` frames are left out.
    """
    statistics = speakers.of_utterance(direction.source, mel, f0, energy)
    reduced = reduce_mel(statistics.normalize_mel(mel[skipped:]), reduction)
    values = len(reduced) * values_per_step(reduction)
    pitch, energy = (np.repeat(value, steps_per_value(reduction))[:values]
                     for value in prosody_of(f0, energy, statistics, reduction, speakers.outliers, skipped))
    voiced = average_frames((f0[skipped:] > 0).astype(np.float32), reduction.factor) >= 0.5
    return SourceItem(
        reduced, pitch, energy, voiced, speakers.of_target(direction.target), speakers.voices(direction, embedding))


def pad(arrays: list[np.ndarray], length: int | None = None) -> Tensor:
    """Arrays (length, …) → (B, length, …), padded with zeros; `length` None: that of a batch with the longest one."""
    if length is None:
        length = batch_steps(max(len(array) for array in arrays))
    padded = np.zeros((len(arrays), length, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)


def source_batch(items: list[SourceItem]) -> Source:
    """Pads source items into a batch."""
    voices = [item.voices for item in items if item.voices is not None]
    mel = pad([item.mel.astype(np.float32) for item in items])
    values = mel.shape[1] * (len(items[0].pitch) // len(items[0].mel))
    return Source(
        mel=mel,
        pitch=pad([item.pitch.astype(np.float32) for item in items], values),
        energy=pad([item.energy.astype(np.float32) for item in items], values),
        steps=torch.tensor([len(item.mel) for item in items]),
        voices=torch.from_numpy(np.stack(voices)) if voices else None,
    )


class PairReader:
    """Reads pairs' features and durations and makes batches of them.

    Args:
        dataset: features of both sides.
        durations: (S,) whole target steps of each pair, by its name.
        speakers: the speakers of the pairs.
        reduction: how frames become steps.
        embeddings: speaker embeddings (256,) of source utterances, where `conditioning.level` is `utterance`.
        positions: (target frames,) of each pair, see `koe.align.aligner.Alignment`; for batches that skip frames.
    """

    def __init__(
        self, dataset: Dataset, durations: Mapping[str, np.ndarray], speakers: Speakers, reduction: ReductionParams,
        embeddings: Mapping[str, np.ndarray] | None = None, positions: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.dataset = dataset
        self.durations = durations
        self.speakers = speakers
        self.reduction = reduction
        self.embeddings = embeddings or {}
        self.positions = positions or {}

    def source(self, pair: Pair, skipped: int = 0) -> SourceItem:
        """Source features of a pair, without the first `skipped` frames."""
        data, source = self.dataset, pair.source
        direction = Direction(speaker_key(pair.source), speaker_key(pair.target))
        return source_item(
            data.mel(source), data.f0(source), data.energy(source), self.speakers, direction, self.reduction,
            self.embeddings.get(source), skipped,
        )

    def batch(self, pairs: list[Pair], skipped: np.ndarray | None = None) -> Batch:
        """A batch of pairs. `skipped` (B, 2): frames left out at the beginning of each source and target, fewer than
        those of a step.
        """
        data = self.dataset
        if skipped is None:
            skipped = np.zeros((len(pairs), 2), dtype=np.int64)
        targets = [(pair.target, self.speakers.of_target(speaker_key(pair.target))) for pair in pairs]
        mels = [data.mel(name)[start:] for (name, _), start in zip(targets, skipped[:, 1], strict=True)]
        if self.speakers.normalize_target:
            mels = [statistics.normalize_mel(mel) for mel, (_, statistics) in zip(mels, targets, strict=True)]
        outliers = self.speakers.outliers
        prosody = [prosody_of(data.f0(name), data.energy(name), statistics, self.reduction, outliers, start)
                   for (name, statistics), start in zip(targets, skipped[:, 1], strict=True)]
        steps = batch_steps(max(steps_of(len(mel), self.reduction.factor) for mel in mels))
        values = values_of(steps, self.reduction)
        return Batch(
            source=source_batch([self.source(pair, start) for pair, start in zip(pairs, skipped[:, 0], strict=True)]),
            durations=pad([self._durations(pair, *starts).astype(np.int64)
                           for pair, starts in zip(pairs, skipped, strict=True)]),
            target_mel=pad([mel.astype(np.float32) for mel in mels], steps * self.reduction.factor),
            target_frames=torch.tensor([len(mel) for mel in mels]),
            prosody=Prosody(pitch=pad([pitch for pitch, _ in prosody], values),
                            energy=pad([energy for _, energy in prosody], values)),
            reduction=self.reduction,
        )

    def _durations(self, pair: Pair, source_start: int, target_start: int) -> np.ndarray:
        """(S,) whole target steps of the pair without its skipped frames."""
        if not (source_start or target_start):
            return self.durations[pair.name]
        positions = np.maximum(self.positions[pair.name][target_start:] - source_start, 0)
        return durations_of(positions, self.dataset.frames(pair.source) - source_start, self.reduction.factor)
