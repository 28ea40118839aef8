"""Conversion with a trained model: one path for evaluation and `koe convert`.

A ladder: `convert_features` → `convert_utterances` (features to waveforms) → `convert` (a waveform) → `convert_file` →
`convert_files` (many, in groups), each a few lines over the ones before.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from koe.audio.checks import SILENCE, naming
from koe.audio.files import audio_info, read_channels, write_audio
from koe.audio.grid import frame_count, frame_rate, mel_contract
from koe.audio.preparation import prepare
from koe.audio.trim import find_cuts
from koe.corpus.extraction import extract_features
from koe.corpus.statistics import Statistics, statistics_of
from koe.device import resolve_device
from koe.errors import AudioError, KoeError
from koe.listeners.packaged import at_16_khz
from koe.listeners.speaker import embed, enrol
from koe.names import Direction, find_speaker
from koe.store import compare_contracts
from koe.tasks.conversion.data import SourceItem, source_item
from koe.tasks.conversion.inference import BATCH_SIZE, NEUTRAL, Adjustment, Conversion, convert_items
from koe.tasks.conversion.model_file import AcousticModel, load_acoustic
from koe.tasks.conversion.windows import Windows, convert_in_windows
from koe.vocoder.registry import Vocoder

UNNAMED = "the speaker of recording"
OVERLAP_SECONDS = 4.0  # a joint is searched in half of it, and speech has a pause about every two seconds
GROUP_SECONDS = 300.0  # of speech that `convert_files` holds in memory: several batches, to sort by length


@dataclass(frozen=True)
class SpeechFeatures:
    """Features of an utterance that the model converts, not normalised."""

    mel: np.ndarray  # (frames, M) log-mel
    f0: np.ndarray  # (frames,) Hz, 0 = unvoiced
    energy: np.ndarray  # (frames,)
    embedding: np.ndarray | None = None  # (256,) of the speaker; None: for silence, or `conditioning.by` is not encoder
    note: str = ""  # what the user should know about the recording


@dataclass(frozen=True)
class Converter:
    """A trained acoustic model, ready to convert features; with a vocoder, waveforms.

    Recordings of up to `window_seconds` are converted whole, longer ones in windows of that length.
    """

    model: AcousticModel
    device: torch.device
    vocoder: Vocoder | None = None
    window_seconds: float | None = None  # None: `resample.max_seconds` of the model's training
    overlap_seconds: float = OVERLAP_SECONDS  # smallest overlap of windows

    @classmethod
    def load(cls, folder: str | Path, vocoder: Vocoder | None = None, device: str = "auto") -> "Converter":
        """Reads the model in `folder`. Raises ContractError if the vocoder's mel settings differ (lesson 13)."""
        model = load_acoustic(folder)
        if vocoder is not None:
            own = mel_contract(model.preparation.mel)
            compare_contracts("the acoustic model", own, f"the vocoder ({vocoder.name})", vocoder.contract)
        resolved = resolve_device(device)
        model.network.to(resolved)
        return cls(model, resolved, vocoder)

    def convert_features(
        self, utterances: Sequence[SpeechFeatures], directions: Sequence[Direction], adjustment: Adjustment = NEUTRAL
    ) -> list[Conversion]:
        """Converts utterances in batches, each from a source to a target speaker that the model knows."""
        model = self.model
        items = [
            source_item(utterance.mel, utterance.f0, utterance.energy, model.speakers, direction,
                        model.params.reduction, utterance.embedding)
            for utterance, direction in zip(utterances, directions, strict=True)
        ]

        def convert(items: list[SourceItem]) -> list[Conversion]:
            return convert_items(
                model.network, items, model.params.normalize_target, BATCH_SIZE, self.device, adjustment=adjustment)

        return convert_in_windows(convert, items, self._windows, model.params.reduction.factor)

    def convert_utterances(
        self, utterances: Sequence[SpeechFeatures], source: str | None = None, target: str | None = None,
        adjustment: Adjustment = NEUTRAL,
    ) -> list[np.ndarray]:
        """Converts the features of recordings in batches to waveforms, float32 (samples,) at the model's rate.

        `source` and `target`: see `convert`. Raises KoeError for a speaker that is not known or missing.
        """
        if self.vocoder is None:
            raise KoeError("this converter was loaded without a vocoder; give one to Converter.load")
        source, target = self.direction(source, target)
        sources = [source or f"{UNNAMED} {number}" for number in range(1, len(utterances) + 1)]
        converter = self
        if source is None:
            for name, utterance in zip(sources, utterances, strict=True):
                converter = converter.with_speaker(name, [utterance])
        conversions = converter.convert_features(utterances, [Direction(name, target) for name in sources], adjustment)
        return self.vocoder.synthesize([item.mel for item in conversions], [item.f0 for item in conversions])

    def convert(
        self, wave: np.ndarray, sample_rate: int, source: str | None = None, target: str | None = None,
        adjustment: Adjustment = NEUTRAL,
    ) -> np.ndarray:
        """Converts a recording: float32 (samples,) at any rate → float32 (samples,) at the model's rate.

        `source` and `target` are speakers that the model knows, with or without corpus. None: the only one in training;
        if there were several and the model takes embeddings, a source of None is introduced by the recording itself.
        The recording is prepared as those of training: resampled, checked, trimmed at head and tail; it may be longer.
        Raises AudioError naming what is wrong with it, KoeError for a speaker that is not known or missing.
        """
        known_source, _ = self.direction(source, target)
        features = self.features(wave, sample_rate, known_source)
        return self.convert_utterances([features], source, target, adjustment)[0]

    def features(self, wave: np.ndarray, sample_rate: int, speaker: str | None = None) -> SpeechFeatures:
        """Prepares a recording of any length as those of training, and extracts the features that the model needs.

        wave: float (samples,) or (samples, channels). F0 is searched in the range of `speaker`, or in the general one.
        Raises AudioError naming what is wrong.
        """
        preparation = self.model.preparation
        mel = preparation.mel
        any_length = preparation.resample.model_copy(update={"max_seconds": math.inf})  # windows are short enough
        prepared = prepare(wave, sample_rate, mel.sample_rate, any_length)
        wave = prepared.wave
        cuts = find_cuts(wave, mel.sample_rate, preparation.trim)
        frames = frame_count(cuts.end - cuts.start, mel)
        trimmed = wave[cuts.start : cuts.start + frames * mel.hop_length]
        features = extract_features(trimmed, mel, preparation.pitch, speaker or "")
        by_encoder = self.model.speakers.conditioning.by == "encoder"
        embedding = embed(at_16_khz(trimmed, mel.sample_rate)) if by_encoder else None
        return SpeechFeatures(features.mel, features.f0, features.energy, embedding, prepared.downmix.note)

    def with_speaker(self, speaker: str, utterances: Sequence[SpeechFeatures]) -> "Converter":
        """A converter that also knows `speaker`, from utterances. Raises KoeError if the model takes no new ones."""
        known = self.model.speakers
        known.require_encoder(speaker)
        embeddings = [utterance.embedding for utterance in utterances if utterance.embedding is not None]
        if not embeddings:
            raise KoeError(f"{speaker}: the recordings are silent to the speaker encoder")
        statistics = reduce(Statistics.merge, (
            statistics_of(utterance.mel, utterance.f0, utterance.energy, known.normalization.levels.outliers)
            for utterance in utterances))
        model = replace(self.model, speakers=known.with_speaker(speaker, enrol(embeddings), statistics))
        return replace(self, model=model)

    def direction(self, source: str | None, target: str | None) -> tuple[str | None, str]:
        """The full names of the source, None for one that the recording itself introduces, and of the target.

        Raises KoeError for a name that is not known, or missing where there is a choice.
        """
        known_source, known_target = self._known(source, "source"), self._known(target, "target")
        if known_target is None:
            raise KoeError("which voice? The target speakers of this model are "
                           f"{', '.join(self.model.speakers.known)}; name one of them (koe convert --to), or introduce "
                           "one with recordings")
        return known_source, known_target

    def _known(self, name: str | None, side: Literal["source", "target"]) -> str | None:
        """The full name of a speaker; for None the only one in training, or None if there are several."""
        speakers = self.model.speakers
        if name is not None:
            return find_speaker(name, speakers.known, "--from" if side == "source" else "--to")
        only = speakers.only(side)
        if only is None and side == "source" and speakers.conditioning.by != "encoder":
            raise KoeError(f"which source speaker? This model was trained on {', '.join(speakers.trained)}; name one "
                           "of them (koe convert --from)")
        return only

    @property
    def _windows(self) -> Windows:
        preparation = self.model.preparation
        longest = preparation.resample.max_seconds if self.window_seconds is None else self.window_seconds
        frames, overlap = (frame_count(round(seconds * self.sample_rate), preparation.mel)
                           for seconds in (longest, self.overlap_seconds))
        return Windows.of_frames(frames, overlap, self.model.params.reduction.factor)

    @property
    def sample_rate(self) -> int:
        """Sample rate of converted waveforms, Hz."""
        return self.model.preparation.mel.sample_rate


