"""Losses of vocoders: HiFi-GAN's, and distances between spectrograms of several resolutions.

HiFi-GAN's (Kong, Kim and Bae 2020, equations 1 to 8; least squares after Mao et al. 2017) are summed over
discriminators, and feature matching over layers too, as in the public implementation. All are computed in float32,
whatever the precision of the discriminators.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from koe.vocoder.discriminators import Judgement
from koe.vocoder.spectra import magnitudes


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def discriminator_loss(real: Sequence[Judgement], generated: Sequence[Judgement]) -> Tensor:
    """Real waveforms should score 1 and generated ones 0: a scalar."""
    return _sum([
        (1 - ours.score.float()).square().mean() + theirs.score.float().square().mean()
        for ours, theirs in zip(real, generated, strict=True)
    ])


def adversarial_loss(generated: Sequence[Judgement]) -> Tensor:
    """Generated waveforms should score 1: a scalar."""
    return _sum([(1 - judgement.score.float()).square().mean() for judgement in generated])


def feature_matching_loss(real: Sequence[Judgement], generated: Sequence[Judgement]) -> Tensor:
    """L1 between the discriminators' features of real and generated waveforms: a scalar.

    No gradient flows into the features of the real waveforms.
    """
    return _sum([
        (true.detach().float() - made.float()).abs().mean()
        for ours, theirs in zip(real, generated, strict=True)
        for true, made in zip(ours.features, theirs.features, strict=True)
    ])


def mel_loss(real: Tensor, generated: Tensor) -> Tensor:
    """L1 between log-mels of equal shape: a scalar."""
    return (real - generated).abs().mean()


def stft_loss(real: Tensor, generated: Tensor, sizes: Sequence[int]) -> Tensor:
    """Distance of waveforms (batch, samples) in STFT magnitudes, mean over FFT `sizes`: a scalar.

    At each size it is the spectral convergence, the distance's Frobenius norm as a share of the real magnitudes' norm,
    and the mean absolute difference of their natural logarithms, added up (Yamamoto et al. 2020, equations 3 to 6).
    """
    losses = []
    for size in sizes:
        with torch.no_grad():
            true = magnitudes(real, size)
        made = magnitudes(generated, size)
        losses.append((true - made).norm() / true.norm() + (true.log() - made.log()).abs().mean())
    return torch.stack(losses).mean()


def gradient_penalty(wave: Tensor, judgements: Sequence[Judgement]) -> Tensor:
    """R1 (Mescheder et al. 2018, equation 9, without its weight): squared norm of the gradient of all scores with
    respect to the real waveforms (batch, samples) that were judged, mean over the batch. `wave` must require gradients.
    """
    total = _sum([judgement.score.sum() for judgement in judgements])
    (gradient,) = torch.autograd.grad(total, wave, create_graph=True)
    return gradient.square().sum(dim=1).mean()
