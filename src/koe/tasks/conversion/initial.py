"""Start of a training run of the acoustic model: random weights, or another model's, with its statistics.

`acoustic.init` names the model (koe.training.references), and says whether everything must fit (`strict`), whose
statistics normalise, and what is not trained (`freeze`). The result reports these decisions as lines to print.

A model that is told of speakers by embeddings starts others too: for one source and one target, what their embeddings
add is constant and becomes part of two biases; learned vectors begin as what the embeddings are turned into. Both
compute the same as the model that they start from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.corpus.statistics import Normalization
from koe.errors import KoeError
from koe.nn.layers import MaskedBatchNorm
from koe.randomness import seed_for
from koe.tasks.conversion.model_file import AcousticModel, build_network, load_acoustic
from koe.tasks.conversion.nars2s import NARS2S, VoiceInput
from koe.tasks.conversion.params import AcousticParams, InitParams
from koe.tasks.conversion.reduction import frames_per_value
from koe.tasks.conversion.speakers import Speakers
from koe.training.checkpoint import read_checkpoint
from koe.training.references import ModelReference
from koe.training.transfer import Transfer

VOICES = "voices."  # the part that is told who speaks
VECTORS = f"{VOICES}voice.weight"  # a row for each speaker, with `conditioning.by: learned`

# Parameters that change the meaning of weights, but no tensor's shape.
MEANINGS: dict[str, Callable[[AcousticParams], Any]] = {
    **{name: attrgetter(name) for name in (
        "normalize_target", "reduction.by", "reduction.factor", "reduction.loss", "reduction.prosody_by",
        "encoder.heads", "encoder.positions", "decoder.heads", "decoder.positions")},
    "reduction.prosody_factor": lambda params: frames_per_value(params.reduction),
    "loss.duration": lambda params: "log" if params.loss.duration == "log" else "plain or guided",
}

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Initial:
    """Start of a training run."""

    network: NARS2S
    speakers: Speakers  # with the statistics to train with
    optimizer_state: dict[str, Any] | None = None  # None: a new optimizer
    steps_before: int = 0  # optimizer steps at which the schedule continues
    report: list[str] = field(default_factory=list)  # lines to print


def initial_network(
    params: AcousticParams, mel_params: MelParams, own: Speakers, seed: int, start: ModelReference | None = None
) -> Initial:
    """The network to train: random weights under `seed` with the data's `own` statistics, or the model `start`.

    The embeddings of `own` are needed if either of the two models takes them.

    Another model's weights come with its statistics, without which they lose their meaning (lesson 19), unless
    `init.statistics` is `own`. With `init.strict` everything must be the same: parameters that give weights their
    meaning, all tensors, and the speakers of learned vectors. Otherwise the tensors that fit are taken, learned
    vectors by their speakers' names, and the rest is random.

    Raises ContractError if the model's mel settings differ (lesson 13); KoeError with a table of what differs, or if
    nothing fits, if there is no optimizer to keep, or if `init.freeze` leaves nothing to train or matches nothing.
    """
    torch.manual_seed(seed_for(seed, "acoustic"))
    network = build_network(params, mel_params.n_mels, len(own.trained))
    if start is None:
        return Initial(network, own)
    model = load_acoustic(start.folder)
    start.require_contract(mel_contract(model.preparation.mel), mel_contract(mel_params))
    state, optimizer_state, steps_before = _states(model, start, params.init)
    state, lines = _conditioned(state, model.params, params, own)
    report = [f"acoustic.init.from: {start.name}, {start.checkpoint or start.folder}", *lines]
    if params.init.strict:
        _require_the_same(start.name, model, state, params, own, network)
        network.load_state_dict(state)
    else:
        report += _take_what_fits(start.name, model, state, params, own, network)
    normalization, lines = _normalization(params.init, own.normalization, model.speakers.normalization, start.name)
    report += lines + _freeze(network, params.init.freeze)
    return Initial(network, replace(own, normalization=normalization), optimizer_state, steps_before, report)


def _states(
    model: AcousticModel, start: ModelReference, init: InitParams
) -> tuple[State, dict[str, Any] | None, int]:
    """The weights to start from, the optimizer's state if it is kept, and the schedule's steps if they are."""
    if start.checkpoint is None:
        for name in ("keep_optimizer", "keep_schedule"):
            if getattr(init, name):
                raise KoeError(f"acoustic.init.{name}: {start.name} is a finished model, without the state that a "
                               "training run continues with; only kept checkpoints have it "
                               "(acoustic.training.keep_every, keep_best). Name one with acoustic.init.from: "
                               "<model>@<step> or <model>@best")
        return model.network.state_dict(), None, 0
    parts = ("network", "ema", "optimizer") if init.keep_optimizer else ("network", "ema")
    checkpoint = read_checkpoint(start.checkpoint, parts)
    # The optimizer's moments belong to the weights that it updated, not to their average.
    weights = checkpoint["network"] if init.keep_optimizer else checkpoint.get("ema", checkpoint["network"])
    return weights, checkpoint.get("optimizer"), checkpoint["step"] if init.keep_schedule else 0


def _conditioned(
    state: State, theirs: AcousticParams, ours: AcousticParams, own: Speakers
) -> tuple[State, list[str]]:
    """The weights of a model that takes embeddings, for one that does not; of others as they are. And lines to print.

    Raises KoeError if its optimizer is to be kept, whose moments are of other tensors.
    """
    before, after = theirs.conditioning, ours.conditioning
    if before.by != "encoder" or after.by == "encoder" or (after.by == "learned" and after.size != before.size):
        return state, []
    if ours.init.keep_optimizer:
        raise KoeError("acoustic.init.keep_optimizer: that model takes embeddings of speakers, and with "
                       f"acoustic.conditioning.by: {after.by} this one has other tensors; set it to false, or by to "
                       "encoder")
    voices = VoiceInput(theirs.encoder.hidden, before, 0)
    voices.load_state_dict({name.removeprefix(VOICES): tensor for name, tensor in state.items()
                            if name.startswith(VOICES)})
    speakers = own.trained if after.by == "learned" else own.directions[0]
    embeddings = torch.from_numpy(np.stack([own.embedding(speaker) for speaker in speakers]))
    with torch.no_grad():
        if after.by == "learned":
            others = {name: tensor for name, tensor in state.items() if not name.startswith(f"{VOICES}voice.")}
            return {**others, VECTORS: voices.projected(embeddings)}, [
                f"{VECTORS}: what the embeddings of {len(speakers)} speakers are turned into"]
        added = dict(zip(("reduce.bias", f"encoder.blocks.{theirs.encoder.layers - 1}.norm.bias"),
                         voices(embeddings[None]), strict=True))
        others = {name: tensor for name, tensor in state.items() if not name.startswith(VOICES)}
        return {**others, **{name: others[name] + vector.flatten() for name, vector in added.items()}}, [
            f"{VOICES}*: what the embeddings of {' and '.join(speakers)} add is now in {' and '.join(added)}"]


def _require_the_same(
    name: str, model: AcousticModel, state: State, params: AcousticParams, own: Speakers, network: nn.Module
) -> None:
    transfer = Transfer.between(state, network.state_dict())
    differing = _differing_meanings(model.params, params)
    learned = params.conditioning.by == "learned" == model.params.conditioning.by
    if learned and model.speakers.trained != own.trained:
        raise KoeError(
            f"acoustic.init.from: {name} learned {', '.join(model.speakers.trained)}, and the pairs have "
            f"{', '.join(own.trained)}; its vectors would be those of other speakers. Use acoustic.conditioning.by: "
            "encoder, or acoustic.init.strict: false, which takes the vectors of common speakers and learns the others")
    if differing or not transfer.complete:
        raise KoeError("\n  ".join([
            f"acoustic.init.from: {name} and the acoustic parameters differ. Set them to that model's; or train "
            "from random weights, with acoustic.init.from: null and more steps (experiments/from_scratch.yaml); or "
            "take what fits, with acoustic.init.strict: false",
            *differing, *([] if transfer.complete else transfer.table())]))


def _differing_meanings(theirs: AcousticParams, ours: AcousticParams) -> list[str]:
    values = {name: (meaning(theirs), meaning(ours)) for name, meaning in MEANINGS.items()}
    return [f"acoustic.{name}: {other} there, {own} here" for name, (other, own) in values.items() if other != own]


def _take_what_fits(
    name: str, model: AcousticModel, state: State, params: AcousticParams, own: Speakers, network: nn.Module
) -> list[str]:
    """Fills `network` with the tensors of `state` that it has in the same shape. Returns a report, line by line."""
    ours = network.state_dict()
    lines: list[str] = []
    if params.conditioning.by == "learned" == model.params.conditioning.by:
        state, lines = _vectors_by_name(state, model.speakers.trained, ours, own.trained)
    transfer = Transfer.between(state, ours)
    if not transfer.taken:
        raise KoeError("\n  ".join([f"acoustic.init.from: nothing of {name} fits the acoustic parameters; train from "
                                    "scratch with acoustic.init.from: null, or change the sizes", *transfer.table()]))
    network.load_state_dict({**ours, **{tensor: state[tensor] for tensor in transfer.taken}})
    return transfer.table() + lines + _differing_meanings(model.params, params)


def _vectors_by_name(
    state: State, theirs: tuple[str, ...], ours: State, own: tuple[str, ...]
) -> tuple[State, list[str]]:
    """`state` with learned vectors in the order of `own` speakers, fresh ones for speakers that it does not have."""
    both = [speaker for speaker in own if speaker in theirs]
    if state[VECTORS].shape[1] != ours[VECTORS].shape[1] or not both:
        return {name: tensor for name, tensor in state.items() if name != VECTORS}, [f"{VECTORS}: all fresh"]
    vectors = ours[VECTORS].clone()
    vectors[[own.index(speaker) for speaker in both]] = state[VECTORS][[theirs.index(speaker) for speaker in both]]
    fresh = [speaker for speaker in own if speaker not in theirs]
    return {**state, VECTORS: vectors}, [f"{VECTORS}: taken of {', '.join(both)}; fresh: {', '.join(fresh) or 'none'}"]


def _normalization(
    init: InitParams, own: Normalization, theirs: Normalization, name: str
) -> tuple[Normalization, list[str]]:
    """The statistics to normalise with, and lines that report them."""
    if init.statistics == "own":
        return own, [f"statistics: of this data, where {name} had others (natural log units)",
                     *_differences(theirs, own)]
    new = own.speakers.keys() - theirs.speakers.keys()
    for speaker in sorted(new):  # on whom that model was not trained
        theirs = theirs.with_speaker(speaker, own.speakers[speaker])
    brought = f"; their own for {', '.join(sorted(new))}" if new else ""
    return theirs, [f"statistics: those of {name}{brought}"]


def _differences(theirs: Normalization, own: Normalization) -> list[str]:
    """For source and target, mean and deviation of both; of the mel in the band where they differ most."""
    lines = [f"{'':14}  {'mean theirs':>11}  {'own':>7}  {'std theirs':>11}  {'own':>7}"]
    for side in ("source", "target"):
        for feature in ("mel", "log_f0", "energy"):
            moments = [getattr(getattr(normalization, side), feature) for normalization in (theirs, own)]
            columns, bands = [], []
            for moment in ("mean", "std"):
                before, after = (np.atleast_1d(getattr(each, moment)) for each in moments)
                band = int(np.argmax(np.abs(after - before)))
                columns.append(f"{before[band]:11.3f}  {after[band]:7.3f}")
                bands.append(str(band))
            note = f"  (bands {' and '.join(bands)}, where they differ most)" if feature == "mel" else ""
            lines.append(f"{side + ' ' + feature:14}  {'  '.join(columns)}{note}")
    return lines


def _freeze(network: nn.Module, beginnings: Iterable[str]) -> list[str]:
    """Excludes parameters whose names have these beginnings from training, and stops their batch norms' averages."""
    beginnings = tuple(beginnings)
    parameters = dict(network.named_parameters())
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in parameters):
            modules = dict.fromkeys(name.partition(".")[0] + "." for name in parameters)
            raise KoeError(f"acoustic.init.freeze: no tensor's name begins with {beginning!r}; the modules are "
                           f"{', '.join(modules)}")
    frozen = [name for name in parameters if name.startswith(beginnings)]
    if len(frozen) == len(parameters):
        raise KoeError(f"acoustic.init.freeze: {', '.join(beginnings)} is the whole model; leave something to train")
    for name in frozen:
        parameters[name].requires_grad_(False)
    for name, module in network.named_modules():
        if isinstance(module, MaskedBatchNorm) and f"{name}.".startswith(beginnings):
            module.momentum = 0.0
    return [f"frozen: {len(frozen)} of {len(parameters)} tensors ({', '.join(beginnings)})"] if beginnings else []
