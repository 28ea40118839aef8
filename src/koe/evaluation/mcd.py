"""Mel-cepstral distortion (Kubichek, 1993) of a waveform from the target's, and the path that the F0 metrics use.

The recipe: both waveforms are resampled to 16 kHz, so that values are comparable whatever the pipeline's rate, and a
mel that ends at 8 kHz is not judged by frequencies that it does not contain; WORLD spectra (CheapTrick) every 5 ms;
mel-cepstra 1 to `evaluation.mcd_order` (24) with all-pass constant 0.42, without c0, so that loudness does not count;
frames more than `evaluation.mcd_silence_db` (40 dB) below the loudest are left out on both sides; dynamic time warping
on the Euclidean distance of these cepstra, with steps of one frame on one side or both at equal weights; and over the
path the mean of

    10 / ln 10 * sqrt(2 * sum over m of (c(m) - c'(m))²)   in dB.
"""

import numpy as np

from koe.dtw import distances, dtw
from koe.evaluation.cepstrum import Analysis


def align(wave: Analysis, target: Analysis) -> np.ndarray:
    """The cheapest DTW path, shape (length, 2) of (frame of `wave`, frame of `target`)."""
    path, _ = dtw(distances(wave.cepstra, target.cepstra))
    return path


def mel_cepstral_distortion(wave: np.ndarray, target: np.ndarray, path: np.ndarray) -> float:
    """Mean distortion in dB of mel-cepstra (frames, order) and (frames, order) along `path`."""
    differences = wave[path[:, 0]] - target[path[:, 1]]
    return float(10 / np.log(10) * np.sqrt(2 * np.square(differences).sum(axis=1)).mean())
