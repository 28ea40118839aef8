"""Frames become steps and frames again, in every mode; none is lost."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.steps import average_frames, stack_frames, steps_of
from koe.tasks.conversion.params import ReductionParams
from koe.tasks.conversion.reduction import (
    frames_predicted,
    reduce_mel,
    reduce_prosody,
    steps_per_value,
    values_of,
    values_per_step,
)

frame_counts, factors = st.integers(1, 50), st.integers(1, 6)
RATES = [rates for rates in product(range(1, 7), repeat=2) if not max(rates) % min(rates)]  # factor, frames a value


def reduction(factor: int, by: str = "reshape", prosody_by: str = "mean", prosody_factor: int | None = None
              ) -> ReductionParams:
    return ReductionParams(by=by, factor=factor, loss="frames", prosody_by=prosody_by, prosody_factor=prosody_factor)


def bands(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).normal(size=(frames, 4)).astype(np.float32)


@given(frame_counts, factors)
def test_lesson_30_no_frame_is_lost_by_stacking(frames: int, factor: int) -> None:
    mel = np.arange(frames * 4, dtype=np.float32).reshape(frames, 4)
    stacked = stack_frames(mel, factor)
    assert stacked.shape == (steps_of(frames, factor), factor * 4)
    assert np.array_equal(stacked.reshape(-1, 4)[:frames], mel)


@given(frame_counts, factors, st.sampled_from(["reshape", "mean", "slice"]))
def test_lesson_30_every_frame_has_a_step(frames: int, factor: int, by: str) -> None:
    """Steps cover all frames, the last one a partial step at most, and each is as wide as what is predicted."""
    params = reduction(factor, by)
    reduced = reduce_mel(bands(frames), params)
    assert reduced.shape == (steps_of(frames, factor), 4 * frames_predicted(params))
    assert 0 <= len(reduced) * factor - frames < factor


@given(frame_counts, factors)
def test_a_step_is_the_mean_of_its_real_frames_or_the_first_of_them(frames: int, factor: int) -> None:
    mel = bands(frames)
    pieces = [mel[start : start + factor] for start in range(0, frames, factor)]
    assert np.allclose(reduce_mel(mel, reduction(factor, "mean")), [piece.mean(axis=0) for piece in pieces], atol=1e-6)
    assert np.array_equal(reduce_mel(mel, reduction(factor, "slice")), [piece[0] for piece in pieces])


def test_time_is_the_first_axis_of_a_step() -> None:
    mel = np.array([[1, 2], [3, 4], [5, 6]])
    assert stack_frames(mel, 2).tolist() == [[1, 2, 3, 4], [5, 6, 5, 6]]


@given(frame_counts, factors)
def test_averages_are_over_real_frames(frames: int, factor: int) -> None:
    values = np.random.default_rng(frames).normal(size=frames).astype(np.float32)
    expected = [values[start : start + factor].mean() for start in range(0, frames, factor)]
    assert np.allclose(average_frames(values, factor), expected, atol=1e-6)


@given(frame_counts, st.sampled_from(RATES), st.sampled_from(["mean", "slice"]))
def test_values_of_prosody_cover_the_steps(frames: int, rates: tuple[int, int], by: str) -> None:
    """Each value is made of its own real frames, and those that only fill the last step repeat the last real one."""
    factor, frames_per_value = rates
    params = reduction(factor, prosody_by=by, prosody_factor=frames_per_value)
    values = np.random.default_rng(frames).normal(size=frames).astype(np.float32)
    reduced, real = reduce_prosody(values, params), steps_of(frames, frames_per_value)
    assert len(reduced) == values_of(steps_of(frames, factor), params) >= real
    for index, value in enumerate(reduced[:real]):
        piece = values[index * frames_per_value : (index + 1) * frames_per_value]
        assert value == pytest.approx(piece.mean() if by == "mean" else piece[0], abs=1e-6)
    assert (reduced[real:] == reduced[real - 1]).all()


@pytest.mark.parametrize("rates", RATES)
def test_a_value_stands_for_frames_of_whole_steps_or_a_step_has_whole_values(rates: tuple[int, int]) -> None:
    factor, frames_per_value = rates
    params = reduction(factor, prosody_factor=frames_per_value)
    assert factor * steps_per_value(params) == frames_per_value * values_per_step(params)
    assert 1 in (steps_per_value(params), values_per_step(params))
