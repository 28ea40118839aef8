"""Cutting silence inside sentences ruined everything but duration: head and tail are cut, the inside never is."""

import numpy as np

from koe.audio.trim import find_cuts
from koe.tasks.conversion.schema import Params

RATE = 22050


def test_lesson_09_a_long_pause_inside_a_sentence_stays(voice, params: Params) -> None:
    word, pause = voice(0.4), np.zeros(2 * RATE, np.float32)
    wave = np.concatenate([np.zeros(RATE // 2, np.float32), word, pause, word, pause, word, np.zeros(RATE, np.float32)])
    cuts = find_cuts(wave, RATE, params.trim)
    kept = (cuts.end - cuts.start) / RATE
    speech_and_pauses = 3 * 0.4 + 2 * 2.0
    assert kept >= speech_and_pauses
    assert kept <= speech_and_pauses + 2 * params.trim.margin_seconds + 0.05
