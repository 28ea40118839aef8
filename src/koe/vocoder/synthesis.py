"""What every vocoder offers, and the trained ones: log-mels in, waveforms of exactly their length out."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from koe.params import MelParams
from koe.vocoder.grouping import groups_by_length
from koe.vocoder.hifigan import Generator


class Vocoder(Protocol):
    """Log-mels to waveforms. `contract` is the mel contract (koe.params) of what it takes."""

    name: str
    contract: dict[str, Any]

    def synthesize(self, mels: Sequence[np.ndarray], f0s: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Log-mels (frames, n_mels) to float32 waveforms (frames * hop_length,), in the same order.

        `f0s` (frames,) in Hz, 0 = unvoiced, help the vocoders that can use them.
        """


class NeuralVocoder:
    """A trained generator, its weight norm folded away."""

    def __init__(self, name: str, generator: Generator, mel: MelParams, device: torch.device) -> None:
        self.name = name
        self.contract = mel.contract()
        self._mel = mel
        self._device = device
        self._generator = generator.fold_weight_norm().eval().requires_grad_(False).to(device)
        self._silence = generator.context_frames()

    def synthesize(self, mels: Sequence[np.ndarray], f0s: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Log-mels (frames, n_mels) to waveforms (frames * hop_length,) in [-1, 1]. Takes no F0.

        Each mel is followed by more silence than the generator sees ahead, alone or in a batch, and the silence
        is cut off again: how long the others in its batch are changes nothing (lesson 31).
        """
        waves: dict[int, np.ndarray] = {}
        for group in groups_by_length([len(mel) for mel in mels]):
            waves |= zip(group, self._together([mels[index] for index in group]), strict=True)
        return [waves[index] for index in range(len(mels))]

    @torch.inference_mode()
    def _together(self, mels: list[np.ndarray]) -> list[np.ndarray]:
        longest = max(map(len, mels)) + self._silence
        batch = torch.full((len(mels), longest, self._mel.n_mels), float(np.log(self._mel.floor)))
        for row, mel in zip(batch, mels, strict=True):
            row[: len(mel)] = torch.from_numpy(np.asarray(mel, dtype=np.float32))
        waves: Tensor = self._generator(batch.to(self._device)).cpu()
        return [
            wave[: len(mel) * self._mel.hop_length].numpy().copy() for wave, mel in zip(waves, mels, strict=True)
        ]
