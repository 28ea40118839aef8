"""F0 metrics against contours whose differences are known."""

import numpy as np
import pytest

from koe.evaluation.f0 import f0_metrics

PATH = np.stack([np.arange(100)] * 2, axis=1)


def contour() -> np.ndarray:
    f0 = 120 * np.exp(0.2 * np.sin(np.arange(100) / 8))
    f0[40:60] = 0
    return f0


def test_a_semitone_up_is_a_semitone() -> None:
    metrics = f0_metrics(contour() * 2 ** (1 / 12), contour(), PATH)
    assert metrics["log_f0_rmse"] == pytest.approx(np.log(2) / 12)
    assert metrics["f0_corr"] == pytest.approx(1)
    assert metrics["vuv_error"] == 0


def test_a_mirrored_contour_is_anticorrelated() -> None:
    mirrored = np.where(contour() > 0, 120**2 / np.maximum(contour(), 1), 0)
    assert f0_metrics(mirrored, contour(), PATH)["f0_corr"] == pytest.approx(-1)


def test_voicing_errors_are_counted_and_kept_out_of_f0() -> None:
    wrong = contour()
    wrong[:10], wrong[40:45] = 0, 300
    metrics = f0_metrics(wrong, contour(), PATH)
    assert metrics["vuv_error"] == pytest.approx(0.15)
    assert metrics["log_f0_rmse"] == pytest.approx(0)


def test_the_path_decides_what_is_compared() -> None:
    doubled = np.repeat(contour(), 2)
    path = np.stack([np.arange(200), np.arange(200) // 2], axis=1)
    assert f0_metrics(doubled, contour(), path)["log_f0_rmse"] == pytest.approx(0)


def test_what_is_undefined_is_none() -> None:
    unvoiced = f0_metrics(np.zeros(100), contour(), PATH)
    assert unvoiced == {"log_f0_rmse": None, "f0_corr": None, "vuv_error": pytest.approx(0.8)}
    monotone = f0_metrics(np.full(100, 100.0), contour(), PATH)
    assert monotone["f0_corr"] is None and monotone["log_f0_rmse"] is not None
