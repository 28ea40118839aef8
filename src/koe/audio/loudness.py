"""Loudness by ITU-R BS.1770-4, and normalisation of a recording to a loudness.

The K-weighting is pyloudnorm's; the gating, a loop over blocks there, is vectorised here.
"""

import math
from functools import lru_cache

import numpy as np
from pyloudnorm import Meter
from scipy.signal import sosfilt

from koe.audio.powers import StepPowers

GATE_LUFS = -70.0  # BS.1770-4: quieter blocks are silence and do not count
RELATIVE_GATE = -10.0  # loudness units below the loudness of what passes the first gate
STEPS_PER_SECOND = 10  # blocks of 0.4 s, each 0.1 s after the one before
STEPS_PER_BLOCK = 4
_OFFSET = -0.691  # of BS.1770-4, equation 2: the K-weighting's gain at 1 kHz
_HIGHEST = 32767 / 32768  # the largest 16-bit sample: nothing that is normalised clips when it is stored


def integrated_loudness(wave: np.ndarray, rate: int) -> float:
    """Integrated loudness of one channel, float (samples,): LUFS (ITU-R BS.1770-4, annex 1), at least GATE_LUFS.

    A waveform shorter than a block of 0.4 s is measured as one block.
    """
    if not len(wave):
        return GATE_LUFS
    weighted = np.square(sosfilt(_k_weighting(rate), wave.astype(np.float64)))
    step = round(rate / STEPS_PER_SECOND)
    steps = len(weighted) // step
    if steps < STEPS_PER_BLOCK:
        return _lufs(float(weighted.mean()))
    return _gated(weighted[: steps * step].reshape(steps, step).mean(axis=1))


class LoudnessMeter:
    """`integrated_loudness` of a waveform that comes in pieces, of 0.4 s or more in all."""

    def __init__(self, rate: int) -> None:
        self._powers = StepPowers(_k_weighting(rate), round(rate / STEPS_PER_SECOND))

    def add(self, wave: np.ndarray) -> None:
        """Takes the next piece, float (samples,)."""
        self._powers.add(wave)

    def lufs(self) -> float:
        """The loudness so far, at least GATE_LUFS."""
        return _gated(self._powers.so_far())


def _gated(powers: np.ndarray) -> float:
    """Loudness by the weighted power of each step of 0.1 s."""
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    blocks = np.maximum(sums[STEPS_PER_BLOCK:] - sums[:-STEPS_PER_BLOCK], 0.0) / STEPS_PER_BLOCK
    audible = blocks[blocks > _power(GATE_LUFS)]
    if not len(audible):
        return GATE_LUFS
    return _lufs(float(audible[audible > audible.mean() * 10 ** (RELATIVE_GATE / 10)].mean()))


def normalize_loudness(wave: np.ndarray, rate: int, target: float) -> tuple[np.ndarray, float]:
    """A waveform, float32 (samples,), brought to `target` LUFS, and the gain in dB that was applied.

    The gain is limited so that the highest sample stays within full scale; a peak beyond full scale (resampling
    overshoots) is brought down to it. Silence by BS.1770 gets no other gain than that. Dividing by `10 ** (gain / 20)`
    undoes it.
    """
    peak = float(np.abs(wave).max(initial=0.0))
    loudness = integrated_loudness(wave, rate)
    gain_db = gain_to(target, loudness, peak)
    return (wave * 10 ** (gain_db / 20)).astype(np.float32), gain_db


def gain_to(target: float, loudness: float, peak: float) -> float:
    """The gain of `normalize_loudness`, dB, for a waveform of a loudness and a highest sample."""
    desired_db = target - loudness if loudness > GATE_LUFS else 0.0
    return min(desired_db, 20 * math.log10(_HIGHEST / peak)) if peak > 0 else 0.0


@lru_cache
def _k_weighting(rate: int) -> np.ndarray:
    """Both stages of the K-weighting as second-order sections, (2, 6).

    pyloudnorm's class DeMan: the one that has BS.1770's own coefficients at 48 kHz.
    """
    stages = Meter(rate, filter_class="DeMan")._filters.values()
    return np.array([np.concatenate([stage.b, stage.a]) for stage in stages])


def _lufs(power: float) -> float:
    return max(GATE_LUFS, _OFFSET + 10 * math.log10(power)) if power > 0 else GATE_LUFS


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))
