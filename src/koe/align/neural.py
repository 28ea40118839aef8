"""Aligners that are trained: their networks by name, their folder, and aligning with them.

A folder `models/aligner/<method>/` holds `model.safetensors` and `model.json`: the parameters, the mel contract, the
frames a step, the statistics of the speakers, the weights' checksum, and what it came from (lesson 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from koe.align.aligner import FramePath, Side
from koe.align.attention import AttentionTeacher
from koe.align.durations import path_along
from koe.align.learned import LearnedAligner
from koe.align.monotonic import best_path, focus_rate, positions_between
from koe.align.params import AlignParams, AttentionAlignParams, LearnedAlignParams
from koe.align.steps import StepReader
from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.errors import StoreError
from koe.files import replacing, understood
from koe.params.section import Card
from koe.statistics import Moments
from koe.store import compare_contracts
from koe.weights import fitted, read_card, read_weights, write_card

Method = Literal["attention", "learned"]
Network = AttentionTeacher | LearnedAligner
NetworkParams = AttentionAlignParams | LearnedAlignParams
NETWORKS: Mapping[str, Any] = {"attention": AttentionTeacher, "learned": LearnedAligner}

_WEIGHTS, _CARD = "model.safetensors", "model.json"
_AGAIN = "run dvc repro train_aligner"


def network_params(method: str, align: AlignParams) -> NetworkParams:
    """The section of `align` that belongs to a method of NETWORKS."""
    return align.part(AttentionAlignParams) if method == "attention" else align.part(LearnedAlignParams)


def build_network(method: str, params: NetworkParams, n_mels: int, factor: int) -> Network:
    """An untrained network for mels of `n_mels` bands, in steps of `factor` frames."""
    network: Network = NETWORKS[method](params, factor * n_mels)
    return network


@dataclass(frozen=True)
class NeuralAligner:
    """A trained network as an `Aligner`: the best monotonic path through its attention."""

    network: nn.Module  # StepBatch → (B, T, S)
    reader: StepReader

    def __call__(self, source: Side, target: Side) -> FramePath:
        batch, factor = self.reader.batch([(source, target)]), self.reader.factor
        with torch.no_grad():
            attention = self.network(batch)[0, : batch.target_steps[0], : batch.source_steps[0]].numpy()
        positions = positions_between(best_path(attention), factor, len(source.mel), len(target.mel))
        return FramePath(path_along(positions, len(source.mel)), positions, focus_rate(attention))


def save_aligner(
    folder: Path, method: str, network: Network, reader: StepReader, mel_params: MelParams,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a trained network with all that aligning needs into `folder`."""
    with replacing(folder / _WEIGHTS) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}, temporary)
    write_card(folder / _CARD, {
        "method": method,
        "params": network.params.model_dump(mode="json"),
        "contract": mel_contract(mel_params),
        "factor": reader.factor,
        "speakers": {name: moments.to_json() for name, moments in sorted(reader.speakers.items())},
        "provenance": dict(provenance),
    }, [_WEIGHTS])


class _Card(Card):
    method: Method
    params: dict[str, Any]
    contract: dict[str, Any]
    factor: int
    speakers: dict[str, dict[str, Any]]


def load_aligner(folder: Path, params: NetworkParams, mel_params: MelParams, factor: int) -> NeuralAligner:
    """Reads what `save_aligner` wrote. Raises StoreError if it is missing, damaged, or of other parameters."""
    with understood(folder / _CARD, _AGAIN):
        card = _Card.model_validate(read_card(folder / _CARD, _AGAIN, _AGAIN))
        compare_contracts(str(folder), card.contract, "the parameters", mel_contract(mel_params))
        speakers = {name: Moments.from_json(value, (mel_params.n_mels,)) for name, value in card.speakers.items()}
    if card.params != params.model_dump(mode="json") or card.factor != factor:
        raise StoreError(f"{folder} was trained with other parameters; {_AGAIN}")
    network = fitted(lambda: build_network(card.method, params, mel_params.n_mels, factor),
                     read_weights(folder / _WEIGHTS, card.checksums, _AGAIN), folder / _WEIGHTS, str(folder / _CARD))
    return NeuralAligner(network.eval(), StepReader(speakers, factor))
