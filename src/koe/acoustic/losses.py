"""Losses of the acoustic model, one number for each part, means over real frames or steps only."""

import torch
import torch.nn.functional as F
from torch import Tensor

from koe.acoustic.data import Batch
from koe.acoustic.nars2s import Output, length_mask
from koe.params import AcousticLossWeights

PARTS = ("mel", "postnet", "duration", "pitch", "energy")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, T) or (B, T, C) where mask (B, T) is True."""
    if values.dim() == 3:
        values = values.mean(dim=-1)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def acoustic_losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Each part's loss: L1 of the mel before and after the Postnet, mean squared error of pitch and energy, and
    durations: Huber by step plus the relative error of the whole, for a converter that is 10 % too fast in every
    step is worse than one whose steps jitter. Durations are compared as they are, not as logarithms, whose mean
    is always too short.
    """
    frame_mask = length_mask(batch.target_frames, batch.target_mel.shape[1])
    source_mask = length_mask(batch.source.steps, batch.durations.shape[1])
    step_mask = length_mask(output.steps, output.pitch.shape[1])
    true = batch.durations.to(output.durations.dtype)
    whole = (output.durations.sum(dim=1) - true.sum(dim=1)).abs() / true.sum(dim=1)
    return {
        "mel": masked_mean((output.mel_before - batch.target_mel).abs(), frame_mask),
        "postnet": masked_mean((output.mel - batch.target_mel).abs(), frame_mask),
        "duration": masked_mean(F.smooth_l1_loss(output.durations, true, reduction="none"), source_mask)
        + whole.mean(),
        "pitch": masked_mean((output.pitch - batch.prosody.pitch).square(), step_mask),
        "energy": masked_mean((output.energy - batch.prosody.energy).square(), step_mask),
    }


def weighted_sum(losses: dict[str, Tensor], weights: AcousticLossWeights) -> Tensor:
    """The number that is minimised."""
    return torch.stack([getattr(weights, part) * losses[part] for part in PARTS]).sum()
