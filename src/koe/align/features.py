"""Features that an alignment compares: a few numbers per frame, computed from the stored log-mel without audio."""

import numpy as np
from scipy.fft import dct

from koe.align.params import AlignParams


def level_db(mel: np.ndarray) -> np.ndarray:
    """Level of each frame of a log-mel (frames, n_mels), dB without a particular reference: shape (frames,)."""
    return 10 * np.log10(np.square(np.exp(mel.astype(np.float64))).sum(axis=1))


def silent_frames(mel: np.ndarray, silence_db: float) -> np.ndarray:
    """True where a frame is `silence_db` (negative) below the loudest: shape (frames,)."""
    level = level_db(mel)
    return level < level.max() + silence_db


def mel_cepstra(mel: np.ndarray, order: int) -> np.ndarray:
    """Coefficients 1 to `order` of the orthonormal DCT-II of log-mel frames: shape (frames, order).

    c0 is left out, so that loudness does not matter.
    """
    return dct(mel, type=2, norm="ortho", axis=1)[:, 1 : order + 1]


def mel_bands(mel: np.ndarray, bands: int) -> np.ndarray:
    """Log-mel of fewer bands, amplitudes of neighbours summed: shape (frames, bands)."""
    firsts = np.arange(bands) * mel.shape[1] // bands
    return np.log(np.add.reduceat(np.exp(mel), firsts, axis=1))


def comparison_features(mel: np.ndarray, params: AlignParams) -> np.ndarray:
    """Features of one utterance for `dtw`, of its log-mel (frames, n_mels): float32, shape (frames, columns).

    With `params.normalize` the mean of each column over the frames that are not silent, which is mostly the
    voice and the microphone, is taken out, and all columns are divided by one number. One for all: giving
    every cepstral coefficient the same variance doubles the error, because the high ones are mostly noise.
    Slopes (half the difference of the neighbouring frames) are appended, scaled to the features' variance and
    weighted by `params.delta`.
    """
    features = mel_cepstra(mel, params.order) if params.features == "mcep" else mel_bands(mel, params.bands)
    speech = ~silent_frames(mel, params.silence_db)
    if params.normalize:
        features = features - features[speech].mean(axis=0)
        features = features / _scale(features[speech])
    if params.delta > 0:
        padded = np.pad(features, ((1, 1), (0, 0)), mode="edge")
        slopes = (padded[2:] - padded[:-2]) / 2
        weight = params.delta * _scale(features[speech]) / _scale(slopes[speech])
        features = np.hstack([features, weight * slopes])
    return features.astype(np.float32)


def _scale(features: np.ndarray) -> float:
    """Root of the mean variance of the columns; tiny instead of zero for features that never change."""
    return max(float(np.sqrt(features.var(axis=0).mean())), 1e-6)