def features_of_file(converter: Converter, path: str | Path, speaker: str | None = None) -> SpeechFeatures:
    """`Converter.features` of a file, with a line on stderr where the user should know something about it.

    Raises AudioError naming the file.
    """
    with naming(path):
        features = converter.features(*read_channels(path), speaker)
        for note in filter(None, (audio_info(path).note, features.note)):
            print(f"{path}: {note}", file=sys.stderr)
    return features


def convert_file(
    converter: Converter, path: str | Path, destination: str | Path, source: str | None = None,
    target: str | None = None, adjustment: Adjustment = NEUTRAL,
) -> int:
    """Converts one recording and writes it, 16 bit. Returns the number of samples that were clipped in writing."""
    known_source, _ = converter.direction(source, target)
    features = features_of_file(converter, path, known_source)
    with naming(path):
        [converted] = converter.convert_utterances([features], source, target, adjustment)
    return write_audio(destination, converted, converter.sample_rate)


def convert_files(
    converter: Converter, paths: list[Path], folder: str | Path, source: str | None = None, target: str | None = None,
    adjustment: Adjustment = NEUTRAL,
) -> Iterator[tuple[Path, Path | AudioError]]:
    """Converts recordings into `folder` under their own names; yields each with the file written, or the error.

    Recordings are read ahead and converted in groups, of at most GROUP_SECONDS of speech and the recording that exceeds
    it. Raises KoeError before the first if two of them have the same name, or for a speaker that is not known or
    missing.
    """
    folder = Path(folder)
    names = [path.stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KoeError(f"these names occur twice and would overwrite each other in {folder}: {', '.join(twice)}")
    known_source, _ = converter.direction(source, target)
    for group in _in_groups(converter, paths, known_source):
        features = {path: item for path, item in group.items() if isinstance(item, SpeechFeatures)}
        waves = dict(zip(features, converter.convert_utterances(list(features.values()), source, target, adjustment),
                         strict=True))
        for path, item in group.items():
            destination = folder / f"{path.stem}.wav"
            if isinstance(item, AudioError):
                yield path, item
                continue
            try:
                write_audio(destination, waves[path], converter.sample_rate)
            except AudioError as error:
                yield path, error
            else:
                yield path, destination


def _in_groups(
    converter: Converter, paths: list[Path], speaker: str | None
) -> Iterator[dict[Path, SpeechFeatures | AudioError]]:
    """Features of recordings, or what is wrong with them, in groups of about GROUP_SECONDS."""
    group: dict[Path, SpeechFeatures | AudioError] = {}
    frames = 0
    for path in paths:
        try:
            group[path] = features = features_of_file(converter, path, speaker)
            if speaker is None and features.embedding is None:
                raise AudioError(SILENCE, f"{path}: silent to the speaker encoder, so there is no source speaker")
            frames += len(features.mel)
        except AudioError as error:
            group[path] = error
        if frames >= GROUP_SECONDS * frame_rate(converter.model.preparation.mel):
            yield group
            group, frames = {}, 0
    if group:
        yield group
