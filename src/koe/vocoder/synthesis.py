"""The interface of vocoders, and the trained ones: log-mels in, waveforms of exactly their length out."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.device import mixed_precision, resolve_precision
from koe.errors import KoeError
from koe.randomness import numpy_generator
from koe.vocoder.excitation import source_of
from koe.vocoder.grouping import BATCH_FRAMES, groups_by_length
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.streaming import Chunk, chunks_of, silent_chunk, stream


class Vocoder(Protocol):
    """Log-mels to waveforms."""

    name: str
    contract: dict[str, Any]  # of the mels that it takes (koe.audio.grid.mel_contract)

    def synthesize(self, mels: Sequence[np.ndarray], f0s: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Log-mels (frames, n_mels) to float32 waveforms (frames * hop_length,), in the same order.

        `f0s` (frames,) in Hz, 0 = unvoiced, improve the result of some vocoders, and others need them.
        """


class NeuralVocoder:
    """A trained network, its weight norm folded away.

    `precision` (see `koe.device.resolve_precision`) is that of networks which allow `mixed_precision`; others are
    computed in float32.
    """

    def __init__(
        self, name: str, network: VocoderNetwork, mel_params: MelParams, device: torch.device, precision: str = "auto"
    ) -> None:
        self.name = name
        self.contract = mel_contract(mel_params)
        self._mel_params = mel_params
        self._device = device
        self._network = network.fold_weight_norm().eval().requires_grad_(False).to(device)
        self._precision = resolve_precision(precision, device, "precision")
        if not network.mixed_precision:
            self._precision = "float32"
        # At least one frame, which batches are padded with, even if the network needs no context.
        self._silence = silent_chunk(mel_params, max(1, network.context_frames()), network.takes_f0)

    def synthesize(self, mels: Sequence[np.ndarray], f0s: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Log-mels (frames, n_mels) and F0 (frames,) to waveforms (frames * hop_length,) in [-1, 1].

        Each mel is followed by more silence than the network sees ahead, alone or in a batch, and the silence is cut
        off again, so the lengths of the others in its batch change nothing (lesson 31). Long ones are synthesised piece
        by piece. Raises KoeError if the network takes F0 and there is none.
        """
        self._require_f0(f0s)
        inputs = [self._input(mel, None if f0s is None else f0s[index]) for index, mel in enumerate(mels)]
        waves: dict[int, np.ndarray] = {}
        for group in groups_by_length([len(mel) for mel in mels]):
            chosen = [inputs[index] for index in group]
            mel, source = chosen[0]
            with mixed_precision(self._precision, self._device):
                if len(mel) > BATCH_FRAMES:  # alone in its group
                    waves[group[0]] = self._in_pieces(mel, source)
                else:
                    waves |= zip(group, self._together(chosen), strict=True)
        return [waves[index] for index in range(len(mels))]

    def synthesize_alone(self, mel: np.ndarray, f0: np.ndarray | None = None) -> np.ndarray:
        """As `synthesize`, of one mel with nothing after it: what the network itself makes of it, to rounding.

        To compare with other programs. The last `context_frames` differ from `synthesize`, which needs the silence to
        compute mels of different lengths together.
        """
        self._require_f0(f0)
        features, source = self._input(mel, f0)
        with mixed_precision(self._precision, self._device):
            return self._in_pieces(features, source, ends_in_silence=False)

    def _require_f0(self, f0s: object) -> None:
        if self._network.takes_f0 and f0s is None:
            raise KoeError(f"vocoder {self.name} takes mel and F0, and F0 is missing; give f0s, in Hz, 0 where "
                           "unvoiced")

    def _input(self, mel: np.ndarray, f0: np.ndarray | None) -> Chunk:
        """The network's input. The same F0 gives the same source, whatever else is synthesised."""
        mel = np.asarray(mel, dtype=np.float32)
        if not self._network.takes_f0 or f0 is None:
            return mel, None
        if len(f0) != len(mel):
            raise KoeError(f"vocoder {self.name}: a mel of {len(mel)} frames has F0 of {len(f0)}")
        return mel, source_of(f0, self._mel_params, numpy_generator(0, "vocoder source"))

    @torch.inference_mode()
    def _together(self, inputs: list[Chunk]) -> list[np.ndarray]:
        longest = max(len(mel) for mel, _ in inputs)
        mels = self._padded([mel for mel, _ in inputs], self._silence[0], longest)
        source = None
        if self._silence[1] is not None:
            sources = [source for _, source in inputs if source is not None]
            source = self._padded(sources, self._silence[1], longest * self._mel_params.hop_length)
        waves = self._network(mels, source).float().cpu().numpy()
        hop = self._mel_params.hop_length
        return [wave[: len(mel) * hop].copy() for wave, (mel, _) in zip(waves, inputs, strict=True)]

    def _padded(self, arrays: list[np.ndarray], silence: np.ndarray, longest: int) -> Tensor:
        """Arrays (length, width), each followed by at least `silence`: (batch, longest + len(silence), width)."""
        batch = np.broadcast_to(silence[:1], (len(arrays), longest + len(silence), silence.shape[1])).copy()
        for row, array in zip(batch, arrays, strict=True):
            row[: len(array)] = array
        return torch.from_numpy(batch).to(self._device)

    def _in_pieces(self, mel: np.ndarray, source: np.ndarray | None, ends_in_silence: bool = True) -> np.ndarray:
        chunks = chunks_of(mel, source, self._mel_params.hop_length)
        return np.concatenate(list(stream(self._network, chunks, self._mel_params, self._device, ends_in_silence)))
