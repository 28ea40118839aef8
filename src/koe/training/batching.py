"""Which utterances make up which batch: a pure function of the seed and the step, so that resuming is exact."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from koe.randomness import numpy_generator

_POOL_BATCHES = 8  # batches that are shuffled together, then sorted by length: little padding, still random


@dataclass(frozen=True)
class Batching:
    """Batches of utterances of similar length, every utterance once an epoch.

    Exactly one of `batch_size` and `batch_frames` is given.
    """

    lengths: tuple[int, ...]  # of the items, frames
    batch_size: int | None  # items in a batch, any number from 1 up (lesson 36); the last batch has what is left
    seed: int  # of the order
    batch_frames: int | None = None  # most frames in a batch, padding counted; a longer item is alone in its batch
    multiple: int = 1  # frames; the length of a batch is padded to a multiple of it
    accumulate: int = 1  # batches in an optimizer step; an epoch's last step has what is left

    @property
    def batches_per_epoch(self) -> int:
        return len(_epoch_batches(self, 0))

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.batches_per_epoch // self.accumulate)

    def epoch_of(self, step: int) -> int:
        return step // self.steps_per_epoch

    def batches_at(self, step: int) -> list[list[int]]:
        """Indices of the items that optimizer step `step` (from 0) trains on, batch by batch."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        first = step_in_epoch * self.accumulate
        return _epoch_batches(self, epoch)[first : first + self.accumulate]

    def batch_at(self, step: int) -> list[int]:
        """Indices of the items that optimizer step `step` (from 0) trains on, where one batch makes a step."""
        (batch,) = self.batches_at(step)
        return batch

    @property
    def padding_ratio(self) -> float:
        """Share of the frames in the batches of the first epoch that is padding."""
        padded = self._padded()
        frames = sum(len(batch) * int(padded[batch].max()) for batch in _epoch_batches(self, 0))
        return 1 - sum(self.lengths) / frames

    def _padded(self) -> np.ndarray:
        """Length of each item after padding, alone in a batch."""
        return -(-np.asarray(self.lengths) // self.multiple) * self.multiple


@lru_cache(maxsize=4)
def _epoch_batches(batching: Batching, epoch: int) -> list[list[int]]:
    generator = numpy_generator(batching.seed, "batches", epoch)
    order = generator.permutation(len(batching.lengths))
    if batching.batch_size is not None:
        batches = _by_size(order, np.asarray(batching.lengths), batching.batch_size)
    else:
        batches = _by_frames(order, batching)
    return [batches[index] for index in generator.permutation(len(batches))]


def _by_size(order: np.ndarray, lengths: np.ndarray, size: int) -> list[list[int]]:
    batches: list[list[int]] = []
    pool = size * _POOL_BATCHES
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[at : at + size].tolist() for at in range(0, len(members), size)]
    return batches


def _by_frames(order: np.ndarray, batching: Batching) -> list[list[int]]:
    """Items sorted by padded length, at random among equals, and cut where a batch is full.

    The sorted padded lengths are the same in every epoch, so an epoch always has the same number of batches.
    """
    assert batching.batch_frames is not None, "Batching takes batch_size or batch_frames"
    padded = batching._padded()
    order = order[np.argsort(padded[order], kind="stable")]
    batches: list[list[int]] = [[]]
    for item in order.tolist():
        if batches[-1] and (len(batches[-1]) + 1) * padded[item] > batching.batch_frames:
            batches.append([])
        batches[-1].append(item)
    return batches
