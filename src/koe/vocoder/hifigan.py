"""HiFi-GAN's generator: log-mel to waveform, `hop_length` samples for each frame.

Kong, Kim and Bae, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis",
NeurIPS 2020. Names and shapes of all parameters are those of the public implementation (`conv_pre`, `ups.0`,
`resblocks.0.convs1.0`, `conv_post`), so that published state dicts fit.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from koe.params import GeneratorParams
from koe.vocoder.normalization import fold_normalization

LEAKY_SLOPE = 0.1  # published; before the last convolution it is PyTorch's default, 0.01
_EDGE_KERNEL = 7  # of the first and the last convolution


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    padding = (kernel - 1) * dilation // 2
    return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))


class ResBlock1(nn.Module):
    """Residual pairs, a dilated convolution and a plain one in each (V1 and V2)."""

    def __init__(self, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_convolution(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, LEAKY_SLOPE)), LEAKY_SLOPE))
        return x


class ResBlock2(nn.Module):
    """Single residual convolutions (V3)."""

    def __init__(self, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convs:
            x = x + convolution(F.leaky_relu(x, LEAKY_SLOPE))
        return x


RESBLOCKS = {"1": ResBlock1, "2": ResBlock2}


class Generator(nn.Module):
    """Log-mel (batch, frames, n_mels) to waveform (batch, frames * hop_length) in [-1, 1].

    Exactly so many samples for every setting: a transposed convolution of rate u and kernel k, padded by
    (k - u) / 2, makes u samples of one, and `koe.params` admits only rates and kernels of equal parity.
    """

    def __init__(self, params: GeneratorParams, n_mels: int) -> None:
        super().__init__()
        self.params = params
        self.n_mels = n_mels
        channels = params.upsample_channels
        padding = _EDGE_KERNEL // 2
        self.conv_pre = weight_norm(nn.Conv1d(n_mels, channels, _EDGE_KERNEL, padding=padding))
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(params.upsample_rates, params.upsample_kernels, strict=True):
            self.ups.append(weight_norm(nn.ConvTranspose1d(
                channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2,
            )))
            channels //= 2
            for size, dilations in zip(params.resblock_kernels, params.resblock_dilations, strict=True):
                self.resblocks.append(RESBLOCKS[params.resblock](channels, size, dilations))
        self.conv_post = weight_norm(nn.Conv1d(channels, 1, _EDGE_KERNEL, padding=padding))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.conv_pre(mel.transpose(1, 2))
        parallel = len(self.params.resblock_kernels)
        for stage, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, LEAKY_SLOPE))
            blocks = self.resblocks[stage * parallel : (stage + 1) * parallel]
            x = torch.stack([block(x) for block in blocks]).mean(dim=0) if parallel > 1 else blocks[0](x)
        return torch.tanh(self.conv_post(F.leaky_relu(x))).squeeze(1)

    def fold_weight_norm(self) -> "Generator":
        """Replaces normalised weights by plain ones, for inference and export; returns the generator itself."""
        fold_normalization(self)
        return self

    def context_frames(self) -> int:
        """Frames to either side of a frame that can change its samples: half of the receptive field."""
        params = self.params
        context, samples = float(_EDGE_KERNEL // 2), 1
        for rate, kernel in zip(params.upsample_rates, params.upsample_kernels, strict=True):
            context += math.ceil(kernel / rate) / samples
            samples *= rate
            context += max(map(self._reach, params.resblock_kernels, params.resblock_dilations)) / samples
        return math.ceil(context + (_EDGE_KERNEL // 2) / samples)

    def _reach(self, kernel: int, dilations: list[int]) -> int:
        plain = 1 if self.params.resblock == "1" else 0
        return sum((kernel - 1) // 2 * (dilation + plain) for dilation in dilations)
