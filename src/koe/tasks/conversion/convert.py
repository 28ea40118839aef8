"""Conversion, the one path that evaluation, validation's numbers and `koe convert` share.

A ladder: `convert_features` → `speak` (what was heard of recordings) → `convert` (a waveform) → `convert_file` →
`convert_files` (many, some at a time), each a few lines over the ones before.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from koe.audio.checks import SILENCE, check_content
from koe.audio.files import read_audio, resample, write_audio
from koe.audio.grid import frame_count, frame_rate, mel_contract
from koe.audio.loudness import normalize_loudness
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
OVERLAP_SECONDS = 4.0  # speech pauses about every two, the half in which a joint is looked for
GROUP_SECONDS = 300.0  # of speech that `convert_files` keeps in memory: some batches, to sort by length


@dataclass(frozen=True)
class Heard:
    """What is taken from an utterance: log-mel (frames, M), F0 (frames,) in Hz, 0 = unvoiced, energy (frames,); and the
    speaker embedding (256,) of models that are told of speakers by one, None otherwise or for silence.
    """

    mel: np.ndarray
    f0: np.ndarray
    energy: np.ndarray
    embedding: np.ndarray | None = None


@dataclass(frozen=True)
class Converter:
    """A trained acoustic model, ready to convert; with a vocoder, to speak.

    Recordings of up to `window_seconds` (None: as long as those of training may be) are converted whole, longer ones in
    windows of that length, which overlap by `overlap_seconds` or more.
    """

    model: AcousticModel
    device: torch.device
    vocoder: Vocoder | None = None
    window_seconds: float | None = None
    overlap_seconds: float = OVERLAP_SECONDS

    @classmethod
    def load(cls, folder: str | Path, vocoder: Vocoder | None = None, device: str = "auto") -> "Converter":
        """Reads the model in `folder`. Raises ContractError if the vocoder's mel settings differ (lesson 13)."""
        model = load_acoustic(folder)
        if vocoder is not None:
            own = mel_contract(model.preparation.mel)
            compare_contracts("the acoustic model", own, f"the vocoder ({vocoder.name})", vocoder.contract)
        where = resolve_device(device)
        model.network.to(where)
        return cls(model, where, vocoder)

    def convert_features(
        self, utterances: Sequence[Heard], directions: Sequence[Direction], adjustment: Adjustment = NEUTRAL
    ) -> list[Conversion]:
        """Converts utterances, each from a source to a target speaker that the model knows, in batches."""
        model = self.model
        items = [
            source_item(heard.mel, heard.f0, heard.energy, model.speakers, direction, model.params.reduction,
                        heard.embedding)
            for heard, direction in zip(utterances, directions, strict=True)
        ]

        def convert(items: list[SourceItem]) -> list[Conversion]:
            return convert_items(
                model.network, items, model.params.normalize_target, BATCH_SIZE, self.device, adjustment=adjustment)

        return convert_in_windows(convert, items, self._windows, model.params.reduction.factor)

    def speak(
        self, recordings: Sequence[Heard], source: str | None = None, target: str | None = None,
        adjustment: Adjustment = NEUTRAL,
    ) -> list[np.ndarray]:
        """Converts what `listen` made of recordings, in batches: float32 (samples,) each, at the model's rate.

        `source` and `target`: see `convert`. Raises KoeError for a speaker.
        """
        if self.vocoder is None:
            raise KoeError("this converter was loaded without a vocoder; give one to Converter.load")
        speaks, is_to_speak = self.direction(source, target)
        sources = [speaks or f"{UNNAMED} {number}" for number in range(1, len(recordings) + 1)]
        converter = self
        if speaks is None:
            for name, heard in zip(sources, recordings, strict=True):
                converter = converter.with_speaker(name, [heard])
        found = converter.convert_features(recordings, [Direction(name, is_to_speak) for name in sources], adjustment)
        return self.vocoder.synthesize([conversion.mel for conversion in found], [item.f0 for item in found])

    def convert(
        self, wave: np.ndarray, sample_rate: int, source: str | None = None, target: str | None = None,
        adjustment: Adjustment = NEUTRAL,
    ) -> np.ndarray:
        """Converts a recording: float32 (samples,) at any rate → float32 (samples,) at the model's rate.

        `source` and `target` are speakers the model knows, with or without corpus; not needed where training had one.
        A source that is not given is introduced by the recording itself, if the model takes embeddings. The recording
        is prepared as those of training were: resampled, checked, trimmed at head and tail; it may be longer. Raises
        AudioError naming what is wrong with it, KoeError for a speaker.
        """
        speaks, _ = self.direction(source, target)
        return self.speak([self.listen(wave, sample_rate, speaks)], source, target, adjustment)[0]

    def listen(self, wave: np.ndarray, sample_rate: int, speaker: str | None = None) -> Heard:
        """Prepares a recording of any length as those of training were, and extracts what the model takes.

        F0 is looked for in the range of `speaker`, or in the general one. Raises AudioError naming what is wrong.
        """
        preparation = self.model.preparation
        mel = preparation.mel
        wave = resample(wave, sample_rate, mel.sample_rate, preparation.resample.quality)
        any_length = preparation.resample.model_copy(update={"max_seconds": math.inf})  # windows do not mind
        check_content(wave, mel.sample_rate, any_length)
        if preparation.resample.loudness_lufs is not None:
            wave, _ = normalize_loudness(wave, mel.sample_rate, preparation.resample.loudness_lufs)
        cuts = find_cuts(wave, mel.sample_rate, preparation.trim)
        frames = frame_count(cuts.end - cuts.start, mel)
        trimmed = wave[cuts.start : cuts.start + frames * mel.hop_length]
        features = extract_features(trimmed, mel, preparation.pitch, speaker or "")
        by_encoder = self.model.speakers.conditioning.by == "encoder"
        embedding = embed(at_16_khz(trimmed, mel.sample_rate)) if by_encoder else None
        return Heard(features.mel, features.f0, features.energy, embedding)

    def with_speaker(self, speaker: str, recordings: Sequence[Heard]) -> "Converter":
        """A converter that also knows `speaker`, by recordings. Raises KoeError if the model takes nobody new."""
        known = self.model.speakers
        known.require_encoder(speaker)
        embeddings = [heard.embedding for heard in recordings if heard.embedding is not None]
        if not embeddings:
            raise KoeError(f"{speaker}: the recordings are silent to the speaker encoder")
        statistics = reduce(Statistics.merge, (
            statistics_of(heard.mel, heard.f0, heard.energy, known.normalization.levels.outliers)
            for heard in recordings))
        model = replace(self.model, speakers=known.with_speaker(speaker, enrol(embeddings), statistics))
        return replace(self, model=model)

    def direction(self, source: str | None, target: str | None) -> tuple[str | None, str]:
        """The full names of who speaks, None for somebody the recording itself introduces, and who is to speak.

        Raises KoeError for a name that is not known, or missing where there is a choice.
        """
        speaks, is_to_speak = self._known(source, "source"), self._known(target, "target")
        if is_to_speak is None:
            raise KoeError(f"which voice? This model speaks as {', '.join(self.model.speakers.known)}; name one of "
                           "them (koe convert --to), or introduce one with recordings")
        return speaks, is_to_speak

    def _known(self, name: str | None, side: Literal["source", "target"]) -> str | None:
        """The full name of a speaker; the only one of the training where none is given, or None if there are more."""
        speakers = self.model.speakers
        if name is not None:
            return find_speaker(name, speakers.known, "--from" if side == "source" else "--to")
        only = speakers.only(side)
        if only is None and side == "source" and speakers.conditioning.by != "encoder":
            raise KoeError(f"who speaks? This model was trained on {', '.join(speakers.trained)}; name one of them "
                           "(koe convert --from)")
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
        """Of converted waveforms, Hz."""
        return self.model.preparation.mel.sample_rate


