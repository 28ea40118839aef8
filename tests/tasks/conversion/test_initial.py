"""What a training starts from: another model with its statistics, all of it or what fits, and what is left alone."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_parameters import shrink_acoustic
from support.small_training import run_in

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Normalization, Statistics
from koe.errors import ContractError, KoeError
from koe.names import Direction, Pair
from koe.statistics import Moments
from koe.steps import steps_of
from koe.store import ShardWriter
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.initial import Initial, initial_network
from koe.tasks.conversion.model_file import AcousticModel, Preparation, load_acoustic, save_acoustic
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.params import NETWORK, AcousticParams, InitParams, shaping_parameters
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.training import loop as training_loop
from koe.training.checkpoint import read_checkpoint, save_checkpoint
from koe.training.references import ModelReference, find_reference
from koe.training.schedules import cosine_per_step
from koe.training.session import Session

RUN = "acoustic-0123"
NAMES = ("toy/x", "toy/y")
FRAMES = {"a": (31, 40), "b": (25, 22), "c": (37, 37)}


@pytest.fixture()
def tiny(values: dict[str, Any]) -> Params:
    return made_tiny(values)


def made_tiny(values: dict[str, Any], hidden: int = 16, by: str = "none", **acoustic: Any) -> Params:
    shrink_acoustic(values["acoustic"], hidden, steps=4, warmup_steps=2, batch_size=2, precision="float32",
                    log_every=2, validate_every=2, checkpoint_every=4, keep_every=2, keep_best=True, pictures=0)
    values["acoustic"]["conditioning"] |= {"by": by, "size": 4}
    values["acoustic"] |= acoustic
    return check_params(values)


def statistics(shift: float) -> Statistics:
    mel = Moments(100, np.linspace(-6, -4, 80) + shift, np.full(80, 1.5))
    return Statistics(mel, Moments(100, np.array(5.0 + shift), np.array(0.2)),
                      Moments(100, np.array(shift), np.array(1.0)))


def speakers_of(params: Params, names: tuple[str, ...] = NAMES, shift: float = 0.0) -> Speakers:
    """Speakers, each converted into the next, with statistics that `shift` tells apart."""
    each = {name: statistics(shift + index / 10) for index, name in enumerate(names)}
    normalization = Normalization(params.stats, statistics(shift), statistics(shift + 0.1), statistics(shift), each)
    embeddings = {name: np.eye(len(names), 256, dtype=np.float32)[index] for index, name in enumerate(names)}
    directions = tuple(Direction(source, target) for source, target in itertools.pairwise(names))
    return Speakers(params.acoustic.conditioning, directions, normalization,
                    params.acoustic.normalize_target, embeddings)


def save(folder: Path, params: Params, initial: Initial, run: str = RUN) -> ModelReference:
    """Saves the network of a training's start, as it is now, as the model of `run`."""
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    save_acoustic(folder, AcousticModel(initial.network, params.acoustic, initial.speakers, preparation, {"run": run}))
    return reference(folder)


def reference(folder: Path, checkpoint: str = "") -> ModelReference:
    return find_reference(f"{folder}{checkpoint}", folder, [folder.parent / "work"], ACOUSTIC)


def base(folder: Path, params: Params, names: tuple[str, ...] = NAMES) -> ModelReference:
    return save(folder, params, initial_network(params.acoustic, params.mel, speakers_of(params, names), 1))


def starting(params: Params, **init: Any) -> AcousticParams:
    changed = InitParams.model_validate(params.acoustic.init.model_dump() | init)
    return params.acoustic.model_copy(update={"init": changed})


def start(params: Params, model: ModelReference, own: Speakers, **init: Any) -> Initial:
    return initial_network(starting(params, **init), params.mel, own, 99, model)


def equal(left: Initial, folder: Path) -> dict[str, bool]:
    """For each tensor, whether it is that of the model in `folder`."""
    theirs = load_acoustic(folder).network.state_dict()
    return {name: name in theirs and torch.equal(tensor, theirs[name])
            for name, tensor in left.network.state_dict().items()}


