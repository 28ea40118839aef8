"""Trained models as ONNX graphs with dynamic batch sizes and lengths: `koe export-onnx`.

The acoustic model becomes two graphs, because the length regulator between them has lengths that depend on the data.
A vocoder becomes one graph, mel in, waveform or its parts out (`VocoderNetwork.exported`).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koe.audio.grid import mel_contract
from koe.destinations import filling
from koe.errors import KoeError
from koe.files import replacing
from koe.nn.layers import MaskedBatchNorm
from koe.onnx.files import (
    ACOUSTIC,
    ACOUSTIC_FILES,
    CARD,
    DECODER,
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER,
    ENCODER_OUTPUTS,
    NETWORK,
    VOCODER,
    VOCODER_FILES,
    encoder_inputs,
    require,
)
from koe.store import compare_contracts
from koe.tasks.conversion.model_file import AcousticModel, load_acoustic, save_card
from koe.tasks.conversion.nars2s import NARS2S, Control
from koe.tasks.conversion.reduction import values_per_step
from koe.tasks.conversion.speakers import EMBEDDING_SIZE
from koe.vocoder.model_file import VocoderModel, read_vocoder
from koe.weights import write_card

OPSET = 17
_BATCH, _STEPS = 2, 21  # of the tensors to trace with; any sizes would do


def export_onnx(
    folder: str | Path, acoustic: str | Path, vocoder: str | Path | None = None, overwrite: bool = False
) -> None:
    """Exports an acoustic model and a vocoder, each from its folder, into `folder`; see koe.onnx.files for its layout.

    All files are written or none. Raises KoeError if a package is missing, one of the files may not be written
    (koe.destinations), or no vocoder is exported and `folder` has one from an earlier export, with which the new model
    would be mistaken for one export; StoreError for a folder that holds no model; ContractError if the mel settings of
    the two differ.
    """
    folder = Path(folder)
    if vocoder is None and (folder / VOCODER / NETWORK).exists():
        raise KoeError(f"{folder / VOCODER} was exported earlier, and this export has no vocoder: remove it, "
                       "name another folder, or give a vocoder")
    inputs = [path for model in (acoustic, vocoder) if model is not None for path in Path(model).glob("*")]
    names = ACOUSTIC_FILES if vocoder is None else [*ACOUSTIC_FILES, *VOCODER_FILES]
    with filling(folder, names, inputs, overwrite) as temporary:
        model = load_acoustic(acoustic)
        if vocoder is not None:
            vocoder_model = read_vocoder(vocoder)
            compare_contracts(str(acoustic), mel_contract(model.preparation.mel),
                              str(vocoder), mel_contract(vocoder_model.mel))
            export_vocoder(temporary / VOCODER, vocoder_model)
        export_acoustic(temporary / ACOUSTIC, model)


def export_acoustic(folder: Path, model: AcousticModel) -> None:
    """Writes the two graphs, the card and the speakers' embeddings into `folder`."""
    network = _affine_norms(deepcopy(model.network).cpu().eval())
    mask = torch.ones(_BATCH, _STEPS, dtype=torch.bool)
    mel = torch.randn(_BATCH, _STEPS, network.reduce.in_features)
    voices = {
        "none": [],
        "learned": [torch.zeros(_BATCH, 2, dtype=torch.int64)],
        "encoder": [torch.randn(_BATCH, 2, EMBEDDING_SIZE)],
    }[model.params.conditioning.by]
    _export(_Encoder(network), [mel, mask, *voices], encoder_inputs(bool(voices)), ENCODER_OUTPUTS, folder / ENCODER)
    hidden = torch.randn(_BATCH, _STEPS, network.reduce.out_features)
    source_prosody = torch.randn(_BATCH, _STEPS, 2 * values_per_step(network.reduction))
    zero = torch.zeros(_BATCH)
    _export(_Decoder(network), [hidden, source_prosody, mask, zero, zero], DECODER_INPUTS, DECODER_OUTPUTS,
            folder / DECODER)
    save_card(folder, model, [ENCODER, DECODER])


