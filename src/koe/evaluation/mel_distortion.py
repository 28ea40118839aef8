"""Mel-cepstral distortion between two log-mels, without audio: the metric of validation during training.

Not the evaluation's MCD, which is measured on waveforms (`koe.evaluation.mcd`), but correlated with it.
"""

import numpy as np

from koe.align.features import mel_cepstra
from koe.dtw import distances, dtw

ORDER = 24


def mel_cepstral_distortion_of_mels(converted: np.ndarray, target: np.ndarray) -> float:
    """Mean distance in dB along the best DTW path between mels (frames, M) and (frames, M).

    Cepstra 1 to 24 of the log-mel (without c0, the loudness): 10 / ln 10 * sqrt(2 * sum of squared differences),
    where log-mel = c0 + 2 * sum of c_n cos(…), the scale of mel-cepstral analysis.
    """
    left, right = mel_cepstra(converted, ORDER), mel_cepstra(target, ORDER)
    _, mean_distance = dtw(distances(left, right))  # root mean square over the ORDER coefficients
    cepstral = np.sqrt(ORDER / (2 * converted.shape[1])) * mean_distance  # from the orthonormal DCT's scale
    return float(10 / np.log(10) * np.sqrt(2) * cepstral)
