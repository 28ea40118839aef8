"""What a speech recogniser hears."""

import numpy as np

from koe.listeners.packaged import SAMPLE_RATE, speech_recognizer

LANGUAGES = ("en",)  # what the recogniser that comes with pip knows


def transcribe(wave: np.ndarray) -> str:
    """What Whisper tiny.en hears in a waveform (samples,) at 16 kHz.

    Beam of 5, temperature 0 alone (the usual fallback draws at random), no timestamps, and at most 10 tokens a
    second (speech has 4 to 6): on noise a small Whisper repeats itself until it is stopped.
    """
    segments, _ = speech_recognizer().transcribe(
        wave, language="en", beam_size=5, temperature=0.0, without_timestamps=True, condition_on_previous_text=False,
        max_new_tokens=10 + round(10 * len(wave) / SAMPLE_RATE),
    )
    return " ".join(segment.text.strip() for segment in segments)
