"""Which utterances make up which batch: a pure function of the seed and the step, so that resuming is exact."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from koe.randomness import numpy_generator

_POOL_BATCHES = 8  # so many batches are shuffled together, then sorted by length: little padding, still random


@dataclass(frozen=True)
class Batching:
    """Batches of utterances of similar length, every utterance once an epoch, the last batch partial if need be.

    `lengths` are the items' lengths (any unit). Any `batch_size` from 1 up works (lesson 36).
    """

    lengths: tuple[int, ...]
    batch_size: int
    seed: int

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def epoch_of(self, step: int) -> int:
        return step // self.batches_per_epoch

    def batch_at(self, step: int) -> list[int]:
        """Indices of the items that optimizer step `step` (from 0) trains on."""
        return self._epoch(self.epoch_of(step))[step % self.batches_per_epoch]

    def _epoch(self, epoch: int) -> list[list[int]]:
        return _epoch_batches(self, epoch)


@lru_cache(maxsize=4)
def _epoch_batches(batching: Batching, epoch: int) -> list[list[int]]:
    generator = numpy_generator(batching.seed, "batches", epoch)
    order = generator.permutation(len(batching.lengths))
    lengths = np.asarray(batching.lengths)
    pool = batching.batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        starts = range(0, len(members), batching.batch_size)
        batches += [members[at : at + batching.batch_size].tolist() for at in starts]
    return [batches[index] for index in generator.permutation(len(batches))]
