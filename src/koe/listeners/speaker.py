"""Who a waveform sounds like: cosine similarity of speaker embeddings (GE2E, Wan et al. 2018, by Resemblyzer)."""

import numpy as np

from koe.listeners.packaged import speaker_encoder

ENROLMENT_UTTERANCES = 20  # a speaker's embedding is the mean of those of this many training utterances
_LEVEL = 10 ** (-30 / 20)  # root mean square of the encoder's input


def embed(wave: np.ndarray) -> np.ndarray | None:
    """Embedding of a waveform (samples,) at 16 kHz: float32, shape (256,), length 1. None for silence.

    The level is set to -30 dB of full scale first, as it was in the encoder's training: its mels are not logarithmic,
    so loudness would matter. Pauses are kept: the recordings are trimmed before.
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
    """Cosine of two embeddings: about 0.5 for two people, above 0.8 for one person."""
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
