"""16-bit samples and waveforms: one scale, and nothing clipped without being counted."""

import numpy as np


def from_int16(audio: np.ndarray) -> np.ndarray:
    """16-bit samples as float32 in [-1, 1)."""
    return audio.astype(np.float32) / 32768.0


def to_int16(wave: np.ndarray) -> tuple[np.ndarray, int]:
    """float32 waveform as 16-bit samples, and how many of them were out of range and clipped (lesson 15)."""
    scaled = np.round(np.asarray(wave, dtype=np.float64) * 32768.0)
    outside = int(np.count_nonzero((scaled > 32767) | (scaled < -32768)))
    return np.clip(scaled, -32768, 32767).astype(np.int16), outside
