"""Losses of the acoustic model, one number for each part, means over real frames or steps only."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from koe.nn.layers import average_steps, length_mask, masked_mean
from koe.tasks.conversion.data import Batch
from koe.tasks.conversion.nars2s import Output
from koe.tasks.conversion.params import AcousticLossParams, AcousticLossWeights, MelLossParams
from koe.tasks.conversion.reduction import frames_per_value

PARTS = ("mel", "postnet", "duration", "pitch", "energy")


def acoustic_losses(output: Output, batch: Batch, params: AcousticLossParams) -> dict[str, Tensor]:
    """Each part's loss: distances of the mel before and after the Postnet (`mel_distance`), of durations
    (`duration_loss`), and mean squared errors of pitch and energy.

    Without a Postnet its part is the mel's, detached, so that the same error does not count twice.
    """
    source_mask = length_mask(batch.source.steps, batch.durations.shape[1])
    value_mask = length_mask(-(-batch.target_frames // frames_per_value(batch.reduction)), output.pitch.shape[1])
    target, mask = _compared(batch.target_mel, batch, mean=batch.reduction.by == "mean")
    before, after = (_compared(mel, batch, mean=False)[0] for mel in (output.mel_before, output.mel))
    mel = mel_distance(before, target, mask, params.mel)
    without_postnet = output.mel is output.mel_before
    return {
        "mel": mel,
        "postnet": mel.detach() if without_postnet else mel_distance(after, target, mask, params.mel),
        "duration": duration_loss(output.durations, batch.durations, source_mask, params.duration),
        "pitch": masked_mean((output.pitch - batch.prosody.pitch).square(), value_mask),
        "energy": masked_mean((output.energy - batch.prosody.energy).square(), value_mask),
    }


def _compared(mel: Tensor, batch: Batch, mean: bool) -> tuple[Tensor, Tensor]:
    """The parts of mels (B, T * R, M) that the loss compares, and the mask of the real ones.

    Frames, or with `reduction.loss: steps` steps: the mean of a step's frames, or the first one, as in predictions all
    frames of a step are equal.
    """
    reduction, frames = batch.reduction, batch.target_frames
    mask = length_mask(frames, mel.shape[1])
    if reduction.loss == "frames":
        return mel, mask
    steps = average_steps(mel, mask, reduction.factor) if mean else mel[:, :: reduction.factor]
    return steps, mask[:, :: reduction.factor]


def mel_distance(mel: Tensor, target: Tensor, mask: Tensor, params: MelLossParams) -> Tensor:
    """Weighted sum of distances of mels (B, F, M) over real frames: mean absolute, mean squared, Huber (quadratic up
    to 1), and 1 - SSIM.
    """
    distances = {
        "l1": lambda: masked_mean((mel - target).abs(), mask),
        "l2": lambda: masked_mean((mel - target).square(), mask),
        "huber": lambda: masked_mean(F.smooth_l1_loss(mel, target, reduction="none"), mask),
        "ssim": lambda: 1 - structural_similarity(mel, target, mask),
    }
    weights = {name: weight for name, weight in params.model_dump().items() if weight}
    return torch.stack([weight * distances[name]() for name, weight in weights.items()]).sum()


def structural_similarity(mel: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean structural similarity of mels (B, F, M) as images (Wang et al. 2004, equation 13; its window and constants).

    Windows are cut at the image's edges and at padding, and their weights add up to 1. Both images are scaled so that
    the target's real frames range from 0 to 1, so that the mels' normalisation makes no difference.
    """
    real = mask[:, :, None]
    lowest = target.masked_fill(~real, torch.inf).amin(dim=(1, 2), keepdim=True)
    highest = target.masked_fill(~real, -torch.inf).amax(dim=(1, 2), keepdim=True)
    x, y = ((image - lowest) / (highest - lowest).clamp(min=1e-5) * real for image in (mel, target))
    images = torch.stack([x, y, x * x, y * y, x * y, real.expand_as(x).to(x.dtype)])
    *sums, weight = _windowed(images)
    x, y, xx, yy, xy = (total / weight.clamp(min=1e-5) for total in sums)
    steady, varied = 0.01**2, 0.03**2
    similarity = (2 * x * y + steady) * (2 * (xy - x * y) + varied) / (
        (x * x + y * y + steady) * (xx - x * x + yy - y * y + varied))
    return masked_mean(similarity, mask)


def _windowed(images: Tensor) -> Tensor:
    """Sums under a Gaussian window of 11 × 11 with deviation 1.5 around each pixel, of images (…, F, M)."""
    places = torch.arange(-5, 6, device=images.device, dtype=images.dtype)
    window = torch.exp(-places.square() / (2 * 1.5**2))
    window = window / window.sum()
    flat = images.flatten(0, -3)[:, None]
    flat = F.conv2d(flat, window[None, None, :, None], padding=(5, 0))
    return F.conv2d(flat, window[None, None, None, :], padding=(0, 5)).view_as(images)


def duration_loss(predicted: Tensor, true: Tensor, mask: Tensor, kind: str) -> Tensor:
    """Loss of durations (B, S) over real steps.

    `plain`: Huber loss of each step. `guided`: plus the relative error of the total, because 10 % too fast in every
    step is worse than steps that jitter. `log`: squared error of log(d + 1) (FastSpeech 2), with which the total is
    always too short.
    """
    true = true.to(predicted.dtype)
    if kind == "log":
        return masked_mean((torch.log1p(predicted) - torch.log1p(true)).square(), mask)
    by_step = masked_mean(F.smooth_l1_loss(predicted, true, reduction="none"), mask)
    if kind == "plain":
        return by_step
    total = (predicted.sum(dim=1) - true.sum(dim=1)).abs() / true.sum(dim=1)
    return by_step + total.mean()


def weighted_sum(losses: Mapping[str, Tensor], weights: AcousticLossWeights) -> Tensor:
    """The loss that is minimised."""
    return torch.stack([getattr(weights, part) * losses[part] for part in PARTS]).sum()
