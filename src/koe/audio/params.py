"""Parameters of waveforms and their features: the mel contract, resampling, trimming, F0."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from koe.params.section import Section
from koe.params.types import Decibels, FftSize, Seconds, Share


class MelParams(Section):
    """The mel contract. Mels may be used together only if all of these are equal (lesson 13)."""

    sample_rate: Annotated[int, Field(ge=4000, le=192000)]
    n_fft: FftSize
    hop_length: FftSize
    win_length: FftSize
    n_mels: Annotated[int, Field(ge=1, le=1024)]
    fmin: Annotated[float, Field(ge=0)]
    fmax: Annotated[float, Field(gt=0)]
    floor: Annotated[float, Field(gt=0, lt=1)]

    def contradictions(self, name: str) -> Iterator[str]:
        if self.fmax > self.sample_rate / 2:
            yield (f"{name}.fmax: {self.fmax:g} Hz is above half of {name}.sample_rate ({self.sample_rate}); "
                   f"at most {self.sample_rate / 2:g}")
        if self.fmin >= self.fmax:
            yield f"{name}.fmin: {self.fmin:g} Hz is not below {name}.fmax ({self.fmax:g})"
        if self.win_length > self.n_fft:
            yield f"{name}.win_length: {self.win_length} is longer than {name}.n_fft ({self.n_fft})"
        if self.hop_length > self.win_length:
            yield (f"{name}.hop_length: {self.hop_length} is longer than {name}.win_length ({self.win_length}): "
                   "samples are skipped")
        if (self.n_fft - self.hop_length) % 2:
            yield (f"{name}.n_fft, {name}.hop_length: n_fft - hop_length ({self.n_fft - self.hop_length}) must be "
                   "even, because half of it is padded at each end")
        if self.n_mels > self.n_fft // 2:
            yield (f"{name}.n_mels: {self.n_mels} bands from {self.n_fft // 2 + 1} frequency bins; lower it or raise "
                   f"{name}.n_fft")


class ResampleParams(Section):
    quality: Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]
    min_seconds: Seconds
    max_seconds: Seconds
    max_clipped: Share
    silence_db: Decibels
    loudness_lufs: Annotated[float, Field(le=0, ge=-70)] | None

    def contradictions(self, name: str) -> Iterator[str]:
        if self.min_seconds >= self.max_seconds:
            yield (f"{name}.min_seconds: {self.min_seconds:g} is not below {name}.max_seconds "
                   f"({self.max_seconds:g})")


class TrimParams(Section):
    head_db: Decibels
    tail_db: Decibels
    margin_seconds: Seconds
    min_silence_seconds: Seconds
    suspect_outside_db: Decibels
    suspect_voicing: Share


class PitchParams(Section):
    method: Literal["dio", "dio_plain", "harvest", "crepe"]
    floor: Annotated[float, Field(ge=20)]
    ceiling: Annotated[float, Field(le=2000)]


class SpeakerPitch(PitchParams):
    """The pitch section with the F0 ranges of speakers for whom one is given."""

    ranges: dict[str, tuple[float, float]]  # by `<corpus>/<speaker>`: floor and ceiling, Hz
