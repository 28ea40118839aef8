"""A discriminator of spectrograms: it judges a vocoder at the frame rate at little cost.

In the way of the multi-resolution discriminator of UnivNet (Jang et al. 2021), on log-magnitudes, and smaller: every
layer halves the frequencies from the first on, which costs a third.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

_SLOPE = 0.1


def magnitudes(wave: Tensor, fft_size: int) -> Tensor:
    """STFT magnitudes with a Hann window of `fft_size` and a hop of a quarter of it.

    wave (batch, samples) → (batch, frames, fft_size // 2 + 1), centred, edges reflected.
    """
    window = torch.hann_window(fft_size, device=wave.device, dtype=wave.dtype)
    spectrum = torch.stft(wave, fft_size, fft_size // 4, fft_size, window, return_complex=True).transpose(1, 2)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-7)  # 1e-7: a finite gradient at silence


class SpectrumDiscriminator(nn.Module):
    """Judges the spectrogram of one FFT size: waveforms (batch, samples) → score and the features of all layers."""

    def __init__(self, fft_size: int, channels: int) -> None:
        super().__init__()
        self.fft_size = fft_size
        widths = [1, max(1, channels // 2), channels, channels, channels]
        layers = [nn.Conv2d(before, after, (3, 9), stride=(1, 2), padding=(1, 4)) for before, after in pairwise(widths)]
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.convs = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.conv_post = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        hidden = magnitudes(wave, self.fft_size)[:, None].log() / 3 + 1
        features = []
        for layer in self.convs:
            hidden = F.leaky_relu(layer(hidden), _SLOPE)
            features.append(hidden)
        score = self.conv_post(hidden)
        features.append(score)
        return score.flatten(1), features
