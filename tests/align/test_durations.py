"""From a path to durations: nothing lost, nothing out of order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.align.durations import durations_of, path_along, spread_silence
from koe.dtw import source_positions
from koe.steps import steps_of


@st.composite
def paths(draw: st.DrawFn) -> np.ndarray:
    """A path as `dtw` returns it: from (0, 0), single steps."""
    steps = draw(st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1)]), max_size=60))
    return np.cumsum(np.array([(0, 0), *steps]), axis=0)


def masks(draw_from: int, length: int) -> np.ndarray:
    return np.random.default_rng(draw_from).random(length) < 0.6


@settings(max_examples=200, deadline=None)
@given(paths(), st.integers(1, 6), st.booleans(), st.integers(0, 1000))
def test_lesson_06_and_30_durations_cover_every_target_step(
    path: np.ndarray, factor: int, silences: bool, seed: int
) -> None:
    source_frames, target_frames = path[-1] + 1
    positions = source_positions(path)
    if silences:
        positions = spread_silence(positions, path, masks(seed, source_frames), masks(seed + 1, target_frames))
    assert positions.shape == (target_frames,)
    assert (np.diff(positions) >= 0).all()
    assert positions.min() >= 0 and positions.max() <= source_frames - 1
    durations = durations_of(positions, source_frames, factor)
    assert durations.dtype == np.int32
    assert durations.shape == (steps_of(source_frames, factor),)
    assert durations.min() >= 0
    assert durations.sum() == steps_of(target_frames, factor)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.integers(1, 6))
def test_equal_sides_give_ones(frames: int, factor: int) -> None:
    positions = np.arange(frames, dtype=float)
    np.testing.assert_array_equal(durations_of(positions, frames, factor), 1)


def test_a_target_of_twice_the_length_gives_twos() -> None:
    np.testing.assert_array_equal(durations_of(np.repeat(np.arange(12.0), 2), 12, 3), [2, 2, 2, 2])


def test_a_step_belongs_to_what_the_path_crosses_at_its_middle() -> None:
    # Target steps of 3 frames: middles at frames 1 and 4, where the path is at source frames 0 and 5.
    positions = np.array([0.0, 0.0, 2.0, 4.0, 5.0, 5.0])
    np.testing.assert_array_equal(durations_of(positions, 6, 3), [1, 1])
    positions = np.array([0.0, 3.0, 3.0, 4.0, 5.0, 5.0])
    np.testing.assert_array_equal(durations_of(positions, 6, 3), [0, 2])


def test_silence_of_both_is_spread_evenly() -> None:
    # Both silent between frames 2 and 6; the path crosses it in a corner: all of the source, then the target.
    path = np.array([(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (6, 3), (6, 4), (6, 5), (6, 6), (7, 7)])
    silent = np.zeros(8, bool)
    silent[2:7] = True
    wandering = source_positions(path)
    np.testing.assert_allclose(spread_silence(wandering, path, silent, silent), np.arange(8))
    assert np.abs(wandering - np.arange(8)).max() >= 2


def test_silence_of_one_side_is_left_to_the_path() -> None:
    path = np.array([(0, 0), (1, 1), (1, 2), (1, 3), (2, 4)])
    quiet = np.array([False, True, True, True, False])
    positions = source_positions(path)
    np.testing.assert_array_equal(spread_silence(positions, path, np.zeros(3, bool), quiet), positions)


@settings(max_examples=100, deadline=None)
@given(paths())
def test_a_path_along_positions_keeps_to_them_in_single_steps(path: np.ndarray) -> None:
    positions = source_positions(path)
    again = path_along(positions, int(path[-1, 0]) + 1)
    assert tuple(again[0]) == (0, 0) and tuple(again[-1]) == tuple(path[-1])
    assert {tuple(step) for step in np.diff(again, axis=0)} <= {(1, 0), (0, 1), (1, 1)}
    for target in range(len(positions) - 1):
        assert again[again[:, 1] == target, 0].max() == round(positions[target])


@pytest.mark.parametrize("source_frames, target_frames", [(1, 9), (9, 1), (1, 1), (2, 17)])
def test_extreme_lengths(source_frames: int, target_frames: int) -> None:
    positions = np.linspace(0, source_frames - 1, target_frames)
    assert durations_of(positions, source_frames, 3).sum() == steps_of(target_frames, 3)
