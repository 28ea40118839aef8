"""Reasons why a recording is unusable, in one place, and the checks of a waveform's content.

Every check raises AudioError with one of the reasons below, under which the recording is quarantined and counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from koe.audio.params import ResampleParams
from koe.errors import AudioError, KoeError

UNREADABLE = "unreadable"
TRUNCATED = "truncated"
DAMAGED = "damaged"
SEVERAL_STREAMS = "several_streams"
IMPLAUSIBLE_RATE = "implausible_sample_rate"
ZERO_SAMPLES = "zero_samples"
NOT_FINITE = "nan_or_infinity"
OUT_OF_RANGE = "out_of_range"
TOO_SHORT = "too_short"
TOO_LONG = "too_long"
SILENCE = "silence_only"
CLIPPING = "clipping"
UNVOICED = "unvoiced_throughout"

FLOOR_DB = -120.0  # stands for digital silence, below what 16 bits can hold
FULL_SCALE = 0.99  # 8-bit recordings reach 127/128
CLIPPED_RUN = 3  # equal samples at full scale; a loud tone that is not clipped has fewer
LEVEL_SECONDS = 0.05
NOISE_PERCENTILE = 10  # pauses and the ends of a recording make up at least a tenth of it


@contextmanager
def naming(recording: str | Path) -> Iterator[None]:
    """Within it every error, of whatever library, becomes an AudioError that names the recording.

    One recording may not end the work on all the others: a damaged header can make a library ask for more memory than
    there is, or divide by zero.
    """
    name = str(recording)
    try:
        yield
    except AudioError as error:
        if name in error.detail:
            raise
        raise AudioError(error.reason, f"{name}: {error.detail}") from error
    except KoeError:
        raise
    except MemoryError as error:
        raise AudioError(UNREADABLE, f"{name}: more memory is needed to read it than there is") from error
    except Exception as error:
        raise AudioError(UNREADABLE, f"{name}: damaged, or not the format of its suffix "
                                     f"({type(error).__name__}: {error})") from error


def decibels(amplitude: float) -> float:
    """Amplitude as dB of full scale, at least FLOOR_DB."""
    return max(FLOOR_DB, 20 * float(np.log10(max(amplitude, 1e-12))))


def loudest(wave: np.ndarray, rate: int, seconds: float = LEVEL_SECONDS) -> float:
    """RMS of the loudest `seconds` of a waveform (samples,); of all of it if it is shorter, 0 if it is empty."""
    length = min(len(wave), max(1, round(seconds * rate)))
    if length == 0:
        return 0.0
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    return float(np.sqrt(max(0.0, np.max(energy[length:] - energy[:-length])) / length))


def noise_floor(wave: np.ndarray, rate: int) -> float:
    """Background level of an untrimmed waveform (samples,): dB of full scale, at least FLOOR_DB.

    The 10th percentile of the levels of 50 ms stretches, the waveform's mean removed; a shorter waveform is one
    stretch. Without pauses it is the level of the quietest speech, so it is an upper bound.
    """
    length = min(len(wave), max(1, round(LEVEL_SECONDS * rate)))
    if length == 0:
        return FLOOR_DB
    frames = (wave - wave.mean())[: len(wave) // length * length].reshape(-1, length)
    return decibels(float(np.sqrt(np.percentile(np.square(frames).mean(axis=1), NOISE_PERCENTILE))))


def clipped_share(channels: np.ndarray) -> float:
    """Share of clipped samples of channels, (samples,) or (samples, channels): that of the worst channel.

    Samples are clipped in a run of at least CLIPPED_RUN equal values at full scale: flat tops. Reaching full scale
    for a moment is not clipping.
    """
    if len(channels) < CLIPPED_RUN:
        return 0.0
    channels = channels.reshape(len(channels), -1)
    flat = (channels[1:] == channels[:-1]) & (np.abs(channels[1:]) >= FULL_SCALE)
    run = np.logical_and.reduce([flat[shift:len(flat) - (CLIPPED_RUN - 2) + shift] for shift in range(CLIPPED_RUN - 1)])
    clipped = np.zeros(channels.shape, dtype=bool)
    for shift in range(CLIPPED_RUN):
        clipped[shift:shift + len(run)] |= run
    return float(clipped.mean(axis=0).max())


def check_length(seconds: float, params: ResampleParams, where: str) -> None:
    """Raises AudioError (too short, too long) unless `seconds` is within the limits of `resample:`."""
    if seconds < params.min_seconds:
        raise AudioError(TOO_SHORT, f"{where}: {seconds:.3f} s, resample.min_seconds is {params.min_seconds:g}")
    if seconds > params.max_seconds:
        raise AudioError(TOO_LONG, f"{where}: {seconds:.1f} s, resample.max_seconds is {params.max_seconds:g}")


def check_silence(wave: np.ndarray, rate: int, params: ResampleParams, where: str) -> None:
    """Raises AudioError (silence only) unless 50 ms of `wave`, its mean removed, are above `silence_db`."""
    check_loudest(loudest(wave - wave.mean(), rate), params, where)


def check_loudest(amplitude: float, params: ResampleParams, where: str) -> None:
    """`check_silence` by the RMS of the loudest 50 ms."""
    level = decibels(amplitude)
    if level <= params.silence_db:
        raise AudioError(SILENCE, f"{where}: the loudest 50 ms are at {level:.0f} dB of full scale, "
                                  f"resample.silence_db is {params.silence_db:g}")


def check_clipping(share: float, params: ResampleParams, where: str) -> None:
    """Raises AudioError (clipping) if more than `max_clipped` of the samples are clipped."""
    if share > params.max_clipped:
        raise AudioError(CLIPPING, f"{where}: {share:.1%} of its samples are clipped, "
                                   f"resample.max_clipped is {params.max_clipped:g}")
