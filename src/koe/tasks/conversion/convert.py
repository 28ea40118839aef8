"""Conversion with a trained model: one path for evaluation and `koe convert`.

A ladder: `convert_features` → `convert_utterances` (features to waveforms) → `convert` (a waveform) → `convert_file` →
`convert_files` (many, in groups), each a few lines over the ones before. Recordings longer than LONGEST_SECONDS are
converted in stretches (koe.tasks.conversion.stretches).
"""

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from koe.audio.checks import FLOOR_DB, SILENCE, UNVOICED, decibels, loudest, naming
from koe.audio.files import audio_info, read_channels, write_audio, writing_audio
from koe.audio.grid import frame_count, frame_rate, mel_contract
from koe.audio.mel import mel_and_energy
from koe.audio.pitch import pitch_range
from koe.audio.preparation import prepare
from koe.audio.trim import find_cuts
from koe.corpus.extraction import extract_features
from koe.corpus.statistics import NOTHING, statistics_of
from koe.device import is_out_of_memory, resolve_device
from koe.errors import AudioError, KoeError
from koe.listeners.packaged import at_16_khz
from koe.listeners.speaker import embed, enrol
from koe.names import Direction, find_speaker
from koe.store import compare_contracts
from koe.tasks.conversion.data import SourceItem, source_item
from koe.tasks.conversion.inference import BATCH_SIZE, NEUTRAL, Adjustment, Conversion, convert_items
from koe.tasks.conversion.model_file import AcousticModel, load_acoustic
from koe.tasks.conversion.outputs import output_file, outputs_in
from koe.tasks.conversion.stretches import stretches, survey_recording
from koe.tasks.conversion.windows import Windows, convert_in_windows
from koe.vocoder.registry import Vocoder

UNNAMED = "the speaker of recording"
OVERLAP_SECONDS = 4.0  # a joint is searched in half of it, and speech has a pause about every two seconds
GROUP_SECONDS = 300.0  # of speech that `convert_files` holds in memory: several batches, to sort by length
LONGEST_SECONDS = 300.0  # of a recording that is converted as a whole
STRETCH_SECONDS = 120.0  # of the stretches of a longer one: two batches of windows, in 0.4 GB
FADE_SECONDS = 0.005  # at both ends of a converted stretch
QUIETER_DB = 20.0  # a result that much below its recording is told; voices of one sentence differ by less


@dataclass(frozen=True)
class SpeechFeatures:
    """Features of an utterance that the model converts, not normalised."""

    mel: np.ndarray  # (frames, M) log-mel
    f0: np.ndarray  # (frames,) Hz, 0 = unvoiced
    energy: np.ndarray  # (frames,)
    embedding: np.ndarray | None = None  # (256,) of the speaker; None: for silence, or `conditioning.by` is not encoder
    note: str = ""  # what the user should know about the recording
    level_db: float = FLOOR_DB  # loudest 50 ms of the prepared waveform


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
        features = self.features_of_speech(wave[cuts.start : cuts.start + frames * mel.hop_length], speaker)
        return replace(features, note=prepared.downmix.note)

    def features_of_speech(self, wave: np.ndarray, speaker: str | None = None) -> SpeechFeatures:
        """The second half of `features`, from a prepared waveform, float32 (samples,), at the model's rate."""
        preparation = self.model.preparation
        features = extract_features(wave, preparation.mel, preparation.pitch, speaker or "")
        return SpeechFeatures(features.mel, features.f0, features.energy, self._embedding(wave),
                              level_db=self.level(wave))

    def features_of_whisper(self, wave: np.ndarray, speaker: str | None = None) -> SpeechFeatures:
        """As `features_of_speech`, of a stretch in which no frame is voiced, in a recording that has voiced ones.

        Its pitch, which is not heard but which the model takes, is the middle of the speaker's range: one frame has it,
        and the pitch between voiced frames is interpolated.
        """
        preparation = self.model.preparation
        with torch.inference_mode():
            mel, energy = mel_and_energy(torch.from_numpy(wave), preparation.mel)
        f0 = np.zeros(len(mel), np.float32)
        f0[0] = math.sqrt(math.prod(pitch_range(preparation.pitch, speaker or "")))
        return SpeechFeatures(mel.numpy(), f0, energy.numpy(), self._embedding(wave), level_db=self.level(wave))

    def _embedding(self, wave: np.ndarray) -> np.ndarray | None:
        by_encoder = self.model.speakers.conditioning.by == "encoder"
        return embed(at_16_khz(wave, self.sample_rate)) if by_encoder else None

    def level(self, wave: np.ndarray) -> float:
        """The loudest 50 ms of a waveform, float (samples,) at the model's rate: dB of full scale."""
        return decibels(loudest(wave, self.sample_rate))

    def with_speaker(self, speaker: str, utterances: Iterable[SpeechFeatures]) -> "Converter":
        """A converter that also knows `speaker`, from utterances, of which one at a time is held in memory.

        Raises KoeError if the model takes no new speakers, or the utterances are silent.
        """
        known = self.model.speakers
        known.require_encoder(speaker)
        embeddings, statistics = [], NOTHING
        for utterance in utterances:
            statistics = statistics.merge(statistics_of(
                utterance.mel, utterance.f0, utterance.energy, known.normalization.levels.outliers))
            if utterance.embedding is not None:
                embeddings.append(utterance.embedding)
        if not embeddings:
            raise KoeError(f"{speaker}: the recordings are silent to the speaker encoder")
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
        _print_notes(path, features.note)
    return features


