"""Mel-cepstral distortion against its formula, and its path."""

import numpy as np
import pytest

from koe.evaluation.cepstrum import Analysis
from koe.evaluation.mcd import align, mel_cepstral_distortion


def smooth_cepstra(frames: int, order: int = 24) -> np.ndarray:
    time = np.linspace(0, 1, frames)[:, None]
    return np.sin(2 * np.pi * time * (1 + np.arange(order) % 5) + np.arange(order)) / (1 + np.arange(order))


def analysis(cepstra: np.ndarray) -> Analysis:
    return Analysis(cepstra, np.full(len(cepstra), 100.0))


def test_identical_cepstra_are_no_distance_apart() -> None:
    same = analysis(smooth_cepstra(80))
    path = align(same, same)
    assert mel_cepstral_distortion(same.cepstra, same.cepstra, path) == 0
    np.testing.assert_array_equal(path[:, 0], path[:, 1])


def test_a_constant_offset_gives_the_formulas_value() -> None:
    target = smooth_cepstra(80)
    offset = np.zeros(24)
    offset[2], offset[7] = 0.03, -0.04
    straight = np.stack([np.arange(80)] * 2, axis=1)
    expected = 10 / np.log(10) * np.sqrt(2) * 0.05
    assert mel_cepstral_distortion(target + offset, target, straight) == pytest.approx(expected)


def test_speaking_slower_costs_little() -> None:
    target, slow = analysis(smooth_cepstra(80)), analysis(smooth_cepstra(130))
    stretched = mel_cepstral_distortion(slow.cepstra, target.cepstra, align(slow, target))
    straight = np.stack([np.arange(80)] * 2, axis=1)
    unaligned = mel_cepstral_distortion(slow.cepstra[:80], target.cepstra, straight)
    assert stretched < 0.1 * unaligned
