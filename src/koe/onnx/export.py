"""Trained models as ONNX graphs of dynamic batch sizes and lengths: `koe export-onnx`.

The acoustic model becomes two graphs, for between them stands the length regulator, whose lengths depend on the data.
A vocoder becomes one graph: what its network says (`VocoderNetwork.exported`) of mel in, waveform out.
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
from koe.errors import KoeError
from koe.files import replacing, write_json
from koe.nn.layers import MaskedBatchNorm
from koe.onnx.files import (
    ACOUSTIC,
    CARD,
    DECODER,
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER,
    ENCODER_OUTPUTS,
    NETWORK,
    VOCODER,
    encoder_inputs,
    require,
)
from koe.store import compare_contracts
from koe.tasks.conversion.model_file import AcousticModel, load_acoustic, save_card
from koe.tasks.conversion.nars2s import NARS2S, Control
from koe.tasks.conversion.reduction import values_a_step
from koe.tasks.conversion.speakers import EMBEDDING_SIZE
from koe.vocoder.model_file import VocoderModel, read_vocoder

OPSET = 17
_BATCH, _STEPS = 2, 21  # of the tensors that exporting traces with; any would do


def export_onnx(folder: str | Path, acoustic: str | Path, vocoder: str | Path | None = None) -> None:
    """Exports an acoustic model and a vocoder, each from its folder, into `folder`; for the layout see koe.onnx.files.

    Raises KoeError if a package is missing, or if `folder` has an earlier vocoder and is to get none, for the two would
    be taken for one export; StoreError for a folder that holds no model, ContractError if the mel settings of the two
    differ.
    """
    if vocoder is None and (Path(folder) / VOCODER / NETWORK).exists():
        raise KoeError(f"{Path(folder) / VOCODER} was exported earlier, and this export has no vocoder: remove it, "
                       "name another folder, or give a vocoder")
    model = load_acoustic(acoustic)
    if vocoder is not None:
        speaker = read_vocoder(vocoder)
        compare_contracts(str(acoustic), mel_contract(model.preparation.mel), str(vocoder), mel_contract(speaker.mel))
        export_vocoder(Path(folder) / VOCODER, speaker)
    export_acoustic(Path(folder) / ACOUSTIC, model)


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
    spoken = torch.randn(_BATCH, _STEPS, 2 * values_a_step(network.reduction))
    zero = torch.zeros(_BATCH)
    _export(_Decoder(network), [hidden, spoken, mask, zero, zero], DECODER_INPUTS, DECODER_OUTPUTS, folder / DECODER)
    save_card(folder, model)


def export_vocoder(folder: Path, model: VocoderModel) -> None:
    """Writes the graph and the card into `folder`. The generator's weight norm is folded away, for good."""
    network = model.generator.cpu().eval().fold_weight_norm()
    mel = torch.randn(_BATCH, _STEPS, model.mel.n_mels)
    exported = network.exported(mel, torch.randn(_BATCH, _STEPS * model.mel.hop_length, 2))
    with _complex_as_pairs():
        _export(exported.module, [*exported.inputs.values()], [*exported.inputs], exported.outputs, folder / NETWORK)
    write_json(folder / CARD, {
        "vocoder": model.params.model_dump(mode="json"),
        "mel": model.mel.model_dump(mode="json"),
        "contract": mel_contract(model.mel),
        "context_frames": network.context_frames(),
    })


def _export(
    module: nn.Module, arguments: list[Tensor], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Traces `module` into a file. The first axis of everything is the batch, the second one counts steps or samples,
    but of `voices` it is the source and the target.
    """
    require("onnx")
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: f"{name} length"} for name in (*inputs, *outputs)}
    axes |= {name: {0: "batch"} for name, value in zip(inputs, arguments, strict=True)
             if value.dim() == 1 or name == "voices"}
    with replacing(path) as temporary, warnings.catch_warnings():
        # Sizes that are the same for every input are constants of the graph, which is meant; and this exporter is the
        # old one: PyTorch's new one takes twenty times as long and needs a further package.
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval().requires_grad_(False), tuple(arguments), temporary, dynamo=False,
                          input_names=list(inputs), output_names=list(outputs), dynamic_axes=axes, opset_version=OPSET)


class _Encoder(nn.Module):
    """What of the acoustic model comes before its length regulator."""

    def __init__(self, network: NARS2S) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, mask: Tensor, voices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.network.encode(mel, voices, mask)


class _Decoder(nn.Module):
    """What of the acoustic model comes after its length regulator."""

    def __init__(self, network: NARS2S) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, hidden: Tensor, spoken: Tensor, mask: Tensor, pitch: Tensor, energy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        control = Control(pitch, energy, torch.ones_like(pitch))
        predicted, mel_before, mel = self.network.decode(hidden, spoken, mask, control=control)
        return predicted.pitch, predicted.energy, mel_before, mel + 0  # without Postnet the same tensor as before


class _Affine(nn.Module):
    """A trained batch norm: a factor and an offset for each channel, real step or not."""

    def __init__(self, norm: MaskedBatchNorm) -> None:
        super().__init__()
        self.register_buffer("factor", norm.weight * torch.rsqrt(norm.running_var + norm.epsilon))
        self.register_buffer("offset", norm.bias - norm.running_mean * self.factor)

    factor: Tensor
    offset: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.offset


def _affine_norms(network: NARS2S) -> NARS2S:
    """`network` with its batch norms replaced: gathering real steps, as they do, is not for graphs."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, MaskedBatchNorm):
                setattr(module, name, _Affine(child))
    return network


@contextmanager
def _complex_as_pairs() -> Iterator[None]:
    """Within it graphs hold complex numbers as pairs of real ones, as far as vocoders draw them: from polar ones."""

    def pairs(graph: Any, value: Any) -> Any:
        return graph.op("Unsqueeze", value, graph.op("Constant", value_t=torch.tensor([-1])))

    def polar(graph: Any, magnitude: Any, phase: Any) -> Any:
        parts = (graph.op("Mul", magnitude, graph.op(name, phase)) for name in ("Cos", "Sin"))
        return graph.op("Concat", *(pairs(graph, part) for part in parts), axis_i=-1)

    symbolics: dict[str, Callable[..., Any]] = {
        "aten::polar": polar, "aten::view_as_real": lambda graph, value: value}
    for name, symbolic in symbolics.items():
        torch.onnx.register_custom_op_symbolic(name, symbolic, OPSET)
    try:
        yield
    finally:
        for name in symbolics:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)
