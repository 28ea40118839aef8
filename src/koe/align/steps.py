"""Input of the neural aligners: pairs as normalised mels in steps of R frames, in padded batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from koe.align.aligner import Side
from koe.align.forward_sum import IMPOSSIBLE
from koe.align.monotonic import log_prior
from koe.errors import KoeError
from koe.nn.layers import length_mask
from koe.statistics import Moments
from koe.steps import batch_steps, stack_frames, steps_of


@dataclass(frozen=True)
class StepBatch:
    """B pairs, S source and T target steps of R frames, padded."""

    source: Tensor  # (B, S, R * n_mels), normalised, 0 in the padding
    target: Tensor  # (B, T, R * n_mels)
    source_steps: Tensor  # (B,), each pair's own
    target_steps: Tensor  # (B,)
    prior: Tensor  # (B, T, S): log_prior, IMPOSSIBLE in padded source steps

    @property
    def source_mask(self) -> Tensor:
        """(B, S): True in real steps."""
        return length_mask(self.source_steps, self.source.shape[1])

    @property
    def target_mask(self) -> Tensor:
        """(B, T): True in real steps."""
        return length_mask(self.target_steps, self.target.shape[1])

    def to(self, device: torch.device) -> "StepBatch":
        return StepBatch(
            self.source.to(device), self.target.to(device), self.source_steps.to(device), self.target_steps.to(device),
            self.prior.to(device),
        )


@dataclass(frozen=True)
class StepReader:
    """Makes batches of pairs. Each side is normalised by its own speaker's mel, so that voices differ little."""

    speakers: Mapping[str, Moments]  # of each speaker's log-mel, by `<corpus>/<speaker>`
    factor: int  # frames in a step

    def steps(self, side: Side) -> np.ndarray:
        """(steps, factor * n_mels), normalised. Raises KoeError for a speaker without statistics."""
        if side.speaker not in self.speakers:
            raise KoeError(f"the aligner has no statistics of speaker {side.speaker}, only of "
                           f"{', '.join(sorted(self.speakers))}; run dvc repro train_aligner")
        return stack_frames(self.speakers[side.speaker].normalize(side.mel), self.factor)

    def batch(self, pairs: Sequence[tuple[Side, Side]]) -> StepBatch:
        lengths = [[steps_of(len(side.mel), self.factor) for side in pair] for pair in pairs]
        longest = [batch_steps(max(column)) for column in zip(*lengths, strict=True)]
        width = self.factor * pairs[0][0].mel.shape[1]
        source, target = (torch.zeros(len(pairs), steps, width) for steps in longest)
        prior = torch.zeros(len(pairs), longest[1], longest[0])
        for index, (pair, (rows, columns)) in enumerate(zip(pairs, lengths, strict=True)):
            source[index, :rows], target[index, :columns] = (torch.from_numpy(self.steps(side)) for side in pair)
            prior[index, :columns, :rows] = torch.from_numpy(log_prior(rows, columns))
            prior[index, :, rows:] = IMPOSSIBLE
        source_steps, target_steps = torch.tensor(lengths).unbind(1)
        return StepBatch(source, target, source_steps, target_steps, prior)
