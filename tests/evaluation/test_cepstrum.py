"""Mel-cepstra against spectra whose cepstrum is known, and the choice of frames."""

from typing import Any

import numpy as np
import pytest

from koe.evaluation.cepstrum import PitchRange, analyse, mel_cepstra, warp

PITCH = PitchRange("dio", 60.0, 400.0)


def test_cepstrum_of_a_known_spectrum_is_found_again() -> None:
    known = np.random.default_rng(0).normal(size=(3, 24)) / np.arange(1, 25)
    frequency = np.linspace(0, np.pi, 513)
    log_amplitude = known @ np.cos(np.outer(np.arange(1, 25), warp(frequency))) + 0.7
    np.testing.assert_allclose(mel_cepstra(np.exp(2 * log_amplitude), 24), known, atol=1e-4)


def test_warping_follows_the_mel_scale_at_16_khz() -> None:
    frequency = np.linspace(0, np.pi, 100)
    mel = np.log1p(frequency / np.pi * 8000 / 700)
    wanted, unwarped = mel / mel[-1], frequency / np.pi
    assert np.abs(warp(frequency) / np.pi - wanted).max() < 0.25 * np.abs(unwarped - wanted).max()


def test_loudness_changes_nothing(voice: Any) -> None:
    wave = voice(seconds=0.6, rate=16000)
    loud, quiet = (analyse(gain * wave, PITCH, 24, -40.0) for gain in (1.0, 0.1))
    np.testing.assert_allclose(quiet.cepstra, loud.cepstra, atol=1e-3)
    np.testing.assert_allclose(quiet.f0, loud.f0, rtol=1e-4)


def test_silent_frames_are_left_out(voice: Any) -> None:
    alone = analyse(voice(seconds=0.6, rate=16000), PITCH, 24, -40.0)
    between = analyse(voice(seconds=0.6, rate=16000, silence=0.5), PITCH, 24, -40.0)
    assert len(alone.f0) == pytest.approx(120, abs=3)
    assert len(between.f0) == pytest.approx(len(alone.f0), abs=12)  # the analysis window reaches into the silence
    assert len(between.cepstra) == len(between.f0)


def test_noise_without_pitch_is_analysed() -> None:
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    analysis = analyse(noise, PITCH, 24, -40.0)
    assert np.isfinite(analysis.cepstra).all()
    assert np.isfinite(analyse(np.zeros(8000, np.float32), PITCH, 24, -40.0).cepstra).all()
