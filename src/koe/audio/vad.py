"""Where there is speech in a waveform: Silero's voice activity detector, whose model ships with faster-whisper."""

import numpy as np

from koe.audio.files import resample

RATE = 16000  # Hz, the model's
SHORTEST_PAUSE = 0.1  # s; the model judges stretches of 32 ms, and a stop consonant is silent for two or three


def speech_spans(wave: np.ndarray, rate: int) -> list[tuple[float, float]]:
    """Start and end, s, of every stretch of speech, in order, at least SHORTEST_PAUSE apart.

    wave: float in [-1, 1], shape (samples,). The ends are within 0.1 s of the known boundaries of the demo's voices.
    Silence, and anything else that is not speech, gives no stretch.
    """
    from faster_whisper.vad import get_speech_timestamps  # takes a second to import

    if not len(wave):
        return []
    spans = get_speech_timestamps(
        resample(wave, rate, RATE), min_silence_duration_ms=round(1000 * SHORTEST_PAUSE), speech_pad_ms=0
    )
    return [(span["start"] / RATE, min(span["end"] / RATE, len(wave) / rate)) for span in spans]
