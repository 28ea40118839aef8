"""The one mel, used by feature extraction, the vocoder's loss, conversion and evaluation (lessons 7, 13).

The convention is that of the public HiFi-GAN checkpoints: reflect padding of (n_fft - hop_length) / 2 at each
end and no centring, Hann window, magnitude sqrt(re² + im² + 1e-9), Slaney mel bands, natural logarithm. A
waveform of `samples` gives exactly `samples // hop_length` frames, and frame t is centred at sample
(t + 1/2) * hop_length. The input is neither clipped nor rescaled (lesson 15).
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from koe.audio.checks import TOO_SHORT
from koe.audio.grid import frame_count
from koe.audio.params import MelParams
from koe.errors import AudioError

MAGNITUDE_EPSILON = 1e-9  # under the root, as in HiFi-GAN: keeps the gradient finite in silence


def log_mel(wave: Tensor, params: MelParams) -> Tensor:
    """Log-mel of a waveform, on its device; differentiable.

    wave: floating point, shape (..., samples). Returns (..., samples // hop_length, n_mels), the natural
    logarithm of the amplitude mel, at least log(floor). Raises AudioError for a waveform shorter than
    `minimum_samples(params)`, TypeError for integers.
    """
    return _to_log_mel(magnitude_frames(wave, params), params)


def mel_and_energy(wave: Tensor, params: MelParams) -> tuple[Tensor, Tensor]:
    """Log-mel (..., frames, n_mels) and energy (..., frames) from one STFT.

    Energy is the natural logarithm of the L2 norm of the magnitude frame (the energy of FastSpeech 2,
    section 2.3, in the log domain), at least log(floor). Raises as `log_mel`.
    """
    magnitude = magnitude_frames(wave, params)
    energy = torch.linalg.vector_norm(magnitude, dim=-1).clamp(min=params.floor).log()
    return _to_log_mel(magnitude, params), energy


def magnitude_frames(wave: Tensor, params: MelParams) -> Tensor:
    """STFT magnitude on the project's frame grid: (..., samples) to (..., frames, n_fft // 2 + 1)."""
    if not wave.is_floating_point():
        raise TypeError(f"a waveform of {wave.dtype}; the mel expects floating point in [-1, 1]")
    samples = wave.shape[-1]
    if samples < minimum_samples(params):
        raise AudioError(TOO_SHORT, f"{samples} samples; a mel needs {minimum_samples(params)}")
    if wave.dtype not in (torch.float32, torch.float64):
        wave = wave.float()
    padding = (params.n_fft - params.hop_length) // 2
    padded = F.pad(wave.reshape(-1, samples), (padding, padding), mode="reflect")
    spectrum = torch.stft(
        padded, params.n_fft, params.hop_length, params.win_length,
        hann_window(params, wave.device, wave.dtype), center=False, return_complex=True,
    )
    magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_EPSILON)
    return magnitude.transpose(1, 2).reshape(*wave.shape[:-1], frame_count(samples, params), -1)


def minimum_samples(params: MelParams) -> int:
    """Samples of the shortest waveform with a mel: one hop, and one more than are reflected at each end."""
    return max(params.hop_length, (params.n_fft - params.hop_length) // 2 + 1)


def _to_log_mel(magnitude: Tensor, params: MelParams) -> Tensor:
    filterbank = mel_filterbank(params, magnitude.device, magnitude.dtype)
    with torch.autocast(magnitude.device.type, enabled=False):  # bfloat16 would lose the third digit
        return (magnitude @ filterbank.T).clamp(min=params.floor).log()


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a tensor cached under inference mode could not be used in a loss later
def mel_filterbank(
    params: MelParams, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Mel filterbank of Slaney scale and norm, shape (n_mels, n_fft // 2 + 1), equal to librosa.filters.mel.

    Computed here because importing librosa takes two seconds, for every stage and for `koe convert`.
    Cached by all settings, device and dtype. Do not write into it.
    """
    edges = _slaney_hertz(np.linspace(_slaney_mel(params.fmin), _slaney_mel(params.fmax), params.n_mels + 2))
    bins = np.linspace(0, params.sample_rate / 2, params.n_fft // 2 + 1)
    width = np.diff(edges)
    rising = (bins - edges[:-2, None]) / width[:-1, None]
    falling = (edges[2:, None] - bins) / width[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(weights).to(device=device, dtype=dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def hann_window(params: MelParams, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Periodic Hann window, shape (win_length,), cached like the filterbank. Do not write into it."""
    return torch.hann_window(params.win_length, device=device, dtype=dtype)


# Slaney's scale (Auditory Toolbox): linear to 1000 Hz, 3 mel per 200 Hz; from there 27 mel per factor of 6.4.
_LINEAR_HERTZ_PER_MEL = 200.0 / 3.0
_CORNER_HERTZ = 1000.0
_CORNER_MEL = _CORNER_HERTZ / _LINEAR_HERTZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _slaney_mel(hertz: float) -> float:
    if hertz < _CORNER_HERTZ:
        return hertz / _LINEAR_HERTZ_PER_MEL
    return float(_CORNER_MEL + np.log(hertz / _CORNER_HERTZ) / _LOG_STEP)


def _slaney_hertz(mel: np.ndarray) -> np.ndarray:
    above = _CORNER_HERTZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR_HERTZ_PER_MEL, above)
