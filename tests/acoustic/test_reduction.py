"""R frames become a step and frames again; none is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from koe.acoustic.reduction import average_frames, stack_frames, steps_of, unstack_frames

frame_counts, factors = st.integers(1, 50), st.integers(1, 6)


@given(frame_counts, factors)
def test_lesson_30_no_frame_is_lost_by_stacking(frames: int, factor: int) -> None:
    mel = np.arange(frames * 4, dtype=np.float32).reshape(frames, 4)
    stacked = stack_frames(mel, factor)
    assert stacked.shape == (steps_of(frames, factor), factor * 4)
    assert np.array_equal(unstack_frames(stacked, factor, frames), mel)


def test_time_is_the_first_axis_of_a_step() -> None:
    mel = np.array([[1, 2], [3, 4], [5, 6]])
    assert stack_frames(mel, 2).tolist() == [[1, 2, 3, 4], [5, 6, 5, 6]]


@given(frame_counts, factors)
def test_averages_are_over_real_frames(frames: int, factor: int) -> None:
    values = np.random.default_rng(frames).normal(size=frames).astype(np.float32)
    expected = [values[start : start + factor].mean() for start in range(0, frames, factor)]
    assert np.allclose(average_frames(values, factor), expected, atol=1e-6)
