"""The probability of all monotonic paths together, from which an aligner learns without durations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from koe.align.monotonic import longest_advance

IMPOSSIBLE = -1e9  # in place of minus infinity, whose differences are NaN and would spoil gradients


def forward_sum(log_attention: Tensor, source_steps: Tensor, target_steps: Tensor) -> Tensor:
    """Log of the sum over all paths of `koe.align.monotonic` of the product of their weights: shape (B,).

    Badlani et al. 2022, eq. 3; theirs is CTC, which gives each source step at least one target step and so cannot
    align a target that is shorter than its source. Here steps may be skipped.

    Args:
        log_attention: (B, target steps, source steps), IMPOSSIBLE in padded source steps.
        source_steps, target_steps: (B,), each pair's own.
    """
    batch, rows, columns = log_attention.shape
    steps = zip(source_steps.tolist(), target_steps.tolist(), strict=True)
    most = torch.tensor([longest_advance(source, target) for source, target in steps], device=log_attention.device)
    places = torch.arange(columns, device=log_attention.device)
    ahead = torch.arange(int(most.max()) + 1, device=log_attention.device)
    barred = torch.where(ahead <= most[:, None], 0.0, IMPOSSIBLE)[:, None]  # (B, 1, advances)
    sums = torch.where(places < most[:, None], 0.0, IMPOSSIBLE) + log_attention[:, 0]
    history = [sums]
    for row in range(1, rows):
        padded = F.pad(sums, (len(ahead) - 1, 0), value=IMPOSSIBLE)
        arriving = padded.unfold(1, len(ahead), 1).flip(2)  # (B, columns, advances): from `advance` steps before
        sums = torch.logsumexp(arriving + barred, dim=2) + log_attention[:, row]
        history.append(sums)
    ends = torch.stack(history, dim=1)[torch.arange(batch), target_steps - 1]
    near = (places < source_steps[:, None]) & (places >= (source_steps - most)[:, None])
    return torch.logsumexp(ends.masked_fill(~near, IMPOSSIBLE), dim=1)
