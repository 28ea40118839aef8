"""PESQ where it is defined, and where it is not."""

from typing import Any

import numpy as np
import pytest

from koe.evaluation.pesq import wide_band_pesq


def test_noise_costs_and_level_does_not(voice: Any) -> None:
    recording = voice(2.0, rate=16000)
    noise = np.random.default_rng(0).standard_normal(len(recording)).astype(np.float32)
    scores = [wide_band_pesq(wave, recording) for wave in (
        recording, 0.3 * recording, recording + 0.003 * noise, recording + 0.03 * noise)]
    assert scores[0] == pytest.approx(4.64, abs=0.01)
    assert scores[1] == pytest.approx(scores[0], abs=0.05)
    assert scores[0] > scores[2] > scores[3] > 1  # type: ignore[operator]


@pytest.mark.parametrize(("made", "said"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_silence_has_none(voice: Any, made: float, said: float) -> None:
    wave = voice(1.0, rate=16000)
    assert wide_band_pesq(made * wave, said * wave) is None


def test_less_than_a_quarter_of_a_second_has_none(voice: Any) -> None:
    wave = voice(1.0, rate=16000)[:3900]
    assert wide_band_pesq(wave, wave) is None
