"""One waveform from the channels of a recording, by what the channels hold (`koe.audio.preparation`).

An average alone loses recordings: of a channel and its inverse nothing is left, a dead channel costs 6 dB, and speech
in the centre of six channels costs 15.6 dB. So all of a recording is surveyed first (`ChannelSurvey`, block by block
if it is long), then one `Downmix` holds for all of it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

SURVEY_SECONDS = 0.05  # stretches in which channels are compared, the mean of each removed: what is slower is no sound
DEAD_DB = -20.0  # loudest stretch relative to that of the loudest channel; a preamplifier alone hisses at -25 or less
INVERTED = -0.25  # correlation with the loudest channel; unrelated channels have about 0
QUIETER_DB = -6.5  # relative to the loudest channel; the average of two that are not alike is at most 6 dB below it
AVERAGE = "average"
MONO = "mono"


@dataclass(frozen=True)
class Downmix:
    """How the channels of a recording become one: the average of some of them, some inverted."""

    weights: tuple[int, ...]  # of each channel: 1, -1 (inverted) or 0 (left out)
    level_db: float = 0.0  # of the result relative to the loudest channel

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """The waveform of channels, float32 (samples, channels) → (samples,). Any block of the recording will do."""
        used = np.flatnonzero(self.weights)
        if len(used) == 1:
            return channels[:, used[0]].astype(np.float32)
        if len(used) < len(self.weights) or min(self.weights) < 0:
            channels = channels[:, used] * np.array(self.weights, np.float32)[used]
        return channels.mean(axis=1, dtype=np.float32)

    @property
    def name(self) -> str:
        """mono, average, left, right inverted, channel 3 of 6, channels 1 2 -4 of 6 (4 is inverted), …"""
        count, used = len(self.weights), [place for place, weight in enumerate(self.weights, 1) if weight]
        if count == 1:
            return MONO
        if min(self.weights) == 1:
            return AVERAGE
        if count == 2:
            side = ("left", "right")[self.weights.index(min(self.weights)) if len(used) == 2 else used[0] - 1]
            return f"{side} inverted" if len(used) == 2 else side
        signed = " ".join(str(place * self.weights[place - 1]) for place in used)
        return f"channel{'s' if len(used) > 1 else ''} {signed} of {count}"

    @property
    def note(self) -> str:
        """A line for the user: a choice that is not obvious, or a loss of level; empty if there is neither."""
        parts = [] if self.name in (MONO, AVERAGE) else [f"of its channels, this is used: {self.name}"]
        if self.level_db < QUIETER_DB:
            parts.append(f"its {len(self.weights)} channels together are {-self.level_db:.0f} dB quieter than the "
                         "loudest of them")
        return "; ".join(parts)


class ChannelSurvey:
    """Levels and correlations of the channels of a recording, fed block by block.

    `ChannelSurvey(rate).add(block).add(block).downmix()`; blocks of any length, float (samples, channels). The result
    does not depend on where blocks end.
    """

    def __init__(self, rate: int) -> None:
        self._length = max(2, round(SURVEY_SECONDS * rate))
        self._rest = np.zeros((0, 0), np.float32)
        self._products = np.zeros((0, 0))  # sums over all stretches, (channels, channels)
        self._loudest = np.zeros(0)  # energy of the loudest stretch of each channel

    def add(self, channels: np.ndarray) -> Self:
        """Looks at the next block of the recording, (samples, channels)."""
        if not self._loudest.size:
            count = channels.shape[1]
            self._rest = np.zeros((0, count), np.float32)
            self._products, self._loudest = np.zeros((count, count)), np.zeros(count)
        if len(self._loudest) == 1:
            return self
        if len(self._rest):
            channels = np.concatenate([self._rest, channels])
        whole = len(channels) // self._length * self._length
        self._rest = channels[whole:].copy()
        for first in range(0, whole, 256 * self._length):  # so that a recording is not copied as a whole
            self._compare(channels[first:min(whole, first + 256 * self._length)], self._length)
        return self

    def _compare(self, channels: np.ndarray, length: int) -> None:
        stretches = channels.astype(np.float64).reshape(-1, length, channels.shape[1])
        stretches -= stretches.mean(axis=1, keepdims=True)
        self._loudest = np.maximum(self._loudest, np.square(stretches).sum(axis=1).max(axis=0))
        flat = stretches.reshape(-1, channels.shape[1])
        self._products += flat.T @ flat

    def downmix(self) -> Downmix:
        """The average of the channels that are not dead, inverted where they would cancel the loudest one.

        Raises ValueError if nothing was added.
        """
        count = len(self._loudest)
        if not count:
            raise ValueError("no channels were added to the survey")
        if count > 1 and not self._products.any() and len(self._rest) > 1:  # shorter than a stretch
            self._compare(self._rest, len(self._rest))
        energy = np.diag(self._products)
        if count == 1 or not energy.any():
            return Downmix((1,) * count)
        reference = int(energy.argmax())
        alive = (self._loudest > self._loudest.max() * 10 ** (DEAD_DB / 10)) & (energy > 0)
        alive[reference] = True
        correlation = self._products[reference] / np.sqrt(np.maximum(energy * energy[reference], 1e-300))
        weights = np.where(alive, np.where(correlation < INVERTED, -1, 1), 0)
        result = weights @ self._products @ weights / np.count_nonzero(weights) ** 2
        level_db = 10 * np.log10(max(float(result), 1e-12 * energy[reference]) / energy[reference])
        return Downmix(tuple(int(weight) for weight in weights), float(level_db))


def downmix_of(channels: np.ndarray, rate: int) -> Downmix:
    """The downmix of a recording that is in memory, float (samples, channels)."""
    return ChannelSurvey(rate).add(channels).downmix()
