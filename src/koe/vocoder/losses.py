"""HiFi-GAN's losses (Kong, Kim and Bae 2020, equations 1 to 8; least squares after Mao et al. 2017).

Each is summed over discriminators, and feature matching over layers too, as in the public implementation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from koe.vocoder.discriminators import Judgement


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def discriminator_loss(real: Sequence[Judgement], generated: Sequence[Judgement]) -> Tensor:
    """Real waveforms should score 1 and generated ones 0: a scalar."""
    return _sum([
        (1 - ours.score).square().mean() + theirs.score.square().mean()
        for ours, theirs in zip(real, generated, strict=True)
    ])


def adversarial_loss(generated: Sequence[Judgement]) -> Tensor:
    """Generated waveforms should score 1: a scalar."""
    return _sum([(1 - judgement.score).square().mean() for judgement in generated])


def feature_matching_loss(real: Sequence[Judgement], generated: Sequence[Judgement]) -> Tensor:
    """L1 between the discriminators' features of real and generated waveforms: a scalar.

    No gradient flows into the features of the real waveforms.
    """
    return _sum([
        (true.detach() - made).abs().mean()
        for ours, theirs in zip(real, generated, strict=True)
        for true, made in zip(ours.features, theirs.features, strict=True)
    ])


def mel_loss(real: Tensor, generated: Tensor) -> Tensor:
    """L1 between log-mels of equal shape: a scalar."""
    return (real - generated).abs().mean()
