"""Where speech starts and ends: silence is cut at head and tail, never inside (lesson 9), and every cut is scored.

A cut into a word leaves speech outside it. Two scores reveal that (lesson 10): how loud the loudest 50 ms outside are,
and whether the waveform just outside the cut is voiced.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfiltfilt

from koe.audio.checks import FLOOR_DB, loudest
from koe.audio.params import TrimParams
from koe.audio.powers import StepPowers

HIGH_PASS = 100.0  # Hz; rumble and hum below it mask the soft ends of words (as in voice m001)
FRAME_SECONDS = 0.02  # of the short-time level
STEP_SECONDS = 0.005
EDGE_SECONDS = 0.05  # outside a cut, where voicing is measured: more than two periods at PITCH_FLOOR
PITCH_FLOOR = 55.0  # Hz
PITCH_CEILING = 500.0  # Hz
EDGE_DB = -55.0  # below this, relative to the loudest frame, an edge counts as silence (m001 rumbles), not voiced


@dataclass(frozen=True)
class Cuts:
    """The part of a recording that is kept, `wave[start:end]`, and the scores of the two cuts."""

    start: int  # samples
    end: int  # samples
    head_seconds: float  # cut off
    tail_seconds: float  # cut off
    outside_head_db: float  # loudest 50 ms that were cut off, relative to the loudest frame; FLOOR_DB if there are none
    outside_tail_db: float  # as outside_head_db
    voicing_head: float  # normalised autocorrelation outside the cut, 0 to 1
    voicing_tail: float  # as voicing_head
    why: str  # what makes a cut suspect; empty if nothing does

    @property
    def suspect(self) -> bool:
        return bool(self.why)


def find_cuts(wave: np.ndarray, rate: int, params: TrimParams) -> Cuts:
    """Cut points of a waveform, float (samples,).

    Speech lasts from the first frame above `head_db` to the last above `tail_db` (dB relative to the loudest 20 ms
    frame), and `margin_seconds` more on both sides. An end with less silence than `min_silence_seconds` is left
    uncut, and so is a waveform of zeros. All levels are measured above HIGH_PASS.
    """
    wave = _high_pass(wave, rate)
    levels, step = _levels(wave, rate)
    peak = levels.max(initial=0.0)
    start, end = speech_span(levels, peak, step, len(wave), rate, params)
    head, tail = wave[:start], wave[end:]
    edge = round(EDGE_SECONDS * rate)
    outside = [_relative_db(loudest(part, rate), peak) for part in (head, tail)]
    voicing = [_edge_voicing(part, rate, peak) for part in (head[-edge:], tail[:edge])]
    return Cuts(start, end, len(head) / rate, len(tail) / rate, outside[0], outside[1], voicing[0], voicing[1],
                _why(outside, voicing, params))


def _high_pass(wave: np.ndarray, rate: int) -> np.ndarray:
    """The waveform above HIGH_PASS, in phase with it, the same length."""
    if not len(wave):
        return wave
    return sosfiltfilt(_high_pass_sections(rate), wave, padlen=min(len(wave) - 1, rate // 20))


@lru_cache
def _high_pass_sections(rate: int) -> np.ndarray:
    return butter(2, HIGH_PASS, "highpass", fs=rate, output="sos")


class LevelMeter:
    """The levels by which `find_cuts` cuts, of a waveform that comes in pieces."""

    def __init__(self, rate: int) -> None:
        self.step = max(1, round(STEP_SECONDS * rate))  # samples
        self._frame = max(1, round(FRAME_SECONDS * rate) // self.step)  # steps
        # Twice, for the slope that filtering forwards and backwards has.
        self._powers = StepPowers(np.concatenate([_high_pass_sections(rate)] * 2), self.step)

    def add(self, wave: np.ndarray) -> None:
        """Takes the next piece, float (samples,)."""
        self._powers.add(wave)

    def rms(self, seconds: float = FRAME_SECONDS) -> np.ndarray:
        """RMS of every stretch of `seconds`, one a step, the first at the first sample."""
        steps = max(1, round(seconds / FRAME_SECONDS * self._frame))
        energy = np.concatenate([[0.0], np.cumsum(self._powers.so_far())])
        steps = min(steps, len(energy) - 1)
        return np.sqrt(np.maximum(0.0, energy[steps:] - energy[:-steps]) / steps) if steps else np.zeros(0)


def speech_span(
    levels: np.ndarray, peak: float, step: int, samples: int, rate: int, params: TrimParams
) -> tuple[int, int]:
    """First and last (excluded) sample of what is kept, by RMS levels of 20 ms, one each `step` samples."""
    if peak <= 0:
        return 0, samples
    first = int(np.argmax(levels >= peak * _amplitude(params.head_db))) * step
    last = (len(levels) - 1 - int(np.argmax(levels[::-1] >= peak * _amplitude(params.tail_db)))) * step
    last = min(samples, last + round(FRAME_SECONDS * rate))
    margin, least = round(params.margin_seconds * rate), params.min_silence_seconds * rate
    start = max(0, first - margin) if first >= least else 0
    end = min(samples, last + margin) if samples - last >= least else samples
    return start, end


def _levels(wave: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """RMS of 20 ms frames every 5 ms, the first at sample 0, covering all samples; and the step, samples."""
    frame, step = max(1, round(FRAME_SECONDS * rate)), max(1, round(STEP_SECONDS * rate))
    count = 1 + max(0, -(-(len(wave) - frame) // step))
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    begin = np.arange(count) * step
    finish = np.minimum(begin + frame, len(wave))
    return np.sqrt(np.maximum(0.0, energy[finish] - energy[begin]) / frame), step


def _edge_voicing(edge: np.ndarray, rate: int, peak: float) -> float:
    """Highest normalised cross-correlation of an edge with itself at lags of 55 to 500 Hz; 0 for silence.

    The measure of Talkin's RAPT: the product of two stretches one lag apart, divided by the root of the product of
    their energies.
    """
    longest, shortest = round(rate / PITCH_FLOOR), round(rate / PITCH_CEILING)
    window = len(edge) - longest
    if window < longest or _relative_db(float(np.sqrt(np.mean(edge**2))), peak) < EDGE_DB:
        return 0.0
    wave = edge.astype(np.float64) - edge.mean(dtype=np.float64)
    delayed = np.lib.stride_tricks.sliding_window_view(wave, window)[shortest:longest + 1]
    energy = np.einsum("kn,kn->k", delayed, delayed)
    reference = wave[:window]
    score = delayed @ reference / np.sqrt(np.maximum(energy * (reference @ reference), 1e-20))
    return float(np.clip(score.max(), 0.0, 1.0))


def _why(outside: list[float], voicing: list[float], params: TrimParams) -> str:
    reasons = []
    for end, level, voiced in zip(("head", "tail"), outside, voicing, strict=True):
        if level > params.suspect_outside_db:
            reasons.append(f"{end}: up to {level:.0f} dB outside the cut")
        if voiced > params.suspect_voicing:
            reasons.append(f"{end}: voiced ({voiced:.2f}) at the cut")
    return "; ".join(reasons)


def _amplitude(level_db: float) -> float:
    return float(10 ** (level_db / 20))


def _relative_db(level: float, reference: float) -> float:
    if level <= 0 or reference <= 0:
        return FLOOR_DB
    return max(FLOOR_DB, 20 * float(np.log10(level / reference)))
