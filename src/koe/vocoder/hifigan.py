"""HiFi-GAN's generator: log-mel to waveform, `hop_length` samples for each frame.

Kong, Kim and Bae, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis",
NeurIPS 2020. Names and shapes of all parameters are those of the public implementation (`conv_pre`, `ups.0`,
`resblocks.0.convs1.0`, `conv_post`), so that published state dicts fit: `koe.vocoder.published`.
"""

import functools
import math
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from koe.audio.params import MelParams
from koe.nn.convolution import Conv1d, ConvTranspose1d
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.normalization import fold_normalization
from koe.vocoder.params import HiFiGANParams

LEAKY_SLOPE = 0.1  # published; before the last convolution it is PyTorch's default, 0.01
_EDGE_KERNEL = 7  # of the first and the last convolution


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    padding = (kernel - 1) * dilation // 2
    return weight_norm(Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))


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


def _upsampling(channels: int, rate: int, kernel: int) -> nn.Module:
    """Makes exactly `rate` samples of one, whether rate and kernel are odd or even.

    If they have the same parity this is the published padding; if not, that of the public forks for odd rates
    (ParallelWaveGAN's, kernel = 2 * rate).
    """
    excess = kernel - rate
    return weight_norm(ConvTranspose1d(
        channels, channels // 2, kernel, stride=rate, padding=(excess + 1) // 2, output_padding=excess % 2,
    ))


class Generator(VocoderNetwork):
    """Log-mel (batch, frames, n_mels) to waveform (batch, frames * hop_length) in [-1, 1].

    `mel_mean` (n_mels,) is subtracted first. In published models it is 0; in one that was trained on normalised mels
    it is their mean, so that the zeros beyond the edges stand for the mean.
    """

    mixed_precision = True
    from_scratch = (
        "The published model took 24 hours and 2500000 steps; on 3000 utterances a run from scratch never got clean. "
        "Set vocoder.init.from to the folder of a trained one to fine-tune it, or use vocoder.model: harmonic_noise, "
        "which learns in minutes."
    )

    mel_mean: Tensor

    @classmethod
    def build(cls, sizes: HiFiGANParams, mel_params: MelParams) -> Self:
        return cls(sizes, mel_params.n_mels)

    def __init__(self, params: HiFiGANParams, n_mels: int) -> None:
        super().__init__()
        self.params = params
        self.n_mels = n_mels
        channels = params.upsample_channels
        padding = _EDGE_KERNEL // 2
        self.register_buffer("mel_mean", torch.zeros(n_mels))
        self.register_load_state_dict_pre_hook(_complete)
        self.conv_pre = weight_norm(Conv1d(n_mels, channels, _EDGE_KERNEL, padding=padding))
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(params.upsample_rates, params.upsample_kernels, strict=True):
            self.ups.append(_upsampling(channels, rate, kernel))
            channels //= 2
            for size, dilations in zip(params.resblock_kernels, params.resblock_dilations, strict=True):
                self.resblocks.append(RESBLOCKS[params.resblock](channels, size, dilations))
        self.conv_post = weight_norm(Conv1d(channels, 1, _EDGE_KERNEL, padding=padding))

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        x = self.conv_pre((mel - self.mel_mean).transpose(1, 2))
        parallel = len(self.params.resblock_kernels)
        for stage, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, LEAKY_SLOPE))
            blocks = self.resblocks[stage * parallel : (stage + 1) * parallel]
            x = functools.reduce(torch.add, (block(x) for block in blocks)) / parallel
        with torch.autocast(x.device.type, enabled=False):  # keeps the last digits of weak sounds, at no cost
            return torch.tanh(self.conv_post(F.leaky_relu(x).float())).squeeze(1)

    def fold_weight_norm(self) -> Self:
        """Replaces normalised weights by plain ones, for inference and export; returns the generator itself."""
        fold_normalization(self)
        return self

    def numbered_layers(self) -> dict[str, list[str]]:
        sizes = self.params
        stages = list(enumerate(zip(sizes.upsample_rates, sizes.upsample_kernels, strict=True), 1))
        blocks = list(zip(sizes.resblock_kernels, sizes.resblock_dilations, strict=True))
        return {"ups": [f"upsampling {stage}: rate {rate}, kernel {kernel}" for stage, (rate, kernel) in stages],
                "resblocks": [f"after upsampling {stage}: kernel {kernel}, dilations {dilations}"
                              for stage, _ in stages for kernel, dilations in blocks]}

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


def _complete(generator: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Adds the mean, which published state dicts lack: 0."""
    assert isinstance(generator, Generator)
    state.setdefault(f"{prefix}mel_mean", torch.zeros(generator.n_mels))
