"""Batches cover every utterance once an epoch, by any number of utterances or of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.training.batching import Batching

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=60).map(tuple)


def epoch_of(batching: Batching, epoch: int) -> list[list[int]]:
    """All batches of an epoch, as its steps have them."""
    first = epoch * batching.steps_per_epoch
    return [batch for step in range(batching.steps_per_epoch) for batch in batching.batches_at(first + step)]


@given(lengths, st.integers(1, 70), st.integers(0, 3), st.integers(1, 5))
def test_lesson_36_any_batch_size_covers_each_epoch_once(
    lengths: tuple[int, ...], size: int, epoch: int, accumulate: int
) -> None:
    batches = epoch_of(Batching(lengths, size, seed=5, accumulate=accumulate), epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)


@given(lengths, st.integers(1, 2000), st.integers(0, 3), st.sampled_from([1, 16, 48]))
def test_lesson_26_batches_by_frames_are_full_but_never_too_long(
    lengths: tuple[int, ...], frames: int, epoch: int, multiple: int
) -> None:
    batching = Batching(lengths, None, seed=5, batch_frames=frames, multiple=multiple)
    batches = epoch_of(batching, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == batching.batches_per_epoch  # the same in every epoch
    padded = [len(batch) * -(-max(lengths[index] for index in batch) // multiple) * multiple for batch in batches]
    assert all(size <= frames or len(batch) == 1 for size, batch in zip(padded, batches, strict=True))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    lengths = tuple(range(1, 40))
    for size, frames in ((4, None), (None, 100)):
        first, second, other = (Batching(lengths, size, seed, frames) for seed in (1, 1, 2))
        assert first.batches_at(17) == second.batches_at(17)
        assert [first.batches_at(step) for step in range(9)] != [other.batches_at(step) for step in range(9)]
        assert epoch_of(first, 0) != epoch_of(first, 1)


def test_utterances_of_equal_length_meet_others_in_each_epoch() -> None:
    batching = Batching((10,) * 40, None, 1, batch_frames=40)
    assert len({frozenset(batch) for epoch in range(5) for batch in epoch_of(batching, epoch)}) > 40


def test_accumulated_batches_stay_within_their_epoch() -> None:
    batching = Batching(tuple(range(1, 12)), 2, 0, accumulate=4)
    assert (batching.batches_per_epoch, batching.steps_per_epoch) == (6, 2)
    assert [len(batching.batches_at(step)) for step in range(4)] == [4, 2, 4, 2]
    assert [batching.epoch_of(step) for step in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("size", "frames"), [(16, None), (None, 4000)])
def test_similar_lengths_go_together(size: int | None, frames: int | None) -> None:
    batching = Batching(tuple(range(100, 356)), size, 0, frames)
    assert batching.padding_ratio < 0.1


def test_the_padding_ratio_counts_every_frame_of_a_batch() -> None:
    # in 48s: 31 and 40 in one batch, 96; 50 alone in its, 96
    assert Batching((31, 40, 50), None, 0, batch_frames=100, multiple=48).padding_ratio == pytest.approx(1 - 121 / 192)
    assert Batching((7, 7, 7), 2, 0).padding_ratio == 0


def test_by_frames_less_is_padded_than_by_number() -> None:
    lengths = tuple(np.random.default_rng(0).integers(100, 900, 400).tolist())
    by_frames, by_number = Batching(lengths, None, 0, 8000), Batching(lengths, 16, 0)
    assert by_frames.padding_ratio < by_number.padding_ratio
