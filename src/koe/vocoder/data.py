"""Segments to train a vocoder on, read straight from the packed shards: a piece of a mel and its samples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from koe.corpus.dataset import Dataset
from koe.errors import StoreError
from koe.params import VocoderTraining
from koe.randomness import numpy_generator, seed_for
from koe.store import ShardReader
from koe.training.batching import Batching

Pair = tuple[str, str, str]  # pair, source utterance, target utterance


@dataclass(frozen=True)
class SegmentBatch:
    """mel (batch, frames, n_mels), natural log; wave (batch, frames * hop_length); present like wave.

    `present` is 1 where the utterance has samples. Only an utterance shorter than a segment is padded: its mel with
    silence (the floor), its wave with zeros, and `present` is 0 there.
    """

    mel: Tensor
    wave: Tensor
    present: Tensor

    def to(self, device: torch.device) -> "SegmentBatch":
        return SegmentBatch(self.mel.to(device), self.wave.to(device), self.present.to(device))


class MelAudio:
    """The targets of pairs as (mel, waveform).

    The mel is the one that the acoustic model generated (`generated`, keyed by pair), so that the vocoder learns to
    mend its faults, or the recording's own where `generated` is None. Raises StoreError if a mel and its waveform
    differ in length (lesson 6), ContractError if `generated` was made under other mel settings (lesson 13).
    """

    def __init__(self, dataset: Dataset, pairs: list[Pair], generated: ShardReader | None) -> None:
        self.dataset = dataset
        self.pairs = pairs
        self.generated = generated
        if generated is not None:
            generated.require(dataset.mel_params.contract())
        self.frames = [self._frames(pair, target) for pair, _, target in pairs]

    def _frames(self, pair: str, target: str) -> int:
        made_by = self.generated
        frames = self.dataset.frames(target) if made_by is None else made_by.shape(pair, "mel")[0]
        samples, hop = self.dataset.samples(target), self.dataset.mel_params.hop_length
        if frames * hop != samples:
            raise StoreError(
                f"pair {pair!r}: its mel has {frames} frames, so {target!r} should have {frames * hop} samples, but "
                f"has {samples}; rebuild data/features and data/generated (dvc repro generate_mels)"
            )
        return frames

    def read(self, index: int, first: int = 0, frames: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mel (frames, n_mels) and wave (frames * hop_length,) of the pair at `index`, or a part by frames."""
        pair, _, target = self.pairs[index]
        frames = self.frames[index] - first if frames is None else frames
        if self.generated is None:
            mel = self.dataset.mel(target)[first : first + frames]
        else:
            mel = self.generated.slice(pair, "mel", first, first + frames)
        return mel, self.dataset.wave(target, first, frames)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.read(index) for index in range(len(self.pairs)))

    @property
    def hours(self) -> float:
        """Length of all different recordings together."""
        samples = {target: self.dataset.samples(target) for _, _, target in self.pairs}
        return sum(samples.values()) / self.dataset.mel_params.sample_rate / 3600


class SegmentSampler:
    """Random segments: in an epoch every pair gives one, the last batch being smaller if need be (lesson 36).

    The batch of a step depends on the seed and the step alone, so that a continued run sees what it would have seen.
    """

    def __init__(self, source: MelAudio, training: VocoderTraining, seed: int) -> None:
        self.source = source
        self.seed = seed
        self.frames = training.segment_size // source.dataset.mel_params.hop_length
        equal = (self.frames,) * len(source.pairs)  # segments are of one length, so batching need not sort by it
        self.batching = Batching(equal, training.batch_size, seed_for(seed, "vocoder"))

    def batch_at(self, step: int) -> SegmentBatch:
        """The segments that optimizer step `step` (from 0) trains on."""
        generator = numpy_generator(self.seed, "vocoder segments", step)
        return self._stack([self._draw(index, generator) for index in self.batching.batch_at(step)])

    def _draw(self, index: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        available = self.source.frames[index]
        first = int(generator.integers(0, max(0, available - self.frames) + 1))
        return self.source.read(index, first, min(self.frames, available))

    def _stack(self, segments: list[tuple[np.ndarray, np.ndarray]]) -> SegmentBatch:
        mel = self.source.dataset.mel_params
        mels = np.full((len(segments), self.frames, mel.n_mels), np.log(mel.floor), dtype=np.float32)
        waves = np.zeros((len(segments), self.frames * mel.hop_length), dtype=np.float32)
        present = np.zeros_like(waves)
        for row, (segment, wave) in enumerate(segments):
            mels[row, : len(segment)] = segment
            waves[row, : len(wave)] = wave
            present[row, : len(wave)] = 1
        return SegmentBatch(torch.from_numpy(mels), torch.from_numpy(waves), torch.from_numpy(present))
