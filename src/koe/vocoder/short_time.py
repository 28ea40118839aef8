"""Short-time spectra on the project's frame grid, and back: what filters in frequency work on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST_OVERLAP = 1e-3  # of the windows' sum at the ends, where a single window fades


class ShortTime(nn.Module):
    """STFT and inverse, no parameters; the Hann window has `window_length` samples, `fft_size` unless given.

    A waveform of `frames * hop_length` samples has exactly `frames` spectra; outside are zeros. Unchanged spectra give
    the waveform back.
    """

    def __init__(self, fft_size: int, hop_length: int, window_length: int | None = None) -> None:
        super().__init__()
        self.fft_size = fft_size
        self.hop_length = hop_length
        self.padding = (fft_size - hop_length) // 2
        beside = fft_size - (window_length or fft_size)
        window = F.pad(torch.hann_window(window_length or fft_size), (beside // 2, beside - beside // 2))
        self.register_buffer("window", window, persistent=False)
        self.window: Tensor

    def forward(self, wave: Tensor) -> Tensor:
        """wave (batch, frames * hop_length) → complex spectra (batch, frames, fft_size // 2 + 1)."""
        padded = F.pad(wave, (self.padding, self.padding))
        return torch.stft(
            padded, self.fft_size, self.hop_length, self.fft_size, self.window, center=False, return_complex=True,
        ).transpose(1, 2)

    def inverse(self, spectra: Tensor) -> Tensor:
        """Complex spectra (batch, frames, fft_size // 2 + 1) → wave (batch, frames * hop_length)."""
        pieces = torch.fft.irfft(spectra, self.fft_size) * self.window
        windows = self.window.square().expand(1, spectra.shape[1], -1)
        overlap = self._add(windows).clamp(min=_SMALLEST_OVERLAP)
        samples = spectra.shape[1] * self.hop_length
        return (self._add(pieces) / overlap)[:, self.padding : self.padding + samples]

    def _add(self, pieces: Tensor) -> Tensor:
        """Overlap-add of pieces (batch, frames, fft_size)."""
        samples = (pieces.shape[1] - 1) * self.hop_length + self.fft_size
        return F.fold(
            pieces.transpose(1, 2), (1, samples), (1, self.fft_size), stride=(1, self.hop_length))[:, 0, 0]

    @property
    def reach(self) -> int:
        """Samples before and after a sample on which it depends after its spectra are changed and inverted."""
        return self.fft_size - 1
