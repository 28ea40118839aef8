"""Batches cover every utterance once an epoch, at any batch size."""

from hypothesis import given
from hypothesis import strategies as st

from koe.training.batching import Batching

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=60).map(tuple)


@given(lengths, st.integers(1, 70), st.integers(0, 3))
def test_lesson_36_any_batch_size_covers_each_epoch_once(lengths: tuple[int, ...], size: int, epoch: int) -> None:
    batching = Batching(lengths, size, seed=5)
    first = epoch * batching.batches_per_epoch
    batches = [batching.batch_at(first + step) for step in range(batching.batches_per_epoch)]
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    lengths = tuple(range(1, 40))
    assert Batching(lengths, 4, 1).batch_at(17) == Batching(lengths, 4, 1).batch_at(17)
    assert Batching(lengths, 4, 1).batch_at(17) != Batching(lengths, 4, 2).batch_at(17)
    assert Batching(lengths, 4, 1).batch_at(0) != Batching(lengths, 4, 1).batch_at(10)  # the next epoch


def test_similar_lengths_go_together() -> None:
    lengths = tuple(range(100, 356))
    batching = Batching(lengths, 16, seed=0)
    padded = sum(
        len(batch) * max(lengths[index] for index in batch)
        for batch in (batching.batch_at(step) for step in range(batching.batches_per_epoch))
    )
    assert padded / sum(lengths) < 1.1
