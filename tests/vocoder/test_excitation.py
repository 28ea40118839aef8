"""Pulses where F0 is known, noise elsewhere, at unit power."""

import numpy as np

from koe.vocoder.excitation import excitation

HOP, RATE = 256, 22050


def test_pulses_repeat_with_f0_and_noise_does_not() -> None:
    f0 = np.concatenate([np.zeros(60), np.full(60, RATE / 200)]).astype(np.float32)  # a period of 200 samples
    wave = excitation(f0, HOP, RATE, np.random.default_rng(0))
    assert wave.shape == (120 * HOP,)
    noise, pulses = wave[: 55 * HOP], wave[65 * HOP :]

    def repetition(part: np.ndarray) -> float:
        return float(np.corrcoef(part[:-200], part[200:])[0, 1])

    assert repetition(pulses) > 0.95
    assert abs(repetition(noise)) < 0.05


def test_power_is_about_one() -> None:
    for f0 in (0.0, 80.0, 300.0):
        wave = excitation(np.full(100, f0, dtype=np.float32), HOP, RATE, np.random.default_rng(0))
        assert 0.8 < float(np.square(wave).mean()) < 1.2
