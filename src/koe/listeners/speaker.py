"""Who a waveform sounds like: cosine similarity of speaker embeddings (GE2E, Wan et al. 2018, by Resemblyzer)."""

import numpy as np

from koe.listeners.packaged import speaker_encoder

ENROLMENT_UTTERANCES = 20  # a speaker's embedding is the mean of so many training utterances
_LEVEL = 10 ** (-30 / 20)  # root mean square the encoder hears everything at


def embed(wave: np.ndarray) -> np.ndarray | None:
    """Embedding of a waveform (samples,) at 16 kHz: float32, shape (256,), length 1. None for silence.

    The level is set to -30 dB of full scale first, which the encoder's training did too: its mels are not
    logarithmic, so loudness would count. Pauses stay: what comes here is trimmed.
    """
    level = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    if level < 1e-6:
        return None
    return speaker_encoder().embed_utterance((wave * (_LEVEL / level)).astype(np.float32))


def enrol(embeddings: list[np.ndarray]) -> np.ndarray:
    """A speaker's embedding from those of utterances: their mean, length 1, float32, shape (256,)."""
    mean = np.mean(embeddings, axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def similarity(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two embeddings; between people around 0.5, of one person above 0.8."""
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