def task_of(root: Path, params: Params, initial: Initial) -> AcousticTask:
    """A task over made-up features, written to `root`."""
    generator = np.random.default_rng(0)
    with ShardWriter(root / "features" / "toy", {"mel": mel_contract(params.mel)}) as writer:
        for sentence, lengths in FRAMES.items():
            for name, frames in zip(NAMES, lengths, strict=True):
                writer.add(f"{name}/{sentence}", mel=generator.normal(-5, 2, (frames, 80)).astype(np.float32),
                           f0=generator.uniform(80, 200, frames).astype(np.float32),
                           energy=generator.normal(0, 1, frames).astype(np.float32))
    dataset = Dataset(["toy"], params.mel, root)
    pairs = [Pair(f"toy/{name}/x-y", f"toy/x/{name}", f"toy/y/{name}") for name in FRAMES]
    factor, durations = params.acoustic.reduction.factor, {}
    for pair, source, target in pairs:
        steps, target_steps = (steps_of(dataset.frames(name), factor) for name in (source, target))
        ends = np.round(np.arange(1, steps + 1) * target_steps / steps).astype(np.int32)
        durations[pair] = np.diff(ends, prepend=0).astype(np.int32)
    reader = PairReader(dataset, durations, initial.speakers, params.acoustic.reduction)
    return AcousticTask(initial.network, params.acoustic, reader, pairs[:2], pairs[2:], 1, torch.device("cpu"),
                        initial.optimizer_state,
                        steps_before=initial.steps_before)


def train(root: Path, params: Params, initial: Initial) -> tuple[AcousticTask, str]:
    """The four steps of a training, which keeps the second, the last and the best; and its run's name."""
    task = task_of(root, params, initial)
    session = Session("acoustic", {"hidden": params.acoustic.encoder.hidden}, root / "curves", root / "work")
    training_loop.train(task, session)
    session.finish()
    return task, session.folder.name


