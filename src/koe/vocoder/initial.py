"""What a vocoder's training starts from: random weights, or another vocoder's, its discriminators and its optimizers.

`vocoder.init` says from which (koe.training.references), what of it is kept, and whether everything must fit
(`strict`). What was decided is told in lines to print.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.errors import ContractError, KoeError
from koe.randomness import seed_for
from koe.store import compare_contracts
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
Layers = Mapping[str, list[str]]  # of lists of layers, by name, what each one is for


@dataclass(frozen=True)
class Initial:
    """The networks to train, the states of the optimizers to go on with, by `generator` and `discriminators` (absent: a
    new one), and what there is to tell.
    """

    generator: VocoderNetwork
    discriminators: Discriminators
    optimizer_states: dict[str, dict[str, Any]] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)


class _Found(NamedTuple):
    """What there is to start from: weights and optimizer states, by `generator` and `discriminators`."""

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
              *_compared_mels(model, mel_params, start.name, init.strict)]
    found = _states(model, start, init)
    for part, network in networks.items():
        if getattr(init, part) == "reset":
            report.append(f"{part}: random, as vocoder.init.{part} asks for")
        elif not network.state_dict():
            report.append(f"{part}: none")
        elif part not in found.weights:
            report.append(f"{part}: {start.name} has none, so they start at random")
        elif init.strict:
            _require_the_same(part, start.name, model.params, params)
            network.load_state_dict(found.weights[part])
            report.append(f"{part}: taken")
        else:
            meanings = [_numbered_layers(part, *sides) for sides in (
                (model.generator, model.params), (generator, params))]
            report += _take_what_fits(part, start.name, _placed(found.weights[part], *meanings), network)
            report += _without_counterpart(*meanings)
    optimizers = {part: state for part, state in found.optimizers.items() if getattr(init, part) == "keep"}
    return Initial(generator, discriminators, optimizers, report)


def _compared_mels(model: VocoderModel, mel_params: MelParams, name: str, strict: bool) -> list[str]:
    """Nothing if the mel settings are the same; else lines that say so, or with `strict` a ContractError."""
    try:
        compare_contracts(f"vocoder.init.from ({name})", mel_contract(model.mel),
                          "params.yaml", mel_contract(mel_params))
    except ContractError as error:
        if strict:
            raise
        return str(error).splitlines()[1:]
    return []


def _states(model: VocoderModel, start: ModelReference, init: VocoderInit) -> _Found:
    """The weights to start from, and the optimizers' states if they are to be kept."""
    keep = init.optimizer == "keep"
    if start.checkpoint is None:
        if keep:
            raise KoeError(f"vocoder.init.optimizer: {start.name} is a finished vocoder, and its optimizers are in "
                           "kept checkpoints alone (vocoder.training.keep_every, keep_best); name one with "
                           "vocoder.init.from: <folder>@<step> or <folder>@best, or set it to reset")
        networks = {"generator": model.generator, "discriminators": model.discriminators}
        return _Found({part: network.state_dict() for part, network in networks.items() if network is not None}, {})
    parts = ("generator", "discriminators")
    found = read_checkpoint(start.checkpoint, (*parts, "ema", *(f"{part}_optimizer" for part in parts)))
    weights = {part: found[part] for part in parts if found[part]}
    if "ema" in found and not keep:  # an optimizer's moments belong to the weights that it moved, not to their average
        weights["generator"] = found["ema"]
    return _Found(weights, {part: found[f"{part}_optimizer"] for part in weights} if keep else {})


def _require_the_same(part: str, name: str, theirs: VocoderParams, ours: VocoderParams) -> None:
    """Raises KoeError listing the parameters of a network that differ, those without effect on any shape included."""
    if part == "generator" and theirs.model != ours.model:
        rows = [f"vocoder.model: {theirs.model} there, {ours.model} here"]
    else:
        section = ours.model if part == "generator" else part
        there, here = (getattr(params, section).model_dump() for params in (theirs, ours))
        rows = [f"vocoder.{section}.{key}: {there[key]} there, {here[key]} here" for key in here
                if there[key] != here[key]]
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
    """What the layers are for that are told apart by number, see `VocoderNetwork.numbered_layers`."""
    if part == "generator":
        return generator.numbered_layers()
    judges = params.discriminators
    return {"mpd.discriminators": [f"period {period}" for period in judges.periods],
            "msp.discriminators": [f"FFT size {size}" for size in judges.spectra]}


def _placed(state: State, theirs: Layers, ours: Layers) -> State:
    """The state of another network, under published names, with its numbered layers where ours of the same meaning
    are; those that have no counterpart get names that nothing has.
    """
    places: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in theirs}
    for name in theirs.keys() & ours.keys():
        for place, meaning in enumerate(ours[name]):
            places[name][meaning].append(place)
    moved = {f"{name}.{place}.": f"{name}.{free.pop(0) if (free := places[name][meaning]) else f'other {place}'}."
             for name, meanings in theirs.items() for place, meaning in enumerate(meanings)}
    placed = {}
    for tensor, value in published_names(dict(state)).items():
        layer = next((layer for layer in moved if tensor.startswith(layer)), "")
        placed[moved.get(layer, "") + tensor.removeprefix(layer)] = value
    return placed


def _without_counterpart(theirs: Layers, ours: Layers) -> list[str]:
    """Lines on the numbered layers here that there are none of there."""
    return [f"{name}.{place} ({meaning}): none there, so random" for name, meanings in ours.items()
            for place, meaning in enumerate(meanings) if meaning not in theirs.get(name, [])]


def _whole_layers(theirs: State, ours: State) -> State:
    """`theirs` without the fitting tensors of layers that have one of another shape: a bias, or the lengths of a
    normalised weight, mean nothing beside directions that are random.
    """
    differing = {tensor.rpartition(".")[0] for tensor in Transfer.between(theirs, ours).differing}
    return {tensor: value for tensor, value in theirs.items()
            if tensor.rpartition(".")[0] not in differing or ours[tensor].shape != value.shape}


def scratch_warning(params: VocoderParams, hours: float) -> str | None:
    """What to expect of a network that starts from nothing, with the hours of speech there are (lesson 11)."""
    expected = network_class(params).from_scratch
    if expected is None or (params.init.origin is not None and params.init.generator == "keep"):
        return None
    return (f"vocoder: WARNING: this {params.network.label} starts from scratch (vocoder.init), on {hours:.2f} hours "
            f"of speech and for {params.training.steps} steps. {expected}")
