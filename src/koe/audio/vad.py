"""Where there is speech in a waveform: Silero's voice activity detector, whose model comes inside faster-whisper."""

import numpy as np

from koe.audio.files import resample

RATE = 16000  # Hz, the model's
SHORTEST_PAUSE = 0.1  # s; the model judges stretches of 32 ms, and a stop consonant is silent for two or three


def speech_spans(wave: np.ndarray, rate: int) -> list[tuple[float, float]]:
    """Start and end of every stretch of speech, s, in order, with at least SHORTEST_PAUSE between two.

    wave: float in [-1, 1], shape (samples,). Against known boundaries of the demo's voices, the ends are within 0.1 s.
    Silence, and anything that is not speech, gives no stretch.
    """
    from faster_whisper.vad import get_speech_timestamps  # a second to import

    if not len(wave):
        return []
    spans = get_speech_timestamps(
        resample(wave, rate, RATE), min_silence_duration_ms=round(1000 * SHORTEST_PAUSE), speech_pad_ms=0
    )
    return [(span["start"] / RATE, min(span["end"] / RATE, len(wave) / rate)) for span in spans]