def test_lesson_19_statistics_come_with_the_model_to_start_from(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    initial = start(tiny, model, speakers_of(tiny, shift=1.0))
    assert initial.speakers.normalization.to_json() == speakers_of(tiny).normalization.to_json()
    assert all(equal(initial, tmp_path / "model").values())
    assert initial.report[-1] == f"statistics: those of {tmp_path / 'model'}"


def test_lesson_19_own_statistics_on_request_with_the_difference_shown(tmp_path: Path, tiny: Params) -> None:
    model, own = base(tmp_path / "model", tiny), speakers_of(tiny, shift=0.5)
    own.normalization.target.mel.mean[7] += 2
    initial = start(tiny, model, own, statistics="own")
    assert initial.speakers.normalization is own.normalization
    rows = {line[:14].strip(): line[14:].split() for line in initial.report[-6:]}
    assert rows["target mel"][:2] == ["-5.723", "-3.223"]  # of band 7
    assert rows["source log_f0"] == ["5.000", "5.500", "0.200", "0.200"]
    assert len(rows) == 6


def test_lesson_19_speakers_the_model_never_met_bring_their_own(tmp_path: Path, values: dict[str, Any]) -> None:
    values["stats"]["pitch"] = "speaker"
    params = made_tiny(values, by="encoder")
    model = base(tmp_path / "model", params)
    own = speakers_of(params, ("toy/x", "my/z"), shift=1.0)
    initial = start(params, model, own)
    assert initial.speakers.of_target("my/z").log_f0.mean == own.of_target("my/z").log_f0.mean
    assert initial.speakers.of_source("toy/x").log_f0.mean == 5.0
    assert initial.report[-1].endswith("; their own for my/z")


def test_lesson_19_shapes_are_checked_before_training_and_shown(tmp_path: Path, values: dict[str, Any]) -> None:
    model = base(tmp_path / "model", made_tiny(values))
    wider = made_tiny(values, 32)
    with pytest.raises(KoeError, match=r"acoustic\.init\.from: .*model .*strict: false(.|\n)*shape differs\n"
                                       r"(.|\n)*reduce\.weight: 16×240 there, 32×240 here"):
        start(wider, model, speakers_of(wider))


@pytest.mark.parametrize(("part", "change"), [
    ("normalize_target", False), ("encoder.heads", 4), ("reduction.prosody_factor", 1), ("loss.duration", "log")])
def test_lesson_19_what_shapes_do_not_show_must_be_the_same(
    tmp_path: Path, values: dict[str, Any], part: str, change: Any
) -> None:
    model = base(tmp_path / "model", made_tiny(values))
    *section, last = part.split(".")
    (values["acoustic"][section[0]] if section else values["acoustic"])[last] = change
    other = check_params(values)
    with pytest.raises(KoeError, match=rf"acoustic\.{part}: .* there, {change} here"):
        start(other, model, speakers_of(other))
    assert any(part in line for line in start(other, model, speakers_of(other), strict=False).report)


OTHER = {"layers": 3, "hidden": 24, "attention": 20, "heads": 4, "feed_forward": 40, "convolution": 24, "kernel": 9,
         "positions": "absolute", "norm": "batch", "filter": 24, "stop_gradient": False}


@pytest.mark.parametrize("part", NETWORK)
def test_a_model_fits_unless_a_parameter_that_shapes_it_differs(
    tmp_path: Path, tiny: Params, part: str
) -> None:
    model = base(tmp_path / "model", tiny)
    shaping = set(shaping_parameters("acoustic"))
    section = getattr(tiny.acoustic, part)
    for field in type(section).model_fields:
        changed = section.model_copy(update={field: OTHER.get(field, 0.01)})
        acoustic = tiny.acoustic.model_copy(update={part: changed})
        other = tiny.model_copy(update={"acoustic": acoustic})
        try:
            start(other, model, speakers_of(other))
            fits = True
        except (KoeError, RuntimeError):  # of a network that cannot be built, whose hidden size differs from others'
            fits = False
        assert fits == (f"acoustic.{part}.{field}" not in shaping), field


def test_lesson_19_learned_speakers_must_be_the_same(tmp_path: Path, values: dict[str, Any]) -> None:
    params = made_tiny(values, by="learned")
    model = base(tmp_path / "model", params)
    with pytest.raises(KoeError, match=r"acoustic\.init\.from: .* learned toy/x, toy/y, and the pairs have toy/x, "
                                       r"toy/z; .*acoustic\.init\.strict: false"):
        start(params, model, speakers_of(params, ("toy/x", "toy/z")))


def test_lesson_13_a_model_of_other_mel_settings_is_refused(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    mel = tiny.mel.model_copy(update={"fmax": 7600.0})
    with pytest.raises(ContractError, match=r"fmax: 8000.*7600"):
        initial_network(starting(tiny), mel, speakers_of(tiny), 1, model)


def test_lesson_14_a_model_of_other_sizes_gives_what_fits(tmp_path: Path, values: dict[str, Any]) -> None:
    """A chain: B goes on from A, and C, whose Postnet is wider and whose decoder is deeper, takes B's other parts."""
    params = made_tiny(values)
    base(tmp_path / "a", params)
    second = start(params, reference(tmp_path / "a"), speakers_of(params, shift=1.0))
    train(tmp_path / "second", params, second)
    model = save(tmp_path / "b", params, second)
    values["acoustic"]["postnet"]["filter"] = 24
    values["acoustic"]["decoder"]["layers"] = 2
    other = check_params(values)
    third = start(other, model, speakers_of(other, shift=2.0), strict=False)
    taken = equal(third, tmp_path / "b")
    assert all(taken[name] for name in taken if name.startswith(("encoder.", "reduce.", "pitch_predictor.")))
    assert not taken["postnet.convolutions.0.weight"]
    assert third.speakers.normalization.to_json() == speakers_of(params).normalization.to_json()  # A's, by way of B
    report = "\n".join(third.report)
    assert "postnet.convolutions.*.weight: 16×80×5 there, 24×80×5 here" in report
    counts = {line.split()[0]: line.split()[1:] for line in third.report if line.startswith(("decoder", "encoder"))}
    assert counts["encoder"][1:] == ["0", "0", "0"]
    assert int(counts["decoder"][1]) > 0  # missing: the second block


def test_lesson_14_where_nothing_fits_it_is_refused(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    save_checkpoint(tmp_path / f"work/{RUN}/kept/best.safetensors", 1, {"network": torch.nn.Linear(2, 2)})
    with pytest.raises(KoeError, match=r"nothing of .* fits(.|\n)*taken"):
        start(tiny, reference(model.folder, "@best"), speakers_of(tiny), strict=False)


@pytest.mark.parametrize(("before", "after"), [
    ("learned", "none"), ("none", "learned"), ("none", "encoder"), ("learned", "encoder"),
])
def test_lesson_27_a_model_of_several_speakers_and_one_of_two_exchange_weights(
    tmp_path: Path, values: dict[str, Any], before: str, after: str
) -> None:
    params = made_tiny(values, by=before)
    model = base(tmp_path / "model", params, NAMES if before == "none" else ("toy/w", *NAMES))
    values["pair"]["rule"] = "one_way"
    other = made_tiny(values, by=after)
    with pytest.raises(KoeError, match="strict"):
        start(other, model, speakers_of(other))
    initial = start(other, model, speakers_of(other), strict=False)
    assert all(same for name, same in equal(initial, model.folder).items() if not name.startswith("voices."))
    assert any(line.startswith("voices") for line in initial.report)


@pytest.mark.parametrize(("by", "names"), [("none", NAMES), ("learned", ("toy/w", *NAMES))])
def test_lesson_27_a_model_told_by_embeddings_starts_others_that_compute_the_same(
    tmp_path: Path, values: dict[str, Any], by: str, names: tuple[str, ...]
) -> None:
    params = made_tiny(values, by="encoder")
    model = base(tmp_path / "model", params, ("far/p", "far/q", "far/r"))
    other = made_tiny(values, by=by)
    own = speakers_of(other, names)
    initial = start(other, model, own)
    theirs, mask = load_acoustic(model.folder).network, torch.ones(1, 7, dtype=torch.bool)
    mel = torch.randn(1, 7, theirs.reduce.in_features)
    embeddings = torch.from_numpy(np.stack([own.embedding(speaker) for speaker in own.directions[-1]]))[None]
    indices = torch.tensor([[own.trained.index(speaker) for speaker in own.directions[-1]]])
    with torch.no_grad():
        expected = theirs.encode(mel, embeddings, mask)
        given = initial.network.eval().encode(mel, None if by == "none" else indices, mask)
    for left, right in zip(expected, given, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    assert any(line.startswith("voices.") for line in initial.report)
    kept(model.folder, "best", {"network": theirs, "optimizer": torch.optim.SGD(theirs.parameters())})
    with pytest.raises(KoeError, match=rf"keep_optimizer: .*conditioning\.by: {by}.* set it to false"):
        start(other, reference(model.folder, "@best"), own, keep_optimizer=True)


def test_lesson_27_learned_vectors_go_by_the_speakers_names(tmp_path: Path, values: dict[str, Any]) -> None:
    params = made_tiny(values, by="learned")
    model = base(tmp_path / "model", params, ("toy/w", "toy/x", "toy/y"))
    initial = start(params, model, speakers_of(params, ("toy/x", "toy/z", "toy/w")), strict=False)
    theirs = load_acoustic(model.folder).network.state_dict()["voices.voice.weight"]
    ours = initial.network.state_dict()["voices.voice.weight"]
    assert torch.equal(ours[[0, 1]], theirs[[0, 1]])  # toy/w and toy/x
    assert not torch.equal(ours[2], theirs[2])
    assert "voices.voice.weight: taken of toy/w, toy/x; fresh: toy/z" in initial.report


def kept(folder: Path, label: str, objects: dict[str, Any]) -> None:
    save_checkpoint(folder.parent / "work" / RUN / "kept" / f"{label}.safetensors", 4, objects)


@pytest.mark.parametrize(("checkpoint", "label"), [("@4", "00000004"), ("@best", "best")])
def test_lesson_21_a_kept_step_is_another_start_than_the_end(
    tmp_path: Path, tiny: Params, checkpoint: str, label: str
) -> None:
    model = base(tmp_path / "model", tiny)
    other = initial_network(tiny.acoustic, tiny.mel, speakers_of(tiny), 5).network
    kept(model.folder, label, {"network": other})
    initial = start(tiny, reference(model.folder, checkpoint), speakers_of(tiny))
    assert torch.equal(initial.network.reduce.weight, other.reduce.weight)
    assert not all(equal(initial, model.folder).values())
    assert initial.optimizer_state is None


def test_lesson_21_of_a_checkpoint_with_an_average_the_average_is_taken(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    last, average = (initial_network(tiny.acoustic, tiny.mel, speakers_of(tiny), seed).network for seed in (5, 6))
    kept(model.folder, "best", {"network": last, "ema": average})
    initial = start(tiny, reference(model.folder, "@best"), speakers_of(tiny))
    assert torch.equal(initial.network.reduce.weight, average.reduce.weight)


def test_lesson_19_the_optimizer_is_new_unless_it_is_asked_for(tmp_path: Path, tiny: Params) -> None:
    own = speakers_of(tiny)
    initial = initial_network(tiny.acoustic, tiny.mel, own, 1)
    task, run = train(tmp_path, tiny, initial)
    save(tmp_path / "model", tiny, initial, run)
    model = reference(tmp_path / "model", "@4")
    fresh, going_on = (start(tiny, model, own, keep_optimizer=keep) for keep in (False, True))
    assert task_of(tmp_path / "fresh", tiny, fresh).optimizer.state_dict()["state"] == {}
    moments = task_of(tmp_path / "on", tiny, going_on).optimizer.state_dict()["state"]
    for index, theirs in task.optimizer.state_dict()["state"].items():
        assert all(torch.equal(moments[index][name], value) for name, value in theirs.items())
    assert {int(state["step"]) for state in moments.values() if "step" in state} == {4}  # Muon's matrices count none


def test_a_schedule_begins_anew_unless_it_is_asked_to_go_on(tmp_path: Path, tiny: Params) -> None:
    own = speakers_of(tiny)
    initial = initial_network(tiny.acoustic, tiny.mel, own, 1)
    task, run = train(tmp_path, tiny, initial)
    save(tmp_path / "model", tiny, initial, run)
    fresh, going_on = (task_of(tmp_path / str(keep), tiny, start(tiny, reference(tmp_path / "model", "@2"), own,
                                                                 keep_schedule=keep)) for keep in (False, True))
    assert fresh.learning_rate(1) == task.learning_rate(1)
    run_in(tmp_path / "twice", going_on)
    kept = next((tmp_path / "twice").rglob("kept/00000002.safetensors"))
    assert read_checkpoint(kept, [])["step"] == 2 + 2  # so that a third training goes on where this one was
    assert going_on.learning_rate(1) == pytest.approx(cosine_per_step(
        2, 2e-3, tiny.acoustic.training.schedule.warmup_steps, 2 + going_on.total_steps, 2e-5))


def test_lesson_21_steps_and_the_best_of_a_training_can_be_started_from(tmp_path: Path, tiny: Params) -> None:
    initial = initial_network(tiny.acoustic, tiny.mel, speakers_of(tiny), 1)
    _, run = train(tmp_path, tiny, initial)
    save(tmp_path / "model", tiny, initial, run)
    second, fourth, best = (start(tiny, reference(tmp_path / "model", f"@{name}"), speakers_of(tiny))
                            for name in ("2", "4", "best"))
    assert not torch.equal(second.network.reduce.weight, fourth.network.reduce.weight)
    assert all(equal(fourth, tmp_path / "model").values())
    assert any(torch.equal(best.network.reduce.weight, other.network.reduce.weight) for other in (second, fourth))


def test_lesson_19_a_finished_model_has_no_optimizer_to_keep(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    with pytest.raises(KoeError, match=r"acoustic\.init\.keep_optimizer: .*keep_every, keep_best.*@<step>"):
        start(tiny, model, speakers_of(tiny), keep_optimizer=True)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_what_is_frozen_stays_as_it_was_bit_by_bit(tmp_path: Path, values: dict[str, Any], norm: str) -> None:
    params = made_tiny(values)
    for part in ("encoder", "decoder", "postnet"):
        values["acoustic"][part]["norm"] = norm
    values["acoustic"]["training"]["replicas"] = 1
    params = check_params(values)
    model = base(tmp_path / "model", params)
    initial = start(params, model, speakers_of(params), freeze=["encoder.", "reduce.weight", "postnet"])
    train(tmp_path, params, initial)
    same = equal(initial, model.folder)
    frozen = {name for name in same if name.startswith(("encoder.", "reduce.weight", "postnet"))}
    assert {name for name, stayed in same.items() if not stayed} == same.keys() - frozen
    assert initial.report[-1].endswith("(encoder., reduce.weight, postnet)")


def test_freezing_nothing_or_everything_is_refused(tmp_path: Path, tiny: Params) -> None:
    model = base(tmp_path / "model", tiny)
    with pytest.raises(KoeError, match=r"acoustic\.init\.freeze: .*'encodre'; the modules are reduce\., encoder\., "):
        start(tiny, model, speakers_of(tiny), freeze=["encodre"])
    with pytest.raises(KoeError, match=r"acoustic\.init\.freeze: .* is the whole model"):
        start(tiny, model, speakers_of(tiny), freeze=[""])


def test_from_scratch_nothing_is_told(tiny: Params) -> None:
    own = speakers_of(tiny)
    first, again, other = (initial_network(tiny.acoustic, tiny.mel, own, seed) for seed in (1, 1, 2))
    assert first.speakers is own and first.report == [] and first.optimizer_state is None
    assert torch.equal(first.network.expand.weight, again.network.expand.weight)
    assert not torch.equal(first.network.expand.weight, other.network.expand.weight)


def test_speakers_of_the_new_training_are_those_of_its_pairs(tmp_path: Path, tiny: Params) -> None:
    own = replace(speakers_of(tiny), directions=(Direction("toy/y", "toy/x"),))
    assert start(tiny, base(tmp_path / "model", tiny), own).speakers.directions == (("toy/y", "toy/x"),)
