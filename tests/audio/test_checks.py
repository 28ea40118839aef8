"""Content checks: each reason fires on what it is for, and on nothing near it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from koe.audio.checks import clipped_share, decibels, loudest, noise_floor
from koe.audio.preparation import prepare
from koe.errors import AudioError
from koe.tasks.conversion.schema import Params

RATE = 22050


def _reason(wave: np.ndarray, params: Params) -> str | None:
    try:
        prepare(wave, RATE, RATE, params.resample, "a.wav")
    except AudioError as error:
        assert "a.wav" in error.detail
        return error.reason
    return None


def test_speech_passes(voice, params: Params) -> None:
    assert prepare(voice(1.0), RATE, RATE, params.resample).clipped == 0.0


@pytest.mark.parametrize(("seconds", "reason"), [(0.29, "too_short"), (0.31, None), (19.9, None), (20.1, "too_long")])
def test_length(voice, params: Params, seconds: float, reason: str | None) -> None:
    assert _reason(np.resize(voice(0.5), round(seconds * RATE)), params) == reason


def test_silence_only(voice, params: Params) -> None:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(RATE)
    assert _reason(np.zeros(RATE), params) == "silence_only"
    assert _reason(noise, params) == "silence_only"
    assert _reason(noise + 0.3, params) == "silence_only"  # a constant offset is not sound
    assert _reason(voice(1.0) * 0.02, params) is None


def test_clipping_is_flat_tops_not_loudness(voice, params: Params) -> None:
    loud = voice(1.0) / np.abs(voice(1.0)).max()
    assert _reason(loud, params) is None
    assert _reason(np.clip(loud * 4, -1, 1), params) == "clipping"
    assert _reason(np.clip(loud * 4, -1, 1)[:, None] * [0.1, 1.0], params) == "clipping"  # one channel is enough
    time = np.arange(RATE) / RATE
    assert clipped_share(np.round(np.sin(2 * np.pi * 200 * time) * 32767) / 32768) == 0.0


def test_clipped_share_counts_runs_of_three() -> None:
    wave = np.zeros(100)
    wave[10:12] = 1.0
    assert clipped_share(wave) == 0.0
    wave[20:23] = -1.0
    wave[40:45] = 0.995
    assert clipped_share(wave) == pytest.approx(0.08)
    assert clipped_share(np.stack([np.zeros(100), wave], axis=1)) == pytest.approx(0.08)
    assert clipped_share(np.ones(2)) == 0.0


@given(arrays(np.float64, st.integers(0, 60), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])))
def test_clipped_share_equals_counting_by_hand(wave: np.ndarray) -> None:
    count, begin = 0, 0
    for position in range(1, len(wave) + 1):
        if position == len(wave) or wave[position] != wave[begin]:
            run = position - begin
            count += run if run >= 3 and abs(wave[begin]) >= 0.99 else 0
            begin = position
    assert clipped_share(wave) == pytest.approx(count / max(1, len(wave)))


def test_levels() -> None:
    assert decibels(0.0) == -120.0
    assert decibels(0.1) == pytest.approx(-20.0)
    wave = np.zeros(RATE)
    wave[5000:5000 + round(0.05 * RATE)] = 0.5
    assert loudest(wave, RATE) == pytest.approx(0.5)
    assert loudest(wave[:0], RATE) == 0.0
    assert loudest(np.full(10, 0.25), RATE) == pytest.approx(0.25)


def test_noise_floor_is_the_level_of_the_pauses(voice) -> None:
    noise = 0.001 * np.random.default_rng(0).standard_normal(2 * RATE)
    speech = np.concatenate([np.zeros(RATE // 2), voice(1.0), np.zeros(RATE // 2)])
    assert noise_floor(speech + noise, RATE) == pytest.approx(-60, abs=1)
    assert noise_floor(speech + noise + 0.2, RATE) == pytest.approx(-60, abs=1)  # a constant offset is not sound
    assert noise_floor(np.concatenate([voice(1.0), np.zeros(RATE)]), RATE) < -60


def test_noise_floor_of_next_to_nothing() -> None:
    assert noise_floor(np.zeros(RATE), RATE) == -120.0
    assert noise_floor(np.zeros(0), RATE) == -120.0
    assert noise_floor(np.array([0.1, -0.1]), RATE) == pytest.approx(-20.0)
