"""What every recording goes through before anything is measured on it: in training (`resample`) and in conversion.

One waveform of its channels, at the project's rate, without what is below hearing, checked, at one loudness if that is
asked for. `prepare` does so in memory; `prepared_blocks` gives the same, up to the loudness, of a file of any length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import butter, sosfiltfilt

from koe.audio.checks import check_clipping, check_length, check_silence, clipped_share
from koe.audio.downmix import ChannelSurvey, Downmix, downmix_of
from koe.audio.files import audio_info, blocks, resample
from koe.audio.loudness import normalize_loudness
from koe.audio.params import ResampleParams

SUBSONIC = 20.0  # Hz; -6 dB there, -0.04 dB at 40 Hz, -48 dB at 10 Hz
SUBSONIC_REACH = 0.5  # s: the filter's response has decayed to 1e-10 on either side
_PADDING = 0.25  # s by which a recording is mirrored at its ends, so that its level is the same on both sides of them


@dataclass(frozen=True)
class Prepared:
    """A recording as the features are extracted from it, and what was done to it."""

    wave: np.ndarray  # float32 (samples,); a filter may overshoot, so slightly beyond [-1, 1]
    downmix: Downmix
    clipped: float  # share of the samples that were recorded, of the worst channel
    gain_db: float  # of loudness normalisation


def prepare(
    channels: np.ndarray, rate: int, to_rate: int, params: ResampleParams, where: str = "the recording"
) -> Prepared:
    """Prepares a recording, float (samples, channels) or (samples,), at `rate` Hz for features at `to_rate` Hz.

    `where` names it in messages. Raises AudioError: too short, too long, silence only, clipping.
    """
    channels = channels.reshape(len(channels), -1)
    check_length(len(channels) / rate, params, where)
    downmix = downmix_of(channels, rate)
    wave = remove_subsonic(resample(downmix(channels), rate, to_rate, params.quality), to_rate)
    check_silence(wave, to_rate, params, where)
    clipped = clipped_share(channels)
    check_clipping(clipped, params, where)
    if params.loudness_lufs is None:
        return Prepared(wave, downmix, clipped, 0.0)
    wave, gain_db = normalize_loudness(wave, to_rate, params.loudness_lufs)
    return Prepared(wave, downmix, clipped, gain_db)


def prepared_blocks(
    path: str | Path, to_rate: int, quality: str, seconds: float, downmix: Downmix | None = None
) -> Iterator[np.ndarray]:
    """The waveform that `prepare` makes of a file, before its loudness is normalised, in blocks of about `seconds`.

    float32 (samples,); a file with several channels is read twice if its `downmix` is not known. Raises AudioError as
    `read_channels` does, for what is wrong near the end of the file only there.
    """
    rate = audio_info(path).sample_rate
    waves = map(downmix or downmix_of_file(path, seconds), blocks(path, seconds))
    return _without_subsonic(_resampled(waves, rate, to_rate, quality), to_rate)


def downmix_of_file(
    path: str | Path, seconds: float = 60.0, start: float | None = None, end: float | None = None
) -> Downmix:
    """The downmix of a file, or of a part of it, which is read in blocks of `seconds` if it has several channels."""
    info = audio_info(path)
    if info.channels == 1:
        return Downmix((1,))
    survey = ChannelSurvey(info.sample_rate)
    for block in blocks(path, seconds, start, end):
        survey.add(block)
    return survey.downmix()


def remove_subsonic(wave: np.ndarray, rate: int) -> np.ndarray:
    """A waveform, float (samples,), without what is below hearing: float32 of the same length, in phase.

    A constant offset, a swaying table and wind reach energy and the lowest mel band, where an offset of 0.03 moved the
    demo's output by 12 dB. Butterworth of the fourth order, forwards and backwards. A block of a recording comes out as
    in the whole if it is given SUBSONIC_REACH more on either side, which is cut off afterwards.
    """
    if not len(wave):
        return wave.astype(np.float32)
    padding = min(len(wave) - 1, round(_PADDING * rate))
    filtered = sosfiltfilt(_high_pass(rate), wave.astype(np.float64), padtype="even", padlen=padding)
    return filtered.astype(np.float32)


@lru_cache
def _high_pass(rate: int) -> np.ndarray:
    return butter(4, SUBSONIC, "highpass", fs=rate, output="sos")


def _resampled(waves: Iterable[np.ndarray], rate: int, to_rate: int, quality: str) -> Iterator[np.ndarray]:
    if rate == to_rate:
        yield from waves
        return
    stream = soxr.ResampleStream(rate, to_rate, 1, "float32", quality)
    for wave in waves:
        yield stream.resample_chunk(wave)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _without_subsonic(waves: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """`remove_subsonic` of waveforms that follow each other."""
    reach = round(SUBSONIC_REACH * rate)
    held, done = np.zeros(0, np.float32), 0  # `done` samples of what is held have been given out
    for wave in waves:
        held = np.concatenate([held, wave])
        end = len(held) - reach
        if end - done >= reach:
            yield remove_subsonic(held, rate)[done:end]
            first = max(0, end - reach)
            held, done = held[first:], end - first
    yield remove_subsonic(held, rate)[done:]
