"""Power of a filtered waveform that comes in pieces, for levels and loudness of recordings of any length."""

import numpy as np
from scipy.signal import sosfilt


class StepPowers:
    """The mean power of every `step` samples of a waveform, filtered by second-order sections (sections, 6)."""

    def __init__(self, sections: np.ndarray, step: int) -> None:
        self._sections, self._step = sections, step
        self._state = np.zeros((len(sections), 2))
        self._rest: np.ndarray = np.zeros(0)
        self._powers: list[np.ndarray] = []

    def add(self, wave: np.ndarray) -> None:
        """Takes the next piece, float (samples,)."""
        filtered, self._state = sosfilt(self._sections, wave.astype(np.float64), zi=self._state)
        power = np.concatenate([self._rest, np.square(filtered)])
        steps = len(power) // self._step
        self._powers.append(power[: steps * self._step].reshape(steps, self._step).mean(axis=1))
        self._rest = power[steps * self._step :]

    def so_far(self) -> np.ndarray:
        """The powers of all whole steps, float64 (steps,)."""
        return np.concatenate(self._powers)
