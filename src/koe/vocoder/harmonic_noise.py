"""A vocoder that shapes pulses and noise: it learns in minutes what a generator of waveforms learns in days.

Pulses at the F0 and white noise go through filters that a network draws from the mel: magnitude and phase of one for
the pulses, and the magnitude of one for the noise, as factors on their short-time spectra. Phase is coherent by
construction, as in source-filter vocoders (Wang et al. 2019, NSF; Engel et al. 2020, DDSP); the network is of ConvNeXt
blocks at the frame rate, as in Vocos (Siuzdak 2023). Magnitudes start from the envelope that the mel itself is, so that
the network has corrections to learn.

The result is then brought nearer to the mel: its own mel is computed, and its spectra are multiplied by what is
missing, a few times. That is Griffin and Lim's idea with the phase left alone; it needs no training, and gradients flow
through it. The mel to be reached is the given one plus what the network adds to it: almost nothing to that of a
recording, the missing detail to that of an acoustic model.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from koe.audio.mel import MAGNITUDE_EPSILON, mel_filterbank
from koe.audio.params import MelParams
from koe.nn.convolution import Convolution
from koe.vocoder.network import Exported, Graph, VocoderNetwork
from koe.vocoder.params import HarmonicNoiseParams
from koe.vocoder.short_time import ShortTime

_MEL_MEAN, _MEL_DEVIATION = -5.0, 2.5  # of log-mels of speech, roughly: inputs of the network are small numbers
_LOUDEST = 6.0  # log factor on a source's spectrum
_LARGEST_CORRECTION = 2.0  # log factor, each time
# Outputs of the exported graph; the last axis of the first is its real and imaginary part.
_FILTERS = ("pulse_filter", "noise_filter", "detail")
_START = (-2.5, -3.5)  # log gain of pulses and of noise before training, at which speech is about as loud as its mel


class HarmonicNoise(VocoderNetwork):
    """The network, the filters that it draws, and the corrections of their output towards the mel."""

    takes_f0 = True

    def __init__(self, params: HarmonicNoiseParams, mel_params: MelParams) -> None:
        super().__init__()
        self.hop_length = mel_params.hop_length
        self.corrections = params.corrections
        self.filters_per_frame = params.filters_per_frame
        self.kernel = params.kernel
        self.filtering = ShortTime(params.n_fft, mel_params.hop_length // params.filters_per_frame)
        self.correction = MelCorrection(mel_params)
        self.input = Convolution(mel_params.n_mels + 1, params.hidden, params.kernel, contiguous=True)
        self.input_norm = nn.LayerNorm(params.hidden)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(params.hidden, params.feed_forward, params.kernel, 1 / params.layers)
            for _ in range(params.layers))
        self.output_norm = nn.LayerNorm(params.hidden)
        bins = params.n_fft // 2 + 1
        self.filters = nn.Linear(params.hidden, params.filters_per_frame * 3 * bins)
        self.detail = nn.Linear(params.hidden, mel_params.n_mels)
        self.gain = nn.Parameter(torch.tensor(_START))
        nn.init.normal_(self.filters.weight, std=0.01)
        for layer in (self.filters, self.detail):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.detail.weight)
        widths = mel_filterbank(mel_params).sum(dim=1).clamp(min=1e-6).log()
        self.register_buffer("widths", widths, persistent=False)
        self.register_buffer("to_filters", bands_to_bins(mel_params, params.n_fft), persistent=False)

    widths: Tensor
    to_filters: Tensor

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        """mel (batch, frames, n_mels) and source (batch, frames * hop_length, 2) → (batch, frames * hop_length)."""
        if source is None:
            raise TypeError("HarmonicNoise needs the source that koe.vocoder.excitation.source_of makes from F0")
        pulses, noise = source.unbind(-1)
        pulse_filter, noise_filter, detail = self.draw(mel, pulses)
        with _exactly(mel):
            spectra = self.filtering(pulses) * pulse_filter + self.filtering(noise) * noise_filter
            wave = self.filtering.inverse(spectra)
            for _ in range(self.corrections):
                wave = self.correction(wave, mel + detail)
        return wave

    def draw(self, mel: Tensor, pulses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The filter of the pulses (complex) and of the noise, (batch, frames * filters_per_frame, bins) each, and what
        is to be added to the mel, (batch, frames, n_mels).
        """
        hidden = self._hidden(mel, pulses)
        with _exactly(mel):
            drawn = self.filters(hidden.float()).unflatten(-1, (self.filters_per_frame, -1)).flatten(1, 2)
            pulse_gain, phase, noise_gain = drawn.chunk(3, dim=-1)
            finer = F.interpolate(
                mel.transpose(1, 2), scale_factor=float(self.filters_per_frame), mode="linear").transpose(1, 2)
            envelope = (finer - self.widths) @ self.to_filters
            pulse_size = torch.exp((envelope + 3 * pulse_gain + self.gain[0]).clamp(max=_LOUDEST))
            noise_filter = torch.exp((envelope + 3 * noise_gain + self.gain[1]).clamp(max=_LOUDEST))
            return torch.polar(pulse_size, 10 * phase), noise_filter, self.detail(hidden.float())

    def _hidden(self, mel: Tensor, pulses: Tensor) -> Tensor:
        power = pulses.unflatten(-1, (mel.shape[1], -1)).square().mean(dim=-1, keepdim=True)  # 0 where unvoiced
        features = torch.cat([(mel - _MEL_MEAN) / _MEL_DEVIATION, power.clamp(max=2.0)], dim=-1)
        hidden: Tensor = self.input_norm(self.input(features))
        for block in self.blocks:
            hidden = block(hidden)
        return self.output_norm(hidden)

    def exported(self, mel: Tensor, source: Tensor) -> Exported:
        """The network, which draws the filters: short-time spectra are complex, and ONNX has no complex numbers."""
        return Exported(_Filters(self), {"mel": mel, "pulses": source[..., 0]}, _FILTERS)

    @classmethod
    def computed_by(
        cls, graph: Graph, sizes: HarmonicNoiseParams, mel_params: MelParams, context_frames: int
    ) -> VocoderNetwork:
        return _GraphHarmonicNoise(graph, sizes, mel_params)

    def context_frames(self) -> int:
        network = (len(self.blocks) + 1) * (self.kernel // 2) + 1  # one more to interpolate mels
        samples = self.filtering.reach + self.corrections * self.correction.reach
        return network - (-samples // self.hop_length)


class _Filters(nn.Module):
    """`HarmonicNoise.draw`, in real numbers."""

    def __init__(self, network: HarmonicNoise) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, pulses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pulse_filter, noise_filter, detail = self.network.draw(mel, pulses)
        return torch.view_as_real(pulse_filter), noise_filter, detail


class _GraphHarmonicNoise(HarmonicNoise):
    """The vocoder whose filters a graph draws; the weights of the class are present and unused."""

    def __init__(self, graph: Graph, params: HarmonicNoiseParams, mel_params: MelParams) -> None:
        super().__init__(params, mel_params)
        self._graph = graph

    def draw(self, mel: Tensor, pulses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pulse_filter, noise_filter, detail = self._graph(mel=mel, pulses=pulses.contiguous())
        return torch.view_as_complex(pulse_filter), noise_filter, detail


def _exactly(tensor: Tensor) -> torch.autocast:
    """Switches mixed precision off: the errors of spectra and logarithms in bfloat16 would be audible."""
    return torch.autocast(tensor.device.type, enabled=False)


class MelCorrection(nn.Module):
    """Brings a waveform nearer to a mel: its spectra are multiplied by what its own mel lacks. No parameters."""

    def __init__(self, mel_params: MelParams) -> None:
        super().__init__()
        self.floor = mel_params.floor
        self.short_time = ShortTime(mel_params.n_fft, mel_params.hop_length, mel_params.win_length)
        self.register_buffer("filterbank", mel_filterbank(mel_params).T.clone(), persistent=False)
        self.register_buffer("to_bins", bands_to_bins(mel_params, mel_params.n_fft), persistent=False)

    filterbank: Tensor
    to_bins: Tensor

    def forward(self, wave: Tensor, mel: Tensor) -> Tensor:
        """wave (batch, frames * hop_length) and mel (batch, frames, n_mels) → wave, all in float32."""
        spectra = self.short_time(wave)
        magnitudes = torch.sqrt(spectra.real.square() + spectra.imag.square() + MAGNITUDE_EPSILON)
        own = (magnitudes @ self.filterbank).clamp(min=self.floor).log()
        missing = (mel - own).clamp(-_LARGEST_CORRECTION, _LARGEST_CORRECTION)
        return self.short_time.inverse(spectra * (missing @ self.to_bins).exp())

    @property
    def reach(self) -> int:
        """Samples before and after a sample on which it depends."""
        return self.short_time.reach


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and two linear layers beside the identity (Liu et al. 2022): (batch, frames, width)."""

    def __init__(self, width: int, inner: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = Convolution(width, width, kernel, groups=width, contiguous=True)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.depthwise(x))
        return x + self.scale * self.down(F.gelu(self.up(mixed)))


def bands_to_bins(mel_params: MelParams, fft_size: int) -> Tensor:
    """Matrix (n_mels, fft_size // 2 + 1) that interpolates linearly between the bands' centres of gravity."""
    filterbank = mel_filterbank(mel_params, dtype=torch.float64).numpy()
    hertz = np.arange(filterbank.shape[1]) * mel_params.sample_rate / mel_params.n_fft
    centres = (filterbank @ hertz) / filterbank.sum(axis=1).clip(1e-12)
    bins = np.arange(fft_size // 2 + 1) * mel_params.sample_rate / fft_size
    matrix = [np.interp(bins, centres, row) for row in np.eye(mel_params.n_mels)]
    return torch.from_numpy(np.array(matrix, dtype=np.float32))