def export_vocoder(folder: Path, model: VocoderModel) -> None:
    """Writes the graph and the card into `folder`. The weight norm of `model` itself is folded away."""
    network = model.generator.cpu().eval().fold_weight_norm()
    mel = torch.randn(_BATCH, _STEPS, model.mel.n_mels)
    exported = network.exported(mel, torch.randn(_BATCH, _STEPS * model.mel.hop_length, 2))
    with _complex_as_pairs():
        _export(exported.module, [*exported.inputs.values()], [*exported.inputs], exported.outputs, folder / NETWORK)
    write_card(folder / CARD, {
        "vocoder": model.params.model_dump(mode="json"),
        "mel": model.mel.model_dump(mode="json"),
        "contract": mel_contract(model.mel),
        "context_frames": network.context_frames(),
    }, [NETWORK])


def _export(
    module: nn.Module, arguments: list[Tensor], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Traces `module` into a file.

    The first axis of every tensor is the batch; the second one counts steps or samples, except in `voices`, where it
    is the source and the target.
    """
    require("onnx")
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: f"{name} length"} for name in (*inputs, *outputs)}
    axes |= {name: {0: "batch"} for name, value in zip(inputs, arguments, strict=True)
             if value.dim() == 1 or name == "voices"}
    with replacing(path) as temporary, warnings.catch_warnings():
        # The warnings are of sizes that become constants of the graph, which is intended, and of the old exporter:
        # PyTorch's new one takes twenty times as long and needs a further package.
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval().requires_grad_(False), tuple(arguments), temporary, dynamo=False,
                          input_names=list(inputs), output_names=list(outputs), dynamic_axes=axes, opset_version=OPSET)


class _Encoder(nn.Module):
    """The part of the acoustic model before its length regulator."""

    def __init__(self, network: NARS2S) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, mask: Tensor, voices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.network.encode(mel, voices, mask)


class _Decoder(nn.Module):
    """The part of the acoustic model after its length regulator."""

    def __init__(self, network: NARS2S) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, hidden: Tensor, source_prosody: Tensor, mask: Tensor, pitch: Tensor, energy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        control = Control(pitch, energy, torch.ones_like(pitch))
        predicted, mel_before, mel = self.network.decode(hidden, source_prosody, mask, control=control)
        return predicted.pitch, predicted.energy, mel_before, mel + 0  # without Postnet both are one tensor


class _Affine(nn.Module):
    """A trained batch norm as a factor and an offset for each channel, applied to real steps and padding alike."""

    def __init__(self, norm: MaskedBatchNorm) -> None:
        super().__init__()
        self.register_buffer("factor", norm.weight * torch.rsqrt(norm.running_var + norm.epsilon))
        self.register_buffer("offset", norm.bias - norm.running_mean * self.factor)

    factor: Tensor
    offset: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.offset


def _affine_norms(network: NARS2S) -> NARS2S:
    """`network` with its batch norms replaced: they gather the real steps, which cannot be exported."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, MaskedBatchNorm):
                setattr(module, name, _Affine(child))
    return network


@contextmanager
def _complex_as_pairs() -> Iterator[None]:
    """Within it, complex numbers are exported as pairs of real ones, for the operations that vocoders use: `polar`."""

    def pair_axis(graph: Any, value: Any) -> Any:
        return graph.op("Unsqueeze", value, graph.op("Constant", value_t=torch.tensor([-1])))

    def polar(graph: Any, magnitude: Any, phase: Any) -> Any:
        real, imaginary = (graph.op("Mul", magnitude, graph.op(name, phase)) for name in ("Cos", "Sin"))
        return graph.op("Concat", pair_axis(graph, real), pair_axis(graph, imaginary), axis_i=-1)

    symbolics: dict[str, Callable[..., Any]] = {
        "aten::polar": polar, "aten::view_as_real": lambda graph, value: value}
    for name, symbolic in symbolics.items():
        torch.onnx.register_custom_op_symbolic(name, symbolic, OPSET)
    try:
        yield
    finally:
        for name in symbolics:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)
