"""Trimming: silence at the ends goes, speech stays, and what cut into a word is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.audio.checks import FLOOR_DB
from koe.audio.params import TrimParams
from koe.audio.trim import FRAME_SECONDS, STEP_SECONDS, LevelMeter, find_cuts, speech_span
from koe.tasks.conversion.schema import Params

RATE = 22050


@pytest.fixture()
def trim(params: Params) -> TrimParams:
    return params.trim


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
@pytest.mark.parametrize("f0", [80.0, 120.0, 300.0])
def test_silence_at_both_ends_is_cut_to_the_margin(voice, trim: TrimParams, rate: int, f0: float) -> None:
    wave = voice(1.0, f0=f0, rate=rate, silence=0.5)
    cuts = find_cuts(wave, rate, trim)
    slack = FRAME_SECONDS + STEP_SECONDS
    assert cuts.start / rate == pytest.approx(0.5 - trim.margin_seconds, abs=slack)
    assert cuts.end / rate == pytest.approx(1.5 + trim.margin_seconds, abs=slack)
    assert cuts.head_seconds == pytest.approx(cuts.start / rate)
    assert cuts.tail_seconds == pytest.approx((len(wave) - cuts.end) / rate)
    assert not cuts.suspect


def test_little_silence_is_left_as_it_is(voice, trim: TrimParams) -> None:
    wave = voice(1.0, silence=0.06)
    cuts = find_cuts(wave, RATE, trim)
    assert (cuts.start, cuts.end, cuts.head_seconds) == (0, len(wave), 0.0)
    assert (cuts.outside_head_db, cuts.voicing_tail) == (FLOOR_DB, 0.0)


def test_head_and_tail_have_thresholds_of_their_own(voice, trim: TrimParams) -> None:
    """A quiet vowel, 36 dB down, at both ends: the one threshold takes it for speech, the other for silence."""
    quiet, gap = voice(0.3) * 10 ** (-36 / 20), 1e-5 * np.ones(RATE // 5)
    wave = np.concatenate([gap, quiet, gap, voice(1.0), gap, quiet, gap])
    both = trim.model_copy(update={"suspect_outside_db": 0.0, "suspect_voicing": 1.0})
    head = find_cuts(wave, RATE, both.model_copy(update={"head_db": -46.0, "tail_db": -30.0}))
    tail = find_cuts(wave, RATE, both.model_copy(update={"head_db": -30.0, "tail_db": -46.0}))
    assert head.start < 0.3 * RATE and head.end < 2.0 * RATE
    assert tail.start > 0.5 * RATE and tail.end > len(wave) - 0.3 * RATE


def test_rumble_does_not_hide_silence(voice, trim: TrimParams) -> None:
    wave = voice(1.0, silence=0.5)
    time = np.arange(len(wave)) / RATE
    cuts = find_cuts(wave + 0.003 * np.sin(2 * np.pi * 35 * time), RATE, trim)
    assert cuts.start > 0.4 * RATE and cuts.end < 1.6 * RATE
    assert not cuts.suspect


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(1), np.zeros(5000), np.full(300, 0.1)])
def test_waveforms_without_speech_are_left_whole(trim: TrimParams, wave: np.ndarray) -> None:
    cuts = find_cuts(wave.astype(np.float32), RATE, trim)
    assert (cuts.start, cuts.end, cuts.suspect) == (0, len(wave), False)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bursts=st.lists(st.tuples(st.floats(0.02, 0.3), st.floats(-70, 0)), min_size=1, max_size=8),
    head_db=st.floats(-60, -5),
    tail_db=st.floats(-60, -5),
    margin=st.floats(0, 0.1),
    least=st.floats(0, 0.3),
)
def test_lesson_09_nothing_above_the_thresholds_is_ever_cut(
    seed: int, bursts: list[tuple[float, float]], head_db: float, tail_db: float, margin: float, least: float
) -> None:
    """Whatever the recording, one stretch is kept, and all that is loud enough lies in it."""
    noise = np.random.default_rng(seed)
    wave = np.concatenate([10 ** (level / 20) * noise.standard_normal(round(seconds * RATE))
                           for seconds, level in bursts])
    params = TrimParams(head_db=head_db, tail_db=tail_db, margin_seconds=margin, min_silence_seconds=least,
                        suspect_outside_db=-32, suspect_voicing=0.6)
    cuts = find_cuts(wave, RATE, params)
    assert 0 <= cuts.start < cuts.end <= len(wave)
    loudest = max(_rms(wave[at:at + 441]) for at in range(0, max(1, len(wave) - 441), 110))
    for outside, threshold in ((wave[:cuts.start], head_db), (wave[cuts.end:], tail_db)):
        for at in range(0, len(outside) - 441, 441):
            # the filter and the grid of frames move a level by a little; 3 dB is plenty
            assert _rms(outside[at:at + 441]) < loudest * 10 ** ((threshold + 3) / 20)


def _rms(frame: np.ndarray) -> float:
    return float(np.sqrt(np.mean(frame**2)))



def test_pieces_are_cut_where_the_whole_is(voice, trim: TrimParams) -> None:
    wave = voice(1.0, silence=0.5)
    meter = LevelMeter(RATE)
    for piece in np.split(wave, [7, 5000, 5001, 30000]):
        meter.add(piece)
    levels, cuts = meter.rms(), find_cuts(wave, RATE, trim)
    span = speech_span(levels, float(levels.max()), meter.step, len(wave), RATE, trim)
    assert np.allclose(span, (cuts.start, cuts.end), atol=2 * STEP_SECONDS * RATE)
