"""Resemblyzer's speaker encoder (GE2E, Wan et al. 2018), from the weights in its package.

Written here because importing the package imports librosa, whose functions are compiled on the first import in an
environment: twenty seconds on two cores. The results are the same (a test compares them).
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from koe.audio.mel import hann_window, mel_filterbank
from koe.audio.params import MelParams
from koe.errors import KoeError

MEL = MelParams(sample_rate=16000, n_fft=400, hop_length=160, win_length=400, n_mels=40, fmin=0.0, fmax=8000.0,
                floor=1e-5)  # the floor is not used: these mels are powers, not logarithms
PART = 160  # frames of the parts that are embedded, 1.6 s
PARTS_PER_SECOND = 1.3
MIN_COVERAGE = 0.75  # of the last part by the waveform; with less it is left out, unless it is the only one


class SpeakerEncoder(nn.Module):
    """Three LSTM layers over power mels."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MEL.n_mels, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    @classmethod
    def pretrained(cls) -> "SpeakerEncoder":
        """With the weights of the installed package, which is not imported. Raises KoeError if it is not installed."""
        package = importlib.util.find_spec("resemblyzer")
        if package is None or not package.submodule_search_locations:
            raise KoeError("the speaker encoder needs the package resemblyzer; pip install resemblyzer")
        path = Path(package.submodule_search_locations[0]) / "pretrained.pt"
        encoder = cls()
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        encoder.load_state_dict({name: state[name] for name in encoder.state_dict()})
        return encoder.eval().requires_grad_(False)

    def forward(self, mels: Tensor) -> Tensor:
        """Power mels (parts, frames, 40) to embeddings (parts, 256) of length 1."""
        _, (hidden, _) = self.lstm(mels)
        embeddings = torch.relu(self.linear(hidden[-1]))
        return embeddings / embeddings.norm(dim=1, keepdim=True)

    @torch.inference_mode()
    def embed_utterance(self, wave: np.ndarray) -> np.ndarray:
        """Embedding of a waveform (samples,) at 16 kHz, float32: the mean of its parts', length 1, shape (256,)."""
        starts = _part_starts(len(wave))
        samples = max(len(wave), (starts[-1] + PART) * MEL.hop_length)
        mel = _power_mel(torch.from_numpy(np.pad(wave, (0, samples - len(wave)))))
        mean = self(torch.stack([mel[start : start + PART] for start in starts])).mean(dim=0)
        return (mean / mean.norm()).numpy()


def _part_starts(samples: int) -> list[int]:
    """The first frame of each part."""
    step = round(MEL.sample_rate / PARTS_PER_SECOND / MEL.hop_length)
    frames = -(-(samples + 1) // MEL.hop_length)
    starts = list(range(0, max(1, frames - PART + step + 1), step))
    covered = samples / MEL.hop_length - starts[-1]
    return starts[:-1] if len(starts) > 1 and covered < MIN_COVERAGE * PART else starts


def _power_mel(wave: Tensor) -> Tensor:
    """Mel of the power spectrum (samples // 160 + 1, 40), of frames centred at multiples of the hop."""
    window = hann_window(MEL, wave.device, wave.dtype)
    spectrum = torch.stft(wave, MEL.n_fft, MEL.hop_length, window=window, center=True, pad_mode="constant",
                          return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.T @ mel_filterbank(MEL).T
