"""The length regulator: a hidden sequence repeated by durations."""

import torch
from torch import Tensor


def regulate_length(x: Tensor, durations: Tensor, size: int) -> Tensor:
    """Repeats step s of (B, S, C) durations[s] times: (B, size, C); beyond the sum of durations, the last step.

    One gather for the whole batch (FastSpeech's length regulator without its loop).
    """
    ends = durations.cumsum(dim=1)
    positions = torch.arange(size, device=x.device).expand(len(x), size).contiguous()
    index = torch.searchsorted(ends, positions, right=True).clamp(max=x.shape[1] - 1)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def round_durations(durations: Tensor, mask: Tensor) -> Tensor:
    """Whole durations (B, S) whose running sums are nearest to the real-valued ones', so rounding errors never add up.

    Every sequence keeps at least one step.
    """
    ends = (durations.clamp(min=0) * mask).double().cumsum(dim=1).round().long()
    last = mask.sum(dim=1, keepdim=True) - 1
    ends = torch.where(torch.arange(ends.shape[1], device=ends.device)[None] >= last, ends.clamp(min=1), ends)
    return torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1])) * mask
