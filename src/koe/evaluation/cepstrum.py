"""Mel-cepstra and F0 of the speech in a waveform: what MCD and the F0 metrics compare."""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np

from koe.audio.pitch import continuous_log_f0, extract_f0
from koe.listeners.packaged import SAMPLE_RATE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyworld 0.3.5 imports pkg_resources, which warns of its own removal
    import pyworld

HOP_LENGTH = 80  # 5 ms at 16 kHz, WORLD's and the literature's frame period
ALPHA = 0.42  # all-pass constant that bends 16 kHz to the mel scale, as in SPTK and HTS


@dataclass(frozen=True)
class Analysis:
    """The frames of a waveform that are speech, one every HOP_LENGTH samples; silent ones are left out."""

    cepstra: np.ndarray  # mel-cepstra (frames, order), without c0
    f0: np.ndarray  # (frames,) Hz, 0 = unvoiced


@dataclass(frozen=True)
class PitchRange:
    """How F0 is extracted: the same for all waveforms that are compared."""

    method: str
    floor: float  # Hz
    ceiling: float  # Hz


def analyse(wave: np.ndarray, pitch: PitchRange, order: int, silence_db: float) -> Analysis:
    """Analyses a float32 waveform (samples,) at 16 kHz, of at least one frame.

    The spectrum is WORLD's (CheapTrick): smooth, and free of the harmonics of the F0 passed to it. That F0 is
    interpolated over unvoiced frames: otherwise a frame's envelope would jump with the voicing decision, which the F0
    metrics measure. Frames whose power is more than `-silence_db` dB below the loudest frame's are left out.
    """
    f0 = extract_f0(wave, SAMPLE_RATE, HOP_LENGTH, pitch.method, pitch.floor, pitch.ceiling)
    bridged = np.exp(continuous_log_f0(f0)[0]) if f0.any() else f0
    times = (np.arange(len(f0)) + 0.5) * HOP_LENGTH / SAMPLE_RATE
    size = pyworld.get_cheaptrick_fft_size(SAMPLE_RATE, pitch.floor)
    power = pyworld.cheaptrick(wave.astype(np.float64), bridged.astype(np.float64), times, SAMPLE_RATE, fft_size=size)
    level = 10 * np.log10(power.mean(axis=1) + 1e-12)
    speech = level >= level.max() + silence_db
    return Analysis(mel_cepstra(power[speech], order), f0[speech])


def mel_cepstra(power: np.ndarray, order: int) -> np.ndarray:
    """Coefficients 1 to `order` of the mel-cepstrum of power spectra (frames, bins): shape (frames, order).

    The log amplitude is the sum of `c(m) cos(m warp(frequency))` over m, as in SPTK.
    """
    return 0.5 * np.log(power + 1e-16) @ _projection(power.shape[1], order)


def warp(frequency: np.ndarray) -> np.ndarray:
    """The frequency to which the first-order all-pass with constant ALPHA maps a frequency (radians, 0 to pi)."""
    return frequency + 2 * np.arctan2(ALPHA * np.sin(frequency), 1 - ALPHA * np.cos(frequency))


@cache
def _projection(bins: int, order: int) -> np.ndarray:
    """The integral that gives c(1) to c(order), as a matrix (bins, order): the trapezoidal rule over the bins."""
    frequency = np.linspace(0, np.pi, bins)
    weight = np.full(bins, 2 / (bins - 1))
    weight[[0, -1]] /= 2
    slope = (1 - ALPHA**2) / (1 - 2 * ALPHA * np.cos(frequency) + ALPHA**2)  # of `warp`
    return (weight * slope)[:, None] * np.cos(np.outer(warp(frequency), np.arange(1, order + 1)))
