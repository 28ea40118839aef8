"""PESQ: how little a waveform was degraded, by ITU-T P.862.2 (wide band), 1 (bad) to 4.64."""

import numpy as np
from pesq import PesqError, pesq

from koe.listeners.packaged import SAMPLE_RATE


def wide_band_pesq(wave: np.ndarray, recording: np.ndarray) -> float | None:
    """PESQ of a waveform against the recording it reproduces, both (samples,) at 16 kHz.

    None where it is not defined: for less than a quarter of a second, or if one of the two has no speech.
    """
    if not (wave.any() and recording.any()):
        return None
    score = float(pesq(SAMPLE_RATE, recording, wave, "wb", on_error=PesqError.RETURN_VALUES))
    return score if score >= 1 else None  # errors are negative, and near silence gives NaN
