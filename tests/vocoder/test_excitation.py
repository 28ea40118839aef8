"""Pulses where F0 is known, noise elsewhere, at unit power."""

from pathlib import Path

import numpy as np
import pytest

from koe.audio.params import MelParams
from koe.tasks.conversion.schema import load_params
from koe.vocoder import excitation as module
from koe.vocoder.excitation import excitation, source_of

HOP, RATE = 256, 22050
MEL: MelParams = load_params(Path(__file__).parents[2] / "params.yaml").mel


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


def test_a_source_has_pulses_where_voiced_and_noise_everywhere() -> None:
    f0 = np.concatenate([np.zeros(30), np.full(30, 140.0)]).astype(np.float32)
    pulses, noise = source_of(f0, MEL, np.random.default_rng(0)).T
    assert pulses.shape == (60 * HOP,)
    assert not pulses[: 29 * HOP].any()
    assert float(np.square(pulses[31 * HOP :]).mean()) == pytest.approx(1, abs=0.1)
    assert float(np.square(noise).mean()) == pytest.approx(1, abs=0.05)


def test_a_long_source_is_made_in_blocks_that_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    f0 = np.linspace(80, 300, 50, dtype=np.float32)
    whole = source_of(f0, MEL, np.random.default_rng(0))
    monkeypatch.setattr(module, "_BLOCK", 1000)
    assert np.abs(source_of(f0, MEL, np.random.default_rng(0)) - whole).max() < 1e-4
