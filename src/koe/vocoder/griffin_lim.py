"""The vocoder that needs no training: fast Griffin-Lim that keeps to the mel instead of to one guess of its spectrum.

A mel leaves the linear magnitude open. Classical use guesses it once (pseudo-inverse or non-negative least
squares) and looks for phases that fit the guess; harmonics that the guess smeared stay smeared. Here every
iteration takes the magnitude that the waveform has, and scales it so that its mel is the given one: one
Richardson-Lucy step, the multiplicative update of non-negative least squares under the Kullback-Leibler
divergence. On eight demo sentences with 60 iterations this raised the estimated MOS from 3.1 (pseudo-inverse) and
3.4 (non-negative least squares beforehand) to 4.0, and brought the mel error from 0.12 to 0.04.

Where F0 is known it starts from pulses at that F0 and noise, instead of from random phases and a flat spectrum, and
a few iterations do: the harmonics are where they belong, and the mel only says how strong they are. On 12 validation
sentences of the demo, two iterations from F0 against 60 from random phases: target's true mel, F0 RMSE 0.15 for 0.21,
voicing error 15 % for 39 %, MOS estimate 3.6 for 3.9; converted mels, 0.23 for 0.38, 35 % for 55 %, 1.7 for 1.6. More
iterations give true mels a higher MOS (4.0 after 8) and take the periodicity out of converted ones, which are smooth.

Sources: Perraudin, Balazs and Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013 (momentum); Masuyama, Ueno
and Ono, "Signal reconstruction from mel-spectrogram based on bi-level consistency of full-band magnitude and
phase", WASPAA 2023 (magnitude and phase estimated together).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from koe.audio.grid import mel_contract
from koe.audio.mel import mel_filterbank
from koe.audio.params import MelParams
from koe.randomness import numpy_generator, torch_generator
from koe.vocoder.excitation import excitation
from koe.vocoder.grouping import groups_by_length
from koe.vocoder.params import GriffinLimParams

_BATCH_FRAMES = 600  # computed together: what the processor's caches hold; more is slower
_INITIAL_STEPS = 10  # Richardson-Lucy steps from a flat spectrum before there is a waveform
_SMALLEST = 1e-8  # keeps divisions finite; far below the mel's floor
_SMALLEST_WINDOW = 1e-2  # of the squared windows' sum: outside the audio that is kept, frames hardly overlap


class GriffinLim:
    """Log-mels to waveforms, deterministic: phases and noise are drawn from `seed`, the same for every utterance."""

    name = "griffin_lim"

    def __init__(self, mel_params: MelParams, params: GriffinLimParams, seed: int) -> None:
        self.mel = mel_params
        self.contract = mel_contract(mel_params)
        self.params = params
        self.seed = seed
        window = torch.hann_window(mel_params.win_length)
        left = (mel_params.n_fft - mel_params.win_length) // 2
        self._window = F.pad(window, (left, mel_params.n_fft - mel_params.win_length - left))
        self._filterbank = mel_filterbank(mel_params, torch.device("cpu"))  # (n_mels, bins)
        self._coverage = self._filterbank.sum(dim=0).clamp_min(_SMALLEST)

    def synthesize(self, mels: Sequence[np.ndarray], f0s: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Waveforms of log-mels, shape (frames, n_mels) each: float32, shape (frames * hop_length,) each.

        With `f0s`, (frames,) in Hz each and 0 where unvoiced, `f0_iterations` from pulses and noise; without,
        `iterations` from random phases.

        An utterance's result does not depend on the others in its batch: frames past its end have no magnitude and
        take no part in the overlap-add (lesson 31).
        """
        waves: dict[int, np.ndarray] = {}
        for group in groups_by_length([len(mel) for mel in mels], _BATCH_FRAMES):
            group_f0s = [f0s[index] for index in group] if f0s is not None else None
            waves |= zip(group, self._together([mels[index] for index in group], group_f0s), strict=True)
        return [waves[index] for index in range(len(mels))]

    @torch.inference_mode()
    def _together(self, mels: list[np.ndarray], f0s: list[np.ndarray] | None) -> list[np.ndarray]:
        lengths = torch.tensor([len(mel) for mel in mels])
        target = torch.zeros(len(mels), int(lengths.max()), self.mel.n_mels)
        for row, mel in zip(target, mels, strict=True):
            row[: len(mel)] = torch.from_numpy(np.asarray(mel, dtype=np.float32)).exp()
        iterations = self.params.iterations if f0s is None else self.params.f0_iterations
        start = self._random_phases(lengths, target.shape[1]) if f0s is None else self._excited(f0s, target.shape[1])
        padded = self._invert(target, lengths, start, iterations)
        edge = (self.mel.n_fft - self.mel.hop_length) // 2
        return [
            wave[edge : edge + frames * self.mel.hop_length].numpy().copy()
            for wave, frames in zip(padded, lengths.tolist(), strict=True)
        ]

    def _invert(self, target: Tensor, lengths: Tensor, start: Tensor, iterations: int) -> Tensor:
        """Amplitude mels (batch, frames, n_mels) to waveforms with the edges that the frame grid pads.

        `start` (batch, frames, bins) complex: the first phases, and the magnitudes to scale towards the mel.
        """
        weight = self._overlap(lengths, target.shape[1])
        magnitude = _magnitude(start).clamp_min(_SMALLEST)
        phases = start / magnitude
        magnitude = magnitude * (self._coverage > _SMALLEST)
        for _ in range(_INITIAL_STEPS):
            magnitude = self._keep_to(target, magnitude)
        spectrum = magnitude * phases
        lag = self.params.momentum / (1 + self.params.momentum)
        previous = torch.zeros_like(spectrum)
        for _ in range(iterations):
            consistent = self._stft(self._istft(spectrum, weight))
            accelerated = consistent - lag * previous
            previous = consistent
            magnitude = self._keep_to(target, _magnitude(consistent))
            spectrum = accelerated * (magnitude / _magnitude(accelerated).clamp_min(_SMALLEST))
        return self._istft(spectrum, weight)

    def _keep_to(self, target: Tensor, magnitude: Tensor) -> Tensor:
        """Scales magnitudes (batch, frames, bins) towards those whose mel is `target`."""
        ratio = target / (magnitude @ self._filterbank.T).clamp_min(_SMALLEST)
        return magnitude * (ratio @ self._filterbank / self._coverage)

    def _excited(self, f0s: list[np.ndarray], frames: int) -> Tensor:
        """Spectra (batch, frames, bins) of pulses and noise at each F0; zeros past an utterance's end."""
        hop, edge = self.mel.hop_length, (self.mel.n_fft - self.mel.hop_length) // 2
        spectra = torch.zeros(len(f0s), frames, self.mel.n_fft // 2 + 1, dtype=torch.complex64)
        for row, f0 in zip(spectra, f0s, strict=True):
            source = excitation(f0, hop, self.mel.sample_rate, numpy_generator(self.seed, "griffin_lim excitation"))
            row[: len(f0)] = self._stft(torch.from_numpy(np.pad(source, edge, mode="symmetric")))
        return spectra

    def _random_phases(self, lengths: Tensor, frames: int) -> Tensor:
        """Unit magnitudes (batch, frames, bins) at random phases, which do not depend on the other utterances."""
        phase = torch.zeros(len(lengths), frames, self.mel.n_fft // 2 + 1)
        for row, length in zip(phase, lengths.tolist(), strict=True):
            generator = torch_generator(self.seed, "griffin_lim phase")
            row[:length] = 2 * torch.pi * torch.rand(length, row.shape[1], generator=generator)
        return torch.polar(torch.ones_like(phase), phase)

    def _stft(self, wave: Tensor) -> Tensor:
        return torch.fft.rfft(wave.unfold(-1, self.mel.n_fft, self.mel.hop_length) * self._window)

    def _istft(self, spectrum: Tensor, weight: Tensor) -> Tensor:
        return self._overlap_add(torch.fft.irfft(spectrum, n=self.mel.n_fft) * self._window) / weight

    def _overlap(self, lengths: Tensor, frames: int) -> Tensor:
        """Sum of the squared windows of each utterance's own frames, shape (batch, samples)."""
        present = (torch.arange(frames) < lengths[:, None]).to(self._window.dtype)
        return self._overlap_add(present[:, :, None] * self._window**2).clamp_min(_SMALLEST_WINDOW)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Sums overlapping frames (batch, frames, n_fft): (batch, (frames - 1) * hop_length + n_fft)."""
        hop, (batch, count, size) = self.mel.hop_length, frames.shape
        pieces = -(-size // hop)
        total = frames.new_zeros(batch, count + pieces - 1, hop)
        for piece in range(pieces):  # ten times as fast as torch.nn.functional.fold
            part = frames[..., piece * hop : (piece + 1) * hop]
            total[:, piece : piece + count, : part.shape[-1]] += part
        return total.flatten(1)[:, : (count - 1) * hop + size]


def _magnitude(spectrum: Tensor) -> Tensor:
    """Absolute value, in a quarter of the time that Tensor.abs takes for complex numbers."""
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()
