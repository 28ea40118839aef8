"""Learned alignment search: encoders of both sides and a soft alignment, learned without any durations.

Badlani et al. 2022 (One TTS Alignment To Rule Them All), as AAS-VC uses it for conversion. Both sides are mels here, so
one encoder serves both: similar sounds are near from the beginning.
"""

import torch
from torch import Tensor, nn

from koe.align.forward_sum import IMPOSSIBLE, forward_sum
from koe.align.monotonic import best_path
from koe.align.params import LearnedAlignParams
from koe.align.steps import StepBatch
from koe.nn.convolution import Convolution


class LearnedAligner(nn.Module):
    """Steps (B, steps, R * n_mels) of both sides → log-probabilities of source steps for each target step."""

    def __init__(self, params: LearnedAlignParams, width: int) -> None:
        super().__init__()
        self.params = params
        widths = [width] + [params.hidden] * params.layers
        self.convolutions = nn.ModuleList(
            Convolution(before, params.hidden, params.kernel, contiguous=True) for before in widths[:-1])
        self.out = Convolution(params.hidden, params.channels, 1, contiguous=True)
        self.log_scale = nn.Parameter(torch.zeros(()))  # of the distances

    def forward(self, batch: StepBatch) -> Tensor:
        """(B, T, S): log-softmax of negative squared distances plus the prior, IMPOSSIBLE in padded source steps."""
        return torch.log_softmax(self._closeness(batch) + batch.prior, dim=2)

    def losses(self, batch: StepBatch, progress: float) -> dict[str, Tensor]:
        """Losses to minimise, by name; `progress`: share of the training steps done, 0 to 1.

        `forward_sum`: minus the log-probability of all monotonic paths, per target step. `binarization`: minus the mean
        log-probability, without the prior, along the best path; it makes the soft alignment agree with the path that
        is taken in the end, and counts from `binarization_from` on, since a path that is found too early is never left.
        """
        closeness = self._closeness(batch)
        log_attention = torch.log_softmax(closeness + batch.prior, dim=2)
        total = forward_sum(log_attention, batch.source_steps, batch.target_steps)
        losses = {"forward_sum": -(total / batch.target_steps).mean()}
        if progress >= self.params.binarization_from:
            along = torch.log_softmax(closeness, dim=2).gather(2, _best_paths(log_attention, batch)).squeeze(2)
            losses["binarization"] = -along[batch.target_mask].mean()
        return losses

    def _closeness(self, batch: StepBatch) -> Tensor:
        """(B, T, S): negative squared distances of encoded steps, IMPOSSIBLE in padded source steps."""
        keys, queries = self._encode(batch.source, batch.source_mask), self._encode(batch.target, batch.target_mask)
        squares = queries.square().sum(2)[:, :, None] + keys.square().sum(2)[:, None]
        distances = (squares - 2 * queries @ keys.transpose(1, 2)) / keys.shape[2] ** 0.5
        return (-self.log_scale.exp() * distances).masked_fill(batch.prior == IMPOSSIBLE, IMPOSSIBLE)

    def _encode(self, steps: Tensor, mask: Tensor) -> Tensor:
        """(B, steps, channels) of one side."""
        encoded = steps
        for convolution in self.convolutions:  # values in the padding would reach the last steps
            encoded = torch.relu(convolution(encoded)) * mask[:, :, None]
        return self.out(encoded)


def _best_paths(log_attention: Tensor, batch: StepBatch) -> Tensor:
    """(B, T, 1): the source step of each target step on the pair's best path, 0 in the padding."""
    paths = torch.zeros(*log_attention.shape[:2], 1, dtype=torch.int64)
    scores = log_attention.detach().cpu().numpy()
    for index, (source, target) in enumerate(
        zip(batch.source_steps.tolist(), batch.target_steps.tolist(), strict=True)
    ):
        paths[index, :target, 0] = torch.from_numpy(best_path(scores[index, :target, :source]))
    return paths.to(log_attention.device)
