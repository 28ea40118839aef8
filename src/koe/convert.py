"""Conversion, the one path that evaluation, validation's numbers and `koe convert` share.

A ladder: `convert_features` → `convert` (a waveform) → `convert_file` → `convert_files`, each a few lines over the
one before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from koe.acoustic.data import source_item
from koe.acoustic.inference import Conversion, convert_items
from koe.acoustic.model_file import AcousticModel, load_acoustic
from koe.audio.checks import check_content
from koe.audio.files import read_audio, resample, write_audio
from koe.audio.trim import find_cuts
from koe.corpus.extraction import extract_features
from koe.device import resolve_device
from koe.errors import AudioError, KoeError
from koe.store import compare_contracts
from koe.vocoder.registry import Vocoder


@dataclass
class Converter:
    """A trained acoustic model, ready to convert; with a vocoder, to speak."""

    model: AcousticModel
    device: torch.device
    vocoder: Vocoder | None = None

    @classmethod
    def load(cls, folder: str | Path, vocoder: Vocoder | None = None, device: str = "auto") -> "Converter":
        """Reads the model in `folder`. Raises ContractError if the vocoder's mel settings differ (lesson 13)."""
        model = load_acoustic(folder)
        if vocoder is not None:
            own = model.preparation.mel.contract()
            compare_contracts("the acoustic model", own, f"the vocoder ({vocoder.name})", vocoder.contract)
        where = resolve_device(device)
        model.network.to(where)
        return cls(model, where, vocoder)

    def convert_features(self, features: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[Conversion]:
        """Converts utterances given as (mel (frames, M), F0 (frames,) in Hz, energy (frames,)), in batches."""
        model = self.model
        factor = model.params.reduction_factor
        items = [source_item(mel, f0, energy, model.sides.source, factor) for mel, f0, energy in features]
        return convert_items(model.network, items, model.sides, model.params.training.batch_size, self.device)

    def convert(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        """Converts a recording: float32 (samples,) at any rate → float32 (samples,) at the model's rate.

        The recording is prepared as those of training were: resampled, checked, trimmed at head and tail. Raises
        AudioError naming what is wrong with it.
        """
        if self.vocoder is None:
            raise KoeError("this converter was loaded without a vocoder; give one to Converter.load")
        preparation = self.model.preparation
        mel = preparation.mel
        wave = resample(wave, sample_rate, mel.sample_rate, preparation.resample.quality)
        check_content(wave, mel.sample_rate, preparation.resample)
        cuts = find_cuts(wave, mel.sample_rate, preparation.trim)
        frames = mel.frames(cuts.end - cuts.start)
        trimmed = wave[cuts.start : cuts.start + frames * mel.hop_length]
        features = extract_features(trimmed, mel, preparation.pitch, preparation.source_speaker)
        [conversion] = self.convert_features([(features.mel, features.f0, features.energy)])
        return self.vocoder.synthesize([conversion.mel], [conversion.f0])[0]

    @property
    def sample_rate(self) -> int:
        """Of converted waveforms, Hz."""
        return self.model.preparation.mel.sample_rate


def convert_file(converter: Converter, source: str | Path, destination: str | Path) -> int:
    """Converts one recording and writes it, 16 bit. Returns how many samples were clipped in writing."""
    try:
        wave, rate = read_audio(source)
        converted = converter.convert(wave, rate)
    except AudioError as error:
        detail = error.detail if str(source) in error.detail else f"{source}: {error.detail}"
        raise AudioError(error.reason, detail) from None
    return write_audio(destination, converted, converter.sample_rate)


def convert_files(
    converter: Converter, sources: list[Path], folder: str | Path
) -> Iterator[tuple[Path, Path | AudioError]]:
    """Converts recordings into `folder`, keeping their names; yields each with where it went, or why it did not.

    Raises KoeError at once if two of them would take the same name.
    """
    folder = Path(folder)
    names = [source.stem for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KoeError(f"these names occur twice and would overwrite each other in {folder}: {', '.join(twice)}")
    for source in sources:
        destination = folder / f"{source.stem}.wav"
        try:
            convert_file(converter, source, destination)
        except AudioError as error:
            yield source, error
        else:
            yield source, destination
