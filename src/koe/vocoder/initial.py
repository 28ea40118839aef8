"""The start of a vocoder's training run: random weights, or another vocoder's, its discriminators and its optimizers.

`vocoder.init` names the other vocoder (koe.training.references), what of it is kept, and whether everything must fit
(`strict`). The result has a report of the decisions, as lines to print.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.errors import KoeError
from koe.randomness import seed_for
from koe.store import differing_settings
from koe.training.checkpoint import read_checkpoint
from koe.training.references import ModelReference
from koe.training.transfer import Transfer
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.model_file import VocoderModel, read_vocoder
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.networks import make_network, network_class
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import VocoderInit, VocoderParams

State = Mapping[str, Tensor]
Layers = Mapping[str, list[str]]  # names of lists of layers → purpose of each layer


@dataclass(frozen=True)
class Initial:
    """Start of a training run."""

    generator: VocoderNetwork
    discriminators: Discriminators
    optimizer_states: dict[str, dict[str, Any]] = field(default_factory=dict)  # by network; absent: a new optimizer
    report: list[str] = field(default_factory=list)  # lines to print


class _States(NamedTuple):
    """States of the vocoder to start from, by `generator` and `discriminators`."""

    weights: dict[str, State]
    optimizers: dict[str, dict[str, Any]]


def initial_models(
    params: VocoderParams, mel_params: MelParams, seed: int, start: ModelReference | None = None
) -> Initial:
    """The networks to train: random under `seed`, or what `vocoder.init` keeps of the vocoder `start`.

    With `init.strict` sizes and mel settings must be the same. Otherwise the layers that fit are taken, and the report
    has the table of what was taken and what was not (lesson 14), with the mel settings that differ.

    Raises KoeError if its sizes differ or nothing of it fits, or if there are no optimizers to keep; ContractError if
    its mel settings differ (lesson 13).
    """
    torch.manual_seed(seed_for(seed, "vocoder"))
    generator, discriminators = make_network(params, mel_params), Discriminators(params.discriminators)
    networks: dict[str, nn.Module] = {"generator": generator, "discriminators": discriminators}
    init = params.init
    if start is None:
        return Initial(generator, discriminators)
    model = read_vocoder(start.folder)
    report = [f"vocoder.init.from: {start.name}, {start.checkpoint or start.folder}",
              *_compared_mels(model, mel_params, start, init.strict)]
    states = _states(model, start, init)
    for part, network in networks.items():
        if getattr(init, part) == "reset":
            report.append(f"{part}: random, as vocoder.init.{part} asks for")
        elif not network.state_dict():
            report.append(f"{part}: none")
        elif part not in states.weights:
            report.append(f"{part}: {start.name} has none, so they start at random")
        elif init.strict:
            _require_the_same(part, start.name, model.params, params)
            network.load_state_dict(states.weights[part])
            report.append(f"{part}: taken")
        else:
            theirs = _numbered_layers(part, model.generator, model.params)
            ours = _numbered_layers(part, generator, params)
            report += _take_what_fits(part, start.name, _placed(states.weights[part], theirs, ours), network)
            report += _without_counterpart(theirs, ours)
    optimizers = {part: state for part, state in states.optimizers.items() if getattr(init, part) == "keep"}
    return Initial(generator, discriminators, optimizers, report)


def _compared_mels(model: VocoderModel, mel_params: MelParams, start: ModelReference, strict: bool) -> list[str]:
    """Lines on the mel settings that differ, if any do; with `strict` they raise ContractError."""
    theirs, ours = mel_contract(model.mel), mel_contract(mel_params)
    if strict:
        start.require_contract(theirs, ours)
    return differing_settings(f"vocoder.init.from ({start.name})", theirs, "params.yaml", ours)


def _states(model: VocoderModel, start: ModelReference, init: VocoderInit) -> _States:
    """The weights to start from, and the optimizers' states if they are to be kept."""
    keep = init.optimizer == "keep"
    if start.checkpoint is None:
        if keep:
            raise KoeError(f"vocoder.init.optimizer: {start.name} is a finished vocoder, and its optimizers are in "
                           "kept checkpoints alone (vocoder.training.keep_every, keep_best); name one with "
                           "vocoder.init.from: <folder>@<step> or <folder>@best, or set it to reset")
        networks = {"generator": model.generator, "discriminators": model.discriminators}
        return _States({part: network.state_dict() for part, network in networks.items() if network is not None}, {})
    parts = ("generator", "discriminators")
    kept = read_checkpoint(start.checkpoint, (*parts, "ema", *(f"{part}_optimizer" for part in parts)))
    weights = {part: kept[part] for part in parts if kept[part]}
    if "ema" in kept and not keep:  # an optimizer's moments belong to the weights that it moved, not to their average
        weights["generator"] = kept["ema"]
    return _States(weights, {part: kept[f"{part}_optimizer"] for part in weights} if keep else {})


