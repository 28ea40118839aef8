"""Exported models, computed by ONNX Runtime on the CPU: `koe convert --onnx`.

They take the place of PyTorch's networks: batches, windows, streaming and the steps before and after are the same.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from koe.audio.grid import mel_contract
from koe.errors import StoreError
from koe.files import understood
from koe.onnx.files import (
    ACOUSTIC,
    CARD,
    DECODER,
    DECODER_INPUTS,
    ENCODER,
    NETWORK,
    VOCODER,
    encoder_inputs,
    require,
)
from koe.store import compare_contracts
from koe.tasks.conversion.convert import Converter
from koe.tasks.conversion.model_file import AcousticCard, AcousticModel, load_with
from koe.tasks.conversion.nars2s import NARS2S, Control, Prosody
from koe.vocoder.model_file import VocoderCard
from koe.vocoder.networks import network_class
from koe.vocoder.synthesis import NeuralVocoder
from koe.weights import read_card, require_checksum

CPU = torch.device("cpu")
_AGAIN = "export the model again (koe export-onnx)"


class ExportedCard(VocoderCard):
    """What `koe.onnx.export` writes beside a vocoder's graph."""

    context_frames: int


def load_converter(folder: str | Path, with_vocoder: bool = True) -> Converter:
    """A converter with the models that `koe.onnx.export` wrote into `folder`. Raises as `load_acoustic` does, and
    ContractError if the mel settings of the two models differ.
    """
    model = load_acoustic(folder)
    if not with_vocoder:
        return Converter(model, CPU)
    vocoder = load_vocoder(folder)
    own = mel_contract(model.preparation.mel)
    compare_contracts(f"{folder}/{ACOUSTIC}", own, f"{folder}/{VOCODER}", vocoder.contract)
    return Converter(model, CPU, vocoder)


def load_acoustic(folder: str | Path) -> AcousticModel:
    """Reads the exported acoustic model in `folder`. Raises StoreError naming a file that is missing or damaged,
    KoeError if onnxruntime is missing.
    """
    path = Path(folder) / ACOUSTIC
    return load_with(path, lambda card, _: OnnxNARS2S(path, card))


def load_vocoder(folder: str | Path) -> NeuralVocoder:
    """Reads the exported vocoder in `folder`. Raises as `load_acoustic` does."""
    path = Path(folder) / VOCODER
    with understood(path / CARD, _AGAIN):
        card = ExportedCard.model_validate(read_card(
            path / CARD, "export a vocoder (koe export-onnx), or name one (--vocoder)", _AGAIN))
    graph, params = Graph(path / NETWORK, card.checksums), card.vocoder
    network = network_class(params).computed_by(graph, params.network, card.mel, card.context_frames)
    return NeuralVocoder(params.model, network, card.mel, CPU)


class Graph:
    """A graph read from a file, which takes and returns tensors."""

    def __init__(self, path: Path, checksums: Mapping[str, str]) -> None:
        """`checksums`: of the card beside it. Raises StoreError if it is damaged."""
        require_checksum(path, checksums, _AGAIN)
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base but this
            raise StoreError(f"{path} cannot be read ({error}); {_AGAIN}") from error

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """Takes inputs by name, returns outputs in the order of koe.onnx.files."""
        outputs = self._session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(value) for value in outputs]


class OnnxNARS2S(NARS2S):
    """The acoustic model with exported encoder and decoder: PyTorch computes the length regulator only. No weights."""

    def __init__(self, folder: Path, card: AcousticCard) -> None:
        nn.Module.__init__(self)
        self.reduction = card.acoustic.reduction
        self.n_mels = card.preparation.mel.n_mels
        self._encoder, self._decoder = (Graph(folder / file, card.checksums) for file in (ENCODER, DECODER))

    def encode(self, mel: Tensor, voices: Tensor | None, mask: Tensor) -> tuple[Tensor, Tensor]:
        inputs = [mel, mask, *([] if voices is None else [voices])]
        encoded, durations = self._encoder(**dict(zip(encoder_inputs(voices is not None), inputs, strict=True)))
        return encoded, durations

    def decode(
        self, hidden: Tensor, source_prosody: Tensor, mask: Tensor, prosody: Prosody | None = None,
        forced: Tensor | None = None, control: Control | None = None,
    ) -> tuple[Prosody, Tensor, Tensor]:
        if prosody is not None:
            raise NotImplementedError("exported models predict the target's prosody and cannot take it as input")
        zero = torch.zeros(len(hidden))
        shifts = (zero, zero) if control is None else (control.pitch, control.energy)
        inputs = dict(zip(DECODER_INPUTS, (hidden, source_prosody, mask, *shifts), strict=True))
        pitch, energy, mel_before, mel = self._decoder(**inputs)
        return Prosody(pitch, energy), mel_before, mel