def hear_file(converter: Converter, path: str | Path, speaker: str | None = None) -> Heard:
    """`Converter.listen` on a file. Raises AudioError naming the file."""
    with _naming(path):
        return converter.listen(*read_audio(path), speaker)


def convert_file(
    converter: Converter, path: str | Path, destination: str | Path, source: str | None = None,
    target: str | None = None, adjustment: Adjustment = NEUTRAL,
) -> int:
    """Converts one recording and writes it, 16 bit. Returns how many samples were clipped in writing."""
    with _naming(path):
        converted = converter.convert(*read_audio(path), source, target, adjustment)
    return write_audio(destination, converted, converter.sample_rate)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Within it an AudioError names the file."""
    try:
        yield
    except AudioError as error:
        detail = error.detail if str(path) in error.detail else f"{path}: {error.detail}"
        raise AudioError(error.reason, detail) from None


def convert_files(
    converter: Converter, paths: list[Path], folder: str | Path, source: str | None = None, target: str | None = None,
    adjustment: Adjustment = NEUTRAL,
) -> Iterator[tuple[Path, Path | AudioError]]:
    """Converts recordings into `folder`, keeping their names; yields each with where it went, or why it did not.

    Some are read ahead and converted together, at most GROUP_SECONDS of speech and the recording that exceeds it.
    Raises KoeError at once if two of them would take the same name, or for a speaker.
    """
    folder = Path(folder)
    names = [path.stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KoeError(f"these names occur twice and would overwrite each other in {folder}: {', '.join(twice)}")
    speaks, _ = converter.direction(source, target)
    for group in _in_groups(converter, paths, speaks):
        heard = {path: found for path, found in group.items() if isinstance(found, Heard)}
        waves = dict(zip(heard, converter.speak(list(heard.values()), source, target, adjustment), strict=True))
        for path, found in group.items():
            destination = folder / f"{path.stem}.wav"
            if isinstance(found, AudioError):
                yield path, found
                continue
            try:
                write_audio(destination, waves[path], converter.sample_rate)
            except AudioError as error:
                yield path, error
            else:
                yield path, destination


def _in_groups(
    converter: Converter, paths: list[Path], speaker: str | None
) -> Iterator[dict[Path, Heard | AudioError]]:
    """Recordings heard, or why they were not, in groups of about GROUP_SECONDS."""
    group: dict[Path, Heard | AudioError] = {}
    frames = 0
    for path in paths:
        try:
            group[path] = found = hear_file(converter, path, speaker)
            if speaker is None and found.embedding is None:
                raise AudioError(SILENCE, f"{path}: silent to the speaker encoder, so nobody to convert from")
            frames += len(found.mel)
        except AudioError as error:
            group[path] = error
        if frames >= GROUP_SECONDS * frame_rate(converter.model.preparation.mel):
            yield group
            group, frames = {}, 0
    if group:
        yield group
