"""Reading the outputs of the data stages: one way from an utterance's name to its waveform and features.

An utterance has one name everywhere, in tables, in shards, in messages: `koe.names.utterance_name`.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.grid import frame_count, mel_contract
from koe.audio.params import MelParams
from koe.audio.samples import from_int16
from koe.corpus.tables.cuts import CUTS
from koe.corpus.tables.features import FEATURES
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import StoreError
from koe.names import corpus_of
from koe.store import ShardReader
from koe.tables import Table


class Dataset:
    """Waveforms and features of several corpora under one `data` folder.

    All arrays of an utterance lie on one frame grid: `wave` has exactly `frames * hop_length` samples, and mel
    `(frames, n_mels)`, F0 `(frames,)` and energy `(frames,)` share `frames` (lessons 6 and 24).
    """

    def __init__(self, corpora: list[str], mel_params: MelParams, data: str | Path = "data") -> None:
        self.corpora = list(corpora)
        self.mel_params = mel_params
        self.data = Path(data)

    def _folders(self, stage: str) -> dict[str, ShardReader]:
        return {corpus: ShardReader(self.data / stage / corpus) for corpus in self.corpora}

    @cached_property
    def _audio(self) -> dict[str, ShardReader]:
        return self._folders("resampled")

    @cached_property
    def _features(self) -> dict[str, ShardReader]:
        contract = mel_contract(self.mel_params)
        return {corpus: reader.require(contract) for corpus, reader in self._folders("features").items()}

    def _read(self, table: Table, stage: str) -> pd.DataFrame:
        """A stage's table of all corpora, indexed by utterance."""
        tables = [table.read(self.data / stage / corpus) for corpus in self.corpora]
        return pd.concat(tables, ignore_index=True).set_index("utterance", drop=False)

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """The utterance table of all corpora, indexed by utterance."""
        return self._read(UTTERANCES, "corpus")

    @cached_property
    def cuts(self) -> pd.DataFrame:
        """Trim points of all corpora, indexed by utterance."""
        return self._read(CUTS, "trim")

    @cached_property
    def features(self) -> pd.DataFrame:
        """The feature table, of what `extract` kept, indexed by utterance."""
        return self._read(FEATURES, "features")

    def _reader(self, readers: dict[str, ShardReader], utterance: str) -> ShardReader:
        corpus = corpus_of(utterance)
        if corpus not in readers:
            raise StoreError(f"utterance {utterance!r}: corpus {corpus!r} is not among {self.corpora}")
        return readers[corpus]

    @cached_property
    def _cut_points(self) -> dict[str, tuple[int, int]]:
        cuts = self.cuts
        return dict(zip(cuts.index, zip(cuts["start"].astype(int), cuts["end"].astype(int), strict=True), strict=True))

    def samples(self, utterance: str) -> int:
        """Samples of the trimmed waveform: a whole number of hops."""
        start, end = self._cut_points[utterance]
        return frame_count(end - start, self.mel_params) * self.mel_params.hop_length

    def wave(self, utterance: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
        """Trimmed waveform, float32 in [-1, 1], shape (frames * hop_length,), or `frames` of it from `first_frame` on.

        Only the requested samples are read from the shard.
        """
        hop = self.mel_params.hop_length
        start, _ = self._cut_points[utterance]
        available = self.samples(utterance) // hop
        frames = available - first_frame if frames is None else frames
        if first_frame < 0 or frames < 0 or first_frame + frames > available:
            raise StoreError(
                f"utterance {utterance!r}: frames {first_frame} to {first_frame + frames} requested, it has {available}"
            )
        begin = start + first_frame * hop
        audio = self._reader(self._audio, utterance).slice(utterance, "audio", begin, begin + frames * hop)
        return from_int16(audio)

    def untrimmed(self, utterance: str) -> np.ndarray:
        """The resampled waveform before trimming, float32, shape (samples,)."""
        return from_int16(self._reader(self._audio, utterance).get(utterance, "audio"))

    def mel(self, utterance: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
        """Log-mel, natural logarithm, never normalised: float32, shape (frames, n_mels), or part of it."""
        return self._part(utterance, "mel", first_frame, frames)

    def f0(self, utterance: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
        """F0 in Hz, 0 = unvoiced: float32, shape (frames,), or part of it."""
        self.require_grid(utterance, "f0")
        return self._part(utterance, "f0", first_frame, frames)

    def energy(self, utterance: str) -> np.ndarray:
        """Log energy: float32, shape (frames,)."""
        self.require_grid(utterance, "energy")
        return self._part(utterance, "energy")

    def _part(self, utterance: str, field: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
        """A field's array or part of it; only the requested frames are read."""
        end = self.frames(utterance) if frames is None else first_frame + frames
        return self._reader(self._features, utterance).slice(utterance, field, first_frame, end)

    def require_grid(self, utterance: str, field: str) -> None:
        """Raises StoreError unless a field of one value per frame has as many as the mel; reads headers only."""
        shape = self._reader(self._features, utterance).shape(utterance, field)
        if shape != (self.frames(utterance),):
            raise StoreError(f"utterance {utterance!r}: {field} has shape {shape}, its mel "
                             f"{self.frames(utterance)} frames; remove data/features and run dvc repro extract")

    def frames(self, utterance: str) -> int:
        return int(self._reader(self._features, utterance).shape(utterance, "mel")[0])

    def __getstate__(self) -> dict[str, Any]:  # another process opens the shards anew
        return {"corpora": self.corpora, "mel_params": self.mel_params, "data": self.data}
