"""Transcription by a pretrained speech recogniser."""

import numpy as np

from koe.listeners.packaged import SAMPLE_RATE, speech_recognizer

LANGUAGES = ("en",)  # of the recogniser that installs with pip


def transcribe(wave: np.ndarray) -> str:
    """The transcript of a waveform (samples,) at 16 kHz by Whisper tiny.en.

    Beam of 5, temperature 0 only (the usual fallback samples at random), no timestamps, and at most 10 tokens a
    second (speech has 4 to 6): on noise a small Whisper repeats itself until it is stopped.
    """
    segments, _ = speech_recognizer().transcribe(
        wave, language="en", beam_size=5, temperature=0.0, without_timestamps=True, condition_on_previous_text=False,
        max_new_tokens=10 + round(10 * len(wave) / SAMPLE_RATE),
    )
    return " ".join(segment.text.strip() for segment in segments)