def _require_the_same(part: str, name: str, theirs: VocoderParams, ours: VocoderParams) -> None:
    """Raises KoeError listing the parameters of a network that differ, those without effect on any shape included."""
    if part == "generator" and theirs.model != ours.model:
        rows = [f"vocoder.model: {theirs.model} there, {ours.model} here"]
    else:
        section = ours.model if part == "generator" else part
        their_sizes, our_sizes = (getattr(params, section).model_dump() for params in (theirs, ours))
        rows = [f"vocoder.{section}.{key}: {their_sizes[key]} there, {size} here" for key, size in our_sizes.items()
                if their_sizes[key] != size]
    if rows:
        raise KoeError("\n  ".join([
            f"vocoder.init.from: {name} and the parameters of the {part} differ. Set them to that vocoder's, take what "
            f"fits with vocoder.init.strict: false, or set vocoder.init.{part}: reset", *rows]))


def _take_what_fits(part: str, name: str, theirs: State, network: nn.Module) -> list[str]:
    """Fills `network` with the layers of which every tensor fits. Returns what was and was not taken."""
    ours = published_names(network.state_dict())
    state = _whole_layers(theirs, ours)
    transfer = Transfer.between(state, ours)
    trained = published_names(dict(network.named_parameters()))  # the mel's mean has the same shape everywhere
    if trained.keys().isdisjoint(transfer.taken):
        raise KoeError("\n  ".join([
            f"vocoder.init.from: nothing of the {part} of {name} fits; set vocoder.init.{part}: reset, or change sizes",
            *transfer.table()]))
    network.load_state_dict(internal_names({**ours, **{tensor: state[tensor] for tensor in transfer.taken}}))
    return [f"{part}, layers that fit (tensors):", *transfer.table()]


def _numbered_layers(part: str, generator: VocoderNetwork, params: VocoderParams) -> Layers:
    """Purpose of the layers that only a number tells apart, see `VocoderNetwork.numbered_layers`."""
    if part == "generator":
        return generator.numbered_layers()
    return {"mpd.discriminators": [f"period {period}" for period in params.discriminators.periods],
            "msp.discriminators": [f"FFT size {size}" for size in params.discriminators.spectra]}


def _placed(state: State, theirs: Layers, ours: Layers) -> State:
    """The state of another network, under published names, with its numbered layers at the numbers of our layers of the
    same purpose; those that have no counterpart get names that do not exist.
    """
    free: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in theirs}
    for name in theirs.keys() & ours.keys():
        for number, purpose in enumerate(ours[name]):
            free[name][purpose].append(number)
    moved = {}
    for name, purposes in theirs.items():
        for number, purpose in enumerate(purposes):
            numbers = free[name][purpose]
            moved[f"{name}.{number}."] = f"{name}.{numbers.pop(0)}." if numbers else f"{name}.other {number}."
    placed = {}
    for tensor, value in published_names(dict(state)).items():
        layer = next((layer for layer in moved if tensor.startswith(layer)), "")
        placed[moved.get(layer, "") + tensor.removeprefix(layer)] = value
    return placed


def _without_counterpart(theirs: Layers, ours: Layers) -> list[str]:
    """Lines on our numbered layers that have no counterpart among theirs."""
    return [f"{name}.{number} ({purpose}): none there, so random" for name, purposes in ours.items()
            for number, purpose in enumerate(purposes) if purpose not in theirs.get(name, [])]


def _whole_layers(theirs: State, ours: State) -> State:
    """`theirs` without the fitting tensors of layers that have one of another shape: a bias, or the lengths of a
    normalised weight, mean nothing beside directions that are random.
    """
    differing = {tensor.rpartition(".")[0] for tensor in Transfer.between(theirs, ours).differing}
    return {tensor: value for tensor, value in theirs.items()
            if tensor.rpartition(".")[0] not in differing or ours[tensor].shape != value.shape}


def scratch_warning(params: VocoderParams, hours: float) -> str | None:
    """What to expect of a network that starts from random weights, on that many hours of speech (lesson 11)."""
    expected = network_class(params).from_scratch
    if expected is None or (params.init.origin is not None and params.init.generator == "keep"):
        return None
    return (f"vocoder: WARNING: this {params.network.label} starts from scratch (vocoder.init), on {hours:.2f} hours "
            f"of speech and for {params.training.steps} steps. {expected}")