def _print_notes(path: str | Path, note: str) -> None:
    """What the user should know about a recording: of its file, and the note on its channels."""
    for text in filter(None, (audio_info(path).note, note)):
        print(f"{path}: {text}", file=sys.stderr)


def _print_loss(path: str | Path, before_db: float, after_db: float, adjustment: Adjustment) -> None:
    """A line on stderr if a result is far quieter than its recording, by their loudest 50 ms."""
    loss = before_db - after_db + min(0.0, decibels(adjustment.energy))
    if loss > QUIETER_DB:
        print(f"{path}: the result is {loss:.0f} dB quieter than the recording; is it speech, and of the speaker that "
              "the model knows as the source?", file=sys.stderr)


def is_long(path: str | Path) -> bool:
    """Whether a recording is converted in stretches. Raises AudioError if it cannot be read."""
    return audio_info(path).seconds > LONGEST_SECONDS


def features_in_stretches(
    converter: Converter, path: str | Path, speaker: str | None = None
) -> Iterator[SpeechFeatures]:
    """`features_of_file` in bounded memory: of all of the recording at once, or of stretches if it is long.

    Raises AudioError naming the file, for stretches possibly at the end.
    """
    if not is_long(path):
        yield features_of_file(converter, path, speaker)
        return
    preparation = converter.model.preparation
    unit = preparation.mel.hop_length * converter.model.params.reduction.factor
    voiced = False
    with naming(path):
        survey = survey_recording(Path(path), preparation, STRETCH_SECONDS, unit)
        _print_notes(path, survey.downmix.note)
        for wave in stretches(Path(path), preparation, survey):
            try:
                features = converter.features_of_speech(wave, speaker)
                voiced = True
            except AudioError as error:
                if error.reason != UNVOICED:
                    raise
                features = converter.features_of_whisper(wave, speaker)
            yield features
        if not voiced:
            raise AudioError(UNVOICED, f"no F0 in any of its stretches of {STRETCH_SECONDS:g} s")


def convert_file(
    converter: Converter, path: str | Path, destination: str | Path, source: str | None = None,
    target: str | None = None, adjustment: Adjustment = NEUTRAL, overwrite: bool = False,
    protected: Collection[Path] = (),
) -> int:
    """Converts one recording and writes it, 16 bit. Returns the number of samples that were clipped in writing.

    A recording of more than LONGEST_SECONDS is converted in stretches of STRETCH_SECONDS or so, cut in pauses, so that
    memory does not grow with its length. Raises KoeError before any work if `destination` may not be written
    (koe.destinations): if it is the recording itself or one of `protected`, or exists and `overwrite` is false.
    """
    path = Path(path)
    destination = output_file(path, Path(destination), protected, overwrite)
    known_source, _ = converter.direction(source, target)
    long = is_long(path)
    if long and known_source is None:
        converter, source = _introduced(converter, path)
    expected = audio_info(path).seconds / adjustment.speed * converter.sample_rate
    clipped, before_db, after_db = 0, FLOOR_DB, FLOOR_DB
    with writing_audio(destination, converter.sample_rate, expected) as write:
        for features in features_in_stretches(converter, path, known_source):
            with _naming(path):
                [wave] = converter.convert_utterances([features], source, target, adjustment)
            before_db, after_db = max(before_db, features.level_db), max(after_db, converter.level(wave))
            clipped += write(_faded(wave, converter.sample_rate) if long else wave)
    _print_loss(path, before_db, after_db, adjustment)
    return clipped


def _introduced(converter: Converter, path: Path) -> tuple[Converter, str]:
    """The converter with a speaker whom a long recording introduces by its first stretch of speech, and the name."""
    for features in features_in_stretches(converter, path):
        if features.embedding is not None and np.count_nonzero(features.f0) > 1:
            name = f"{UNNAMED} {path}"
            return converter.with_speaker(name, [features]), name
    raise _introduces_nobody(path)


