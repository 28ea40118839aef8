"""A whole alignment, against a warping that is known."""

import numpy as np
import pytest

from koe.align.aligner import Alignment, FramePath, Side, align_pair, dtw_aligner
from koe.align.durations import path_along
from koe.align.params import AlignParams
from koe.audio.grid import frame_rate
from koe.steps import steps_of
from koe.tasks.conversion.schema import Params


def sounds(frames: int, seed: int = 0) -> np.ndarray:
    """Log-mels (frames, 80) of a made-up utterance: a new smooth spectrum every 8 frames, blended in between."""
    generator = np.random.default_rng(seed)
    knots = np.arange(0, frames + 8, 8)
    shapes = generator.normal(0, 1, (len(knots), 12)) @ np.cos(
        np.pi * np.outer(np.arange(1, 13), np.arange(80) + 0.5) / 80)
    return np.stack([np.interp(np.arange(frames), knots, band) for band in shapes.T], axis=1) - 4


def warp(mel: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The same sounds at a speed that changes between 0.5 and 2, by another voice; and each frame's origin."""
    generator = np.random.default_rng(seed)
    speeds = np.repeat(2.0 ** generator.uniform(-1, 1, 200), 15)
    origins = np.cumsum(speeds) - speeds[0]
    origins = origins[origins < len(mel) - 1]
    moved = np.stack([np.interp(origins, np.arange(len(mel)), band) for band in mel.T], axis=1)
    voice = generator.normal(0, 0.7, 80) + generator.normal(0, 0.3, moved.shape)
    return (moved + voice).astype(np.float32), origins


def align_dtw(source: np.ndarray, target: np.ndarray, params: Params, align: AlignParams, factor: int) -> Alignment:
    sides = Side(source, "demo/x"), Side(target, "demo/y")
    return align_pair(dtw_aligner(params.mel, align), *sides, params.mel, align, factor)


@pytest.mark.parametrize("features", ["mel", "mcep"])
def test_a_known_warping_is_found(params: Params, features: str) -> None:
    source = sounds(300)
    target, origins = warp(source)
    align = params.align.model_copy(update={"features": features})
    alignment = align_dtw(source, target, params, align, 3)
    error = np.abs(alignment.positions - origins)
    straight = np.abs(np.linspace(0, 299, len(target)) - origins)
    assert error.mean() < 1.0 < 5.0 < straight.mean()  # frames of 11.6 ms
    assert alignment.durations.sum() == steps_of(len(target), 3)
    assert alignment.diagnostics.slope == pytest.approx(len(target) / len(source), rel=0.2)


def test_lesson_08_diagnostics_tell_a_wrong_pair_from_a_right_one(params: Params) -> None:
    source = sounds(200)
    right, _ = warp(source)
    wrong, _ = warp(sounds(200, seed=7))
    costs = [align_dtw(source, target, params, params.align, 3).diagnostics.cost for target in (right, wrong)]
    assert costs[1] > params.align.suspect_cost * costs[0]


def test_lesson_08_a_long_run_and_skipped_steps_are_measured(params: Params) -> None:
    source = sounds(120)
    align = params.align.model_copy(update={"normalize": False})  # the held sound would be most of the mean
    held = np.concatenate([source[:60], np.repeat(source[60:61], 60, axis=0), source[61:]])
    diagnostics = align_dtw(source, held, params, align, 3).diagnostics
    assert 45 <= diagnostics.longest_run * frame_rate(params.mel) <= 66
    left_out = np.concatenate([source[:60], source[84:]])
    diagnostics = align_dtw(source, left_out, params, align, 3).diagnostics
    assert 6 / 40 <= diagnostics.skipped <= 9 / 40
    assert align_dtw(source, source, params, align, 3).diagnostics.skipped == 0


def test_pauses_are_spread_evenly(params: Params) -> None:
    speech = sounds(80)
    noise = np.random.default_rng(3).normal(-11, 0.3, (200, 80))
    source = np.concatenate([speech[:40], noise[:60], speech[40:]])
    target = np.concatenate([speech[:40], noise[60:180], speech[40:]])
    spread = align_dtw(source, target, params, params.align, 3)
    inside = spread.positions[45:155]
    np.testing.assert_allclose(np.diff(inside), 0.5, atol=0.05)
    off = params.align.model_copy(update={"spread_silence": False})
    assert np.diff(align_dtw(source, target, params, off, 3).positions[45:155]).std() > 0.1


@pytest.mark.parametrize("source_frames, target_frames, factor", [(1, 1, 1), (1, 30, 3), (30, 1, 3), (7, 20, 6)])
def test_short_utterances_align(params: Params, source_frames: int, target_frames: int, factor: int) -> None:
    mels = sounds(source_frames).astype(np.float32), sounds(target_frames, seed=2).astype(np.float32)
    alignment = align_dtw(*mels, params, params.align, factor)
    assert alignment.durations.shape == (steps_of(source_frames, factor),)
    assert alignment.durations.sum() == steps_of(target_frames, factor)


def test_cost_is_measured_along_the_path_in_the_features_of_dtw(params: Params) -> None:
    source = sounds(150)
    target, origins = warp(source)
    straight = np.linspace(0, 149, len(target))
    sides = Side(source.astype(np.float32), "demo/x"), Side(target, "demo/y")
    costs = [align_pair(lambda *_, at=at: FramePath(path_along(at, 150), at), *sides, params.mel, params.align, 3)
             .diagnostics.cost for at in (origins, straight)]
    found = align_dtw(sides[0].mel, target, params, params.align, 3).diagnostics
    assert found.cost == pytest.approx(costs[0], rel=0.1)
    assert costs[1] > 1.3 * costs[0]
    assert np.isnan(found.focus)
