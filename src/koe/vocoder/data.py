"""Segments to train a vocoder on, read straight from the packed shards: a piece of a mel, its F0 and its samples."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.errors import KoeError, StoreError
from koe.names import sentence_of, speaker_key
from koe.randomness import numpy_generator, seed_for
from koe.store import ShardReader
from koe.training.batching import Batching
from koe.vocoder.excitation import source_of
from koe.vocoder.params import VocoderTraining

Item = tuple[str, str]  # name of a generated mel (a pair) or of the utterance itself; utterance that was recorded


@dataclass(frozen=True)
class SegmentBatch:
    """A batch of segments. Only an utterance shorter than a segment is padded: its mel with silence (the floor), its
    wave with zeros, its F0 with 0 (unvoiced).
    """

    mel: Tensor  # (batch, frames, n_mels), natural log
    wave: Tensor  # (batch, frames * hop_length)
    present: Tensor  # (batch, frames * hop_length): 1 where the utterance has samples, 0 in the padding
    source: Tensor | None = None  # (batch, frames * hop_length, 2), for networks that take F0

    def to(self, device: torch.device) -> "SegmentBatch":
        source = None if self.source is None else self.source.to(device)
        return SegmentBatch(self.mel.to(device), self.wave.to(device), self.present.to(device), source)


class Piece(NamedTuple):
    """An utterance or a part of one."""

    mel: np.ndarray  # (frames, n_mels), natural log
    f0: np.ndarray  # (frames,) in Hz, 0 = unvoiced; or empty
    wave: np.ndarray  # (frames * hop_length,)


class MelAudio:
    """Recordings with their F0 and a mel: the one that `generated` has under the item's name, so that a vocoder learns
    to mend the faults of an acoustic model, or the recording's own if `generated` is None.

    Raises StoreError if mel, F0 and waveform do not agree frame by frame (lesson 6), ContractError if `generated` was
    made under other mel settings (lesson 13).
    """

    def __init__(self, dataset: Dataset, items: Sequence[Item], generated: ShardReader | None = None) -> None:
        self.dataset = dataset
        self.items = list(items)
        self.generated = generated
        if generated is not None:
            generated.require(mel_contract(dataset.mel_params))
        self.frames = [self._checked_frames(name, utterance) for name, utterance in self.items]

    def _checked_frames(self, name: str, utterance: str) -> int:
        dataset = self.dataset
        dataset.require_grid(utterance, "f0")
        hop, samples = dataset.mel_params.hop_length, dataset.samples(utterance)
        lengths = {"its mel": dataset.frames(utterance)}
        if self.generated is not None:
            lengths["its generated mel"] = self.generated.shape(name, "mel")[0]
        for description, frames in lengths.items():
            if frames * hop != samples:
                raise StoreError(
                    f"{name!r}: {description} has {frames} frames, so {utterance!r} should have {frames * hop} "
                    f"samples, but has {samples}; rebuild data/features and data/generated (dvc repro generate_mels)")
        return samples // hop

    def read(
        self, index: int, first: int = 0, frames: int | None = None, true_mel: bool = False, f0: bool = True
    ) -> Piece:
        """The item at `index`, or `frames` of it from `first` on: nothing else is read. `true_mel`: with the
        recording's own mel even if there is a generated one; `f0`: if false, F0 is empty.
        """
        name, utterance = self.items[index]
        frames = self.frames[index] - first if frames is None else frames
        if self.generated is None or true_mel:
            mel = self.dataset.mel(utterance, first, frames)
        else:
            mel = self.generated.slice(name, "mel", first, first + frames)
        pitch = self.dataset.f0(utterance, first, frames) if f0 else np.empty(0, np.float32)
        return Piece(mel, pitch, self.dataset.wave(utterance, first, frames))

    @cached_property
    def hours(self) -> float:
        """Total length of the recordings, each counted once."""
        samples = sum(self.dataset.samples(utterance) for utterance in {utterance for _, utterance in self.items})
        return samples / self.dataset.mel_params.sample_rate / 3600


class SegmentSampler:
    """Random segments: one of every item in an epoch, whose last batch may be smaller (lesson 36).

    A share `training.true_mels` of the segments has the recording's own mel, and of these a share `training.blur` a
    smooth one. `takes_f0`: batches have a source.
    The batch of a step depends on the seed and the step alone, so that a resumed run trains on the same batches.
    """

    def __init__(self, data: MelAudio, training: VocoderTraining, seed: int, takes_f0: bool) -> None:
        self.data = data
        self.training = training
        self.seed = seed
        self.takes_f0 = takes_f0
        self.frames = training.segment_size // data.dataset.mel_params.hop_length
        equal = (self.frames,) * len(data.items)  # segments are of one length, so batching need not sort by it
        self.batching = Batching(equal, training.batch_size, seed_for(seed, "vocoder"))

    def batch_at(self, step: int) -> SegmentBatch:
        """The segments that optimizer step `step` (from 0) trains on."""
        generator = numpy_generator(self.seed, "vocoder segments", step)
        return self._stack([self._draw(index, generator) for index in self.batching.batch_at(step)], generator)

    def _draw(self, index: int, generator: np.random.Generator) -> Piece:
        available = self.data.frames[index]
        first = int(generator.integers(0, max(0, available - self.frames) + 1))
        true_mel = generator.random() < self.training.true_mels
        piece = self.data.read(index, first, min(self.frames, available), true_mel, self.takes_f0)
        blur = self.training.blur
        own = true_mel or self.data.generated is None
        if own and blur.share and generator.random() < blur.share:
            deviations = generator.uniform(0, blur.frames), generator.uniform(0, blur.bands)
            piece = piece._replace(mel=gaussian_filter(piece.mel, deviations, mode="nearest"))
        return piece

    def _stack(self, pieces: list[Piece], generator: np.random.Generator) -> SegmentBatch:
        mel = self.data.dataset.mel_params
        mels = np.full((len(pieces), self.frames, mel.n_mels), np.log(mel.floor), dtype=np.float32)
        f0s = np.zeros((len(pieces), self.frames), dtype=np.float32)
        waves = np.zeros((len(pieces), self.frames * mel.hop_length), dtype=np.float32)
        present = np.zeros_like(waves)
        for row, piece in enumerate(pieces):
            mels[row, : len(piece.mel)] = piece.mel
            f0s[row, : len(piece.f0)] = piece.f0
            waves[row, : len(piece.wave)] = piece.wave
            present[row, : len(piece.wave)] = 1
        source = None
        if self.takes_f0:
            source = torch.from_numpy(np.stack([source_of(f0, mel, generator) for f0 in f0s]))
        return SegmentBatch(torch.from_numpy(mels), torch.from_numpy(waves), torch.from_numpy(present), source)


def hold_out(utterances: Iterable[str], count: int, seed: int) -> tuple[list[str], list[str]]:
    """Utterances to train on, and `count` to validate on, from each speaker in turn, drawn under the seed.

    A sentence that is validated on is not trained on in any voice, so that neither a copy of a recording at another
    pitch nor another speaker of the sentence gives it away. Speakers share sentences as far as they can. Raises
    KoeError if nothing is left to train on.
    """
    drawn: dict[str, list[str]] = defaultdict(list)
    names = sorted(utterances)
    for name in sorted(names, key=lambda name: seed_for(seed, "held out", sentence_of(name))):
        drawn[speaker_key(name)].append(name)
    rounds = zip_longest(*(drawn[speaker] for speaker in sorted(drawn, key=lambda key: seed_for(seed, "speaker", key))))
    validation = [name for each in rounds for name in each if name is not None][:count]
    sentences = {sentence_of(name) for name in validation}
    train = [name for name in names if sentence_of(name) not in sentences]
    if not train:
        raise KoeError(f"vocoder.training.validation.utterances: {count} of {len(names)} utterances are held out, and "
                       "with their sentences nothing is left to train on; lower it, or add recordings")
    return train, sorted(validation)