def _faded(wave: np.ndarray, rate: int) -> np.ndarray:
    """A stretch that begins and ends at zero, so that nothing clicks where it meets the next one, in a pause."""
    edge = min(len(wave) // 2, round(FADE_SECONDS * rate))
    if edge == 0:
        return wave
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    return np.concatenate([wave[:edge] * ramp, wave[edge:-edge], wave[-edge:] * ramp[::-1]])


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Within it an AudioError names the recording. Other errors, which are the model's, stay as they are."""
    try:
        yield
    except AudioError as error:
        raise AudioError(error.reason, f"{path}: {error.detail}") from error


def convert_files(
    converter: Converter, paths: list[Path], folder: str | Path, source: str | None = None, target: str | None = None,
    adjustment: Adjustment = NEUTRAL, overwrite: bool = False, protected: Collection[Path] = (),
) -> Iterator[tuple[Path, Path | KoeError]]:
    """Converts recordings into `folder` under their own names; yields each with the file written, or the error.

    Recordings are read ahead and converted in groups, of at most GROUP_SECONDS of speech and the recording that exceeds
    it; longer ones by themselves, as by `convert_file`. No error of one recording ends the others, whatever its kind:
    it is yielded. What ends all is an interruption, and a model that runs out of memory. Raises KoeError before the
    first if two of them have the same name, or for a speaker that is not known or missing.
    """
    outputs = outputs_in(Path(folder), paths, protected, overwrite)
    known_source, _ = converter.direction(source, target)
    for group in _in_groups(converter, outputs, known_source):
        features = {path: item for path, item in group.items() if isinstance(item, SpeechFeatures)}
        results = group | _convert_group(converter, features, source, target, adjustment)
        for path, result in results.items():
            output = outputs[path]
            if isinstance(output, KoeError) or isinstance(result, KoeError):
                yield path, result if isinstance(result, KoeError) else output
                continue
            try:
                if isinstance(result, np.ndarray):
                    write_audio(output, result, converter.sample_rate)
                    _print_loss(path, features[path].level_db, converter.level(result), adjustment)
                else:
                    convert_file(converter, path, output, source, target, adjustment, overwrite, protected)
            except Exception as error:
                yield path, _error_of(path, error)
            else:
                yield path, output


def _convert_group(
    converter: Converter, features: Mapping[Path, SpeechFeatures], source: str | None, target: str | None,
    adjustment: Adjustment,
) -> dict[Path, np.ndarray | KoeError]:
    """Waveforms of recordings, converted together; if that fails, each by itself, to find which one it is."""
    try:
        waves = converter.convert_utterances(list(features.values()), source, target, adjustment)
    except Exception as error:
        if len(features) == 1:
            return {path: _error_of(path, error) for path in features}
        if is_out_of_memory(error):
            raise
        alone = [_convert_group(converter, {path: item}, source, target, adjustment)
                 for path, item in features.items()]
        return {path: result for results in alone for path, result in results.items()}
    return dict(zip(features, waves, strict=True))


def _error_of(path: Path, error: Exception) -> KoeError:
    """An error as that of one recording. One of the model's memory is raised: it would come again."""
    if isinstance(error, KoeError):
        return error
    if is_out_of_memory(error):
        raise error
    named = KoeError(f"{path}: {type(error).__name__}: {error}")
    named.__cause__ = error
    return named


def _in_groups(
    converter: Converter, outputs: Mapping[Path, Path | KoeError], speaker: str | None
) -> Iterator[dict[Path, SpeechFeatures | KoeError | None]]:
    """Features of recordings, or what is wrong with them, in groups of about GROUP_SECONDS; None for a long one."""
    group: dict[Path, SpeechFeatures | KoeError | None] = {}
    frames = 0
    for path, output in outputs.items():
        if isinstance(output, KoeError):
            group[path] = output
            continue
        try:
            group[path] = features = None if is_long(path) else features_of_file(converter, path, speaker)
            if features is not None:
                if speaker is None and features.embedding is None:
                    raise _introduces_nobody(path)
                frames += len(features.mel)
        except Exception as error:  # of any class: decoders and readers raise many, and it is this file's
            group[path] = _error_of(path, error)
        if frames >= GROUP_SECONDS * frame_rate(converter.model.preparation.mel):
            yield group
            group, frames = {}, 0
    if group:
        yield group


def _introduces_nobody(path: Path) -> AudioError:
    return AudioError(SILENCE, f"{path}: silent to the speaker encoder, so there is no source speaker")
