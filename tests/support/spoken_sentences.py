"""Short sentences that the demo voices say in tests, and writing them to files."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from koe.corpus.voices import VOICES, speak

HELLO, THANKS, WEATHER = "はい。", "ありがとう。", "今日は良い天気ですね。"
STELLA, THINGS, YES = "Please call Stella.", "Ask her to bring these things.", "Yes."


@cache
def _spoken(voice: str, text: str, rate: int) -> np.ndarray:
    [(audio, _)] = speak(VOICES[voice], 0, [text])
    return soxr.resample(audio, VOICES[voice].sample_rate, rate)


def record(path: Path, text: str, rate: int = 24000, voice: str = "") -> float:
    """Writes a sentence as a voice says it (heart English, mei the rest) to a file, and returns its seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = _spoken(voice or ("heart" if text.isascii() else "mei"), text, rate)
    soundfile.write(path, audio, rate)
    return len(audio) / rate
