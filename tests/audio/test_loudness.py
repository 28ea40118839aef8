"""Loudness as the standard and its public test signals have it, and gains that can be undone and never clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyloudnorm import Meter

from koe.audio.loudness import GATE_LUFS, LoudnessMeter, integrated_loudness, normalize_loudness
from koe.audio.samples import to_int16


def tone(seconds: float, level_db: float = 0.0, rate: int = 48000) -> np.ndarray:
    """997 Hz, its peak at `level_db` of full scale."""
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)


def test_a_full_scale_tone_has_the_loudness_that_the_standard_says() -> None:
    assert integrated_loudness(tone(1.0), 48000) == pytest.approx(-3.01, abs=0.01)  # BS.1770-4, annex 1
    assert integrated_loudness(tone(1.0, -20), 48000) == pytest.approx(-23.01, abs=0.01)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
def test_the_rate_makes_no_difference(rate: int) -> None:
    assert integrated_loudness(tone(1.0, -20, rate), rate) == pytest.approx(-23.01, abs=0.06)


def test_pauses_are_gated_out() -> None:
    loud, soft, silent = tone(20.0, -23), tone(5.0, -36), np.zeros(240000)  # as EBU Tech 3341, test 3, and shorter
    assert integrated_loudness(np.concatenate([soft, loud, soft]), 48000) == pytest.approx(-26.0, abs=0.1)
    assert integrated_loudness(np.concatenate([silent, loud, silent]), 48000) == pytest.approx(-26.0, abs=0.1)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_it_equals_the_library(rate: int) -> None:
    generator = np.random.default_rng(rate)
    levels = np.repeat(10 ** generator.uniform(-4, -0.5, 31), rate // 10)
    wave = generator.standard_normal(len(levels)) * levels
    expected = Meter(rate, filter_class="DeMan").integrated_loudness(wave)
    assert integrated_loudness(wave, rate) == pytest.approx(expected, abs=1e-9)


def test_shorter_than_a_block_is_measured_as_one() -> None:
    assert integrated_loudness(tone(0.35, -20), 48000) == pytest.approx(-23.0, abs=0.2)
    assert integrated_loudness(tone(0.35, -20)[:1], 48000) == GATE_LUFS


@pytest.mark.parametrize("wave", [np.zeros(48000), np.zeros(10), np.zeros(0), tone(1.0, -80)])
def test_silence_has_the_gate_s_loudness_and_gets_no_gain(wave: np.ndarray) -> None:
    assert integrated_loudness(wave, 48000) == GATE_LUFS
    normalized, gain_db = normalize_loudness(wave.astype(np.float32), 48000, -23.0)
    assert gain_db == 0.0
    np.testing.assert_array_equal(normalized, wave.astype(np.float32))


@pytest.mark.parametrize("target", [-40.0, -23.0])
def test_normalizing_reaches_the_target_and_can_be_undone(voice, target: float) -> None:
    wave = voice(1.0, silence=0.2)
    normalized, gain_db = normalize_loudness(wave, 22050, target)
    assert normalized.dtype == np.float32
    assert integrated_loudness(normalized, 22050) == pytest.approx(target, abs=0.01)
    np.testing.assert_allclose(normalized / 10 ** (gain_db / 20), wave, atol=1e-6)


def test_a_peak_limits_the_gain(voice) -> None:
    wave = voice(1.0)
    wave[500] = 0.9
    normalized, gain_db = normalize_loudness(wave, 22050, -3.0)
    assert gain_db == pytest.approx(-20 * np.log10(0.9), abs=0.001)
    assert np.abs(normalized).max() == pytest.approx(32767 / 32768)


@given(st.floats(0.001, 1.2), st.floats(-70, 0))
def test_lesson_15_nothing_that_is_normalized_clips(peak: float, target: float) -> None:
    wave = (peak * tone(0.5, rate=16000)).astype(np.float32)
    assert to_int16(normalize_loudness(wave, 16000, target)[0])[1] == 0


def test_pieces_have_the_loudness_of_the_whole() -> None:
    wave = np.concatenate([tone(1.3, -36), tone(2.05, -23), np.zeros(40000)])
    meter = LoudnessMeter(48000)
    for piece in np.split(wave, [1, 4799, 30000, 100000]):
        meter.add(piece)
    assert meter.lufs() == pytest.approx(integrated_loudness(wave, 48000), abs=1e-9)
