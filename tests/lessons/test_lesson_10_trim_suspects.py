"""A trim threshold cut into words and was found by accident much later: now such cuts are marked."""

import numpy as np
import pytest

from koe.audio.params import TrimParams
from koe.audio.trim import find_cuts
from koe.tasks.conversion.schema import Params

RATE = 22050


def _fading(voice, seconds: float = 1.2) -> np.ndarray:
    """A word that fades in and out by 40 dB, between half seconds of faint noise."""
    wave = voice(seconds)
    fade = round(0.4 * RATE)
    envelope = np.ones(len(wave))
    envelope[:fade] = 10 ** (np.linspace(-40, 0, fade) / 20)
    envelope[-fade:] = envelope[:fade][::-1]
    faint = 1e-4 * np.random.default_rng(1).standard_normal(RATE // 2)
    return np.concatenate([faint, wave * envelope, faint])


def _cut_into(params: TrimParams, level: float) -> TrimParams:
    return params.model_copy(update={"head_db": level, "tail_db": level, "margin_seconds": 0.0})


def test_lesson_10_good_cuts_are_not_suspect(voice, params: Params) -> None:
    for seed, f0 in enumerate((70.0, 120.0, 180.0, 260.0)):
        wave = voice(1.0, f0=f0, silence=0.4, seed=seed)
        assert find_cuts(wave, RATE, params.trim).why == ""
    assert find_cuts(_fading(voice), RATE, params.trim).why == ""


@pytest.mark.parametrize("level", [-10.0, -16.0, -24.0])
def test_lesson_10_a_planted_threshold_is_noticed_at_both_ends(voice, params: Params, level: float) -> None:
    cuts = find_cuts(_fading(voice), RATE, _cut_into(params.trim, level))
    assert "head:" in cuts.why and "tail:" in cuts.why


def test_lesson_10_loudness_and_voicing_tell_each_alone(voice, params: Params) -> None:
    wave = _fading(voice)
    deaf = {"suspect_voicing": 1.0}, {"suspect_outside_db": 0.0}
    loudness, voicing = (find_cuts(wave, RATE, _cut_into(params.trim, -16).model_copy(update=update))
                         for update in deaf)
    assert "outside the cut" in loudness.why and "voiced" not in loudness.why
    assert "voiced" in voicing.why and "outside the cut" not in voicing.why


def test_lesson_10_an_unvoiced_end_is_told_by_loudness(voice, params: Params) -> None:
    """A word that ends in a fricative 20 dB down, cut off by a threshold of -15 dB."""
    fricative = 0.008 * np.random.default_rng(2).standard_normal(RATE // 4)
    wave = np.concatenate([voice(0.8), fricative, np.zeros(RATE // 2)])
    cuts = find_cuts(wave, RATE, _cut_into(params.trim, -15))
    assert cuts.end < 0.9 * RATE
    assert "tail: up to" in cuts.why
    assert find_cuts(wave, RATE, params.trim).why == ""
