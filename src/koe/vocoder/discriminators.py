"""HiFi-GAN's discriminators: over periods (folded waveforms) and over scales (averaged waveforms); and of spectrograms.

Kong, Kim and Bae 2020, sections 2.3; the second kind is MelGAN's (Kumar et al. 2019), the third is in
`koe.vocoder.spectra`. Periods are parameters: at other rates than 22.05 kHz other primes are right (lesson 38). Widths
are parameters too: with `period_channels` 32, `scale_channels` 128, three scales, periods 2, 3, 5, 7, 11 and no spectra
all shapes and names are the published ones.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from koe.vocoder.hifigan import LEAKY_SLOPE
from koe.vocoder.params import DiscriminatorParams
from koe.vocoder.spectra import SpectrumDiscriminator

_PERIOD_WIDTHS = (1, 4, 16, 32, 32)  # in multiples of the first layer's channels
_PERIOD_STRIDES = (3, 3, 3, 3, 1)
# width (multiple of the first layer's), kernel, stride, groups
_SCALE_LAYERS = (
    (1, 15, 1, 1), (1, 41, 2, 4), (2, 41, 2, 16), (4, 41, 4, 16), (8, 41, 4, 16), (8, 41, 1, 16), (8, 5, 1, 1),
)


class Judgement(NamedTuple):
    """Output of one discriminator for a batch of waveforms."""

    score: Tensor  # (batch, positions): 1 is real, 0 is generated
    features: list[Tensor]  # every layer's output, for feature matching


class PeriodDiscriminator(nn.Module):
    """Judges every `period`-th sample of a waveform together."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * multiple for multiple in _PERIOD_WIDTHS)]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for before, after, stride in zip(widths[:-1], widths[1:], _PERIOD_STRIDES, strict=True)
        )
        self.conv_post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> Judgement:
        missing = -wave.shape[-1] % self.period
        x = F.pad(wave, (0, missing), mode="reflect")
        return _judge(x.unflatten(-1, (-1, self.period)).unsqueeze(1), self.convs, self.conv_post)


class ScaleDiscriminator(nn.Module):
    """Judges a waveform as it is; the layers are grouped, so that long kernels stay cheap."""

    def __init__(self, channels: int, spectral: bool) -> None:
        super().__init__()
        normalize = spectral_norm if spectral else weight_norm
        self.convs = nn.ModuleList()
        before = 1
        for multiple, kernel, stride, groups in _SCALE_LAYERS:
            after = channels * multiple
            self.convs.append(normalize(nn.Conv1d(
                before, after, kernel, stride, padding=kernel // 2, groups=math.gcd(groups, before, after),
            )))
            before = after
        self.conv_post = normalize(nn.Conv1d(before, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Judgement:
        return _judge(wave.unsqueeze(1), self.convs, self.conv_post)


def _judge(x: Tensor, convolutions: nn.ModuleList, last: nn.Module) -> Judgement:
    features = []
    for convolution in convolutions:
        x = F.leaky_relu(convolution(x), LEAKY_SLOPE)
        features.append(x)
    x = last(x)
    features.append(x)
    return Judgement(x.flatten(1), features)


class MultiPeriodDiscriminator(nn.Module):
    def __init__(self, periods: list[int], channels: int) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(period, channels) for period in periods)

    def forward(self, wave: Tensor) -> list[Judgement]:
        return [discriminator(wave) for discriminator in self.discriminators]


class MultiScaleDiscriminator(nn.Module):
    """The first scale is the waveform itself under spectral norm; each further one is averaged by two."""

    def __init__(self, scales: int, channels: int) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(channels, spectral=scale == 0) for scale in range(scales)
        )

    def forward(self, wave: Tensor) -> list[Judgement]:
        judgements = []
        for scale, discriminator in enumerate(self.discriminators):
            if scale > 0:
                wave = F.avg_pool1d(wave.unsqueeze(1), 4, 2, padding=2).squeeze(1)
            judgements.append(discriminator(wave))
        return judgements


class MultiSpectrumDiscriminator(nn.Module):
    def __init__(self, fft_sizes: list[int], channels: int) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(SpectrumDiscriminator(size, channels) for size in fft_sizes)

    def forward(self, wave: Tensor) -> list[Judgement]:
        judgements = []
        for discriminator in self.discriminators:
            score, features = discriminator(wave)
            judgements.append(Judgement(score, features))
        return judgements


class Discriminators(nn.Module):
    """All discriminators: waveforms (batch, samples) → one judgement by each. Any kind may be absent."""

    def __init__(self, params: DiscriminatorParams) -> None:
        super().__init__()
        self.mpd = MultiPeriodDiscriminator(params.periods, params.period_channels)
        self.msd = MultiScaleDiscriminator(params.scales, params.scale_channels)
        self.msp = MultiSpectrumDiscriminator(params.spectra, params.spectrum_channels)

    def forward(self, wave: Tensor) -> list[Judgement]:
        return [*self.mpd(wave), *self.msd(wave), *self.msp(wave)]

    def compare(self, real: Tensor, generated: Tensor) -> tuple[list[Judgement], list[Judgement]]:
        """Judgements of real and of generated waveforms, made in one pass over both."""
        halves = [_split(judgement, len(real)) for judgement in self(torch.cat([real, generated]))]
        return [first for first, _ in halves], [second for _, second in halves]


def _split(judgement: Judgement, count: int) -> tuple[Judgement, Judgement]:
    score, features = judgement
    return (
        Judgement(score[:count], [feature[:count] for feature in features]),
        Judgement(score[count:], [feature[count:] for feature in features]),
    )
