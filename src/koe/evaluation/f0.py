"""Distance of a waveform's F0 from the target's, along the DTW path of the MCD."""

import numpy as np


def f0_metrics(f0: np.ndarray, target: np.ndarray, path: np.ndarray) -> dict[str, float | None]:
    """Compares F0 contours (frames,) in Hz, 0 = unvoiced, along `path` (length, 2).

    Returns `log_f0_rmse` (natural logarithm; a semitone is 0.058) and `f0_corr` (Pearson, of log F0), both over the
    path's points that are voiced in both contours, and `vuv_error`, the share of points voiced in only one. A value
    that is not defined is None: no point is voiced in both, or, for the correlation, a contour is constant.
    """
    left, right = f0[path[:, 0]], target[path[:, 1]]
    both = (left > 0) & (right > 0)
    vuv_error = float(np.mean((left > 0) != (right > 0)))
    if not both.any():
        return {"log_f0_rmse": None, "f0_corr": None, "vuv_error": vuv_error}
    left, right = np.log(left[both]), np.log(right[both])
    varies = min(left.std(), right.std()) > 1e-6
    return {
        "log_f0_rmse": float(np.sqrt(np.mean(np.square(left - right)))),
        "f0_corr": float(np.corrcoef(left, right)[0, 1]) if varies else None,
        "vuv_error": vuv_error,
    }
