"""Training on a small dataset: it learns, resumes exactly, and validates as conversion does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_training import files_in, make_session, make_task, run_in, small_params, weights

from koe.errors import KoeError
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.training import AcousticTask
from koe.tasks.conversion.validation import convert_pairs
from koe.training.checkpoint import read_checkpoint
from koe.training.loop import ValidationReport, train
from koe.training.network_task import Place
from koe.training.pictures import LABEL_ROWS

PARTS = ("mel", "postnet", "duration", "pitch", "energy")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "in one part": {"replicas": 1},
    "averaged": {"ema": 0.9, "average_best": 2, "validate_every": 1},
    "accumulating": {"accumulate": 2, "batch_size": 1},
    "by frames": {"batch_size": None, "batch_frames": 100},
    "by epochs": {"steps": None, "epochs": 4},
    "in bfloat16": {"precision": "bfloat16"},
}


@pytest.fixture()
def tiny(values: dict[str, Any]) -> Params:
    return small_params(values)


class Killed(Exception):
    pass


def die_at(step: int, task: AcousticTask) -> None:
    """Makes a step of the task raise Killed."""
    work = task.step

    def work_or_die(number: int, batches: Any) -> Any:
        if number == step:
            raise Killed
        return work(number, batches)

    task.step = work_or_die  # type: ignore[method-assign]


def values_of(task: AcousticTask, network: NARS2S | None = None) -> dict[str, float]:
    """What the validation says of a network, of the one that is watched if none is given."""
    return dict(task.validate(network or task.watched).values)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_lesson_34_a_killed_run_ends_as_if_it_had_not_been(
    tmp_path: Path, values: dict[str, Any], options: dict[str, Any], auto_is: Callable[[str], None]
) -> None:
    auto_is(options.get("precision", "float32"))  # which Muon's matrices have
    values["acoustic"]["teacher_forcing"] |= {"start": 1.0, "end": 0.0, "from_step": 1, "until_step": 7}
    params = small_params(values, **options)
    whole, killed, resumed = (make_task(tmp_path, params) for _ in range(3))
    expected = run_in(tmp_path / "whole", whole)
    die_at(5, killed)
    with pytest.raises(Killed):
        run_in(tmp_path / "killed", killed)
    assert run_in(tmp_path / "killed", resumed) == expected
    found = weights(resumed.model)
    for name, tensor in weights(whole.model).items():
        assert torch.equal(tensor, found[name]), name
    assert files_in(tmp_path / "killed/curves") == files_in(tmp_path / "whole/curves")


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path, tiny: Params) -> None:
    first, second = (make_task(tmp_path, tiny) for _ in range(2))
    other = make_task(tmp_path, tiny.model_copy(update={"seed": 7}))
    for index, task in enumerate((first, second, other)):
        run_in(tmp_path / str(index), task)
    assert torch.equal(first.network.expand.weight, second.network.expand.weight)
    assert not torch.equal(first.network.expand.weight, other.network.expand.weight)


def test_lesson_02_every_part_is_logged_for_both_sets(tmp_path: Path, tiny: Params) -> None:
    task = make_task(tmp_path, tiny)
    values = run_in(tmp_path, task)
    for part in PARTS:
        for group in ("train", "validation", "validation_teacher_forced", "gap"):
            assert (tmp_path / f"curves/plots/metrics/{group}/{part}.tsv").exists()
        train = (tmp_path / f"curves/plots/metrics/train/{part}.tsv").read_text().split()[-1]
        gap = (tmp_path / f"curves/plots/metrics/gap/{part}.tsv").read_text().split()[-1]
        assert float(gap) == pytest.approx(values[f"validation/{part}"] - float(train))  # lesson 4
    rates = (tmp_path / "curves/plots/metrics/learning_rate.tsv").read_text().splitlines()
    assert len(rates) == 1 + 4  # the learning rate's trajectory, at each logged step (lesson 16)


def test_lesson_28_validation_is_told_nothing_of_the_targets_prosody(tmp_path: Path, tiny: Params) -> None:
    task = make_task(tmp_path, tiny)
    before = values_of(task)
    batch = task.reader.batch

    def with_other_prosody(pairs: Any) -> Any:
        made = batch(pairs)
        made.prosody.pitch.mul_(5)
        made.prosody.energy.mul_(5)
        return made

    task.reader.batch = with_other_prosody  # type: ignore[method-assign]
    after = values_of(task)
    assert after["validation/postnet"] == before["validation/postnet"]
    assert after["validation_teacher_forced/postnet"] != before["validation_teacher_forced/postnet"]
    assert after["validation/mcd_db"] == before["validation/mcd_db"]


def losses_with_prosody(task: AcousticTask, step: int, scale: float) -> dict[str, float]:
    """Losses of a step on two pairs, the target's prosody multiplied."""
    batch = task.reader.batch(task.train[:2])
    batch.prosody.pitch.mul_(scale)
    torch.manual_seed(0)
    return task.step(step, [batch])


@pytest.mark.parametrize("forced", [True, False])
def test_lesson_29_teacher_forcing_is_a_parameter(tmp_path: Path, values: dict[str, Any], forced: bool) -> None:
    values["acoustic"]["teacher_forcing"] |= {"start": float(forced), "end": float(forced)}
    params = small_params(values)
    losses = [losses_with_prosody(make_task(tmp_path, params), 1, scale)["mel"] for scale in (1, 3)]
    assert (losses[0] != losses[1]) is forced


def test_lesson_29_which_utterances_are_forced_is_drawn_by_step(tmp_path: Path, values: dict[str, Any]) -> None:
    values["acoustic"]["teacher_forcing"] |= {"start": 0.5, "end": 0.5}
    task = make_task(tmp_path, small_params(values))
    forward, told = task.forward_function, []

    def listening(source: Any, durations: Any, prosody: Any, forced: Any) -> Any:
        told.append([prosody is not None] * 4 if forced is None else forced.tolist())
        return forward(source, durations, prosody, forced)

    task.forward_function = listening
    batch = task.reader.batch(task.train)
    for step in (*range(1, 25), *range(1, 25)):
        task.losses(batch, Place(step, 0))
    assert told[:24] == told[24:]
    assert len({tuple(each) for each in told}) > 8
    assert 0.35 < np.mean(told[:24]) < 0.65


def test_lesson_26_accumulated_batches_are_one_larger_batch(tmp_path: Path, values: dict[str, Any]) -> None:
    weights_of_parts = {"mel": 1.0, "postnet": 0.0, "duration": 0.0, "pitch": 0.0, "energy": 0.0}
    values["acoustic"]["loss"]["weights"] |= weights_of_parts  # only what is a mean over target frames
    for name in ("encoder", "decoder", "postnet"):
        values["acoustic"][name]["dropout"] = 0.0
    for name in ("duration", "pitch", "energy"):
        values["acoustic"][name]["dropout"] = 0.0
    params = small_params(values, gradient_clip=None)
    large, small = make_task(tmp_path, params), make_task(tmp_path, params)
    pairs = large.train
    whole = large.step(3, [large.reader.batch(pairs)])
    parts = small.step(3, [small.reader.batch(pairs[:1]), small.reader.batch(pairs[1:])])
    assert parts == pytest.approx(whole, rel=0.05)
    assert parts["mel"] == pytest.approx(whole["mel"], rel=1e-5)
    for (name, one), other in zip(large.network.named_parameters(), small.network.parameters(), strict=True):
        if one.grad is not None:
            assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6), name


def test_lesson_26_parts_side_by_side_are_one_batch(tmp_path: Path, values: dict[str, Any]) -> None:
    tasks = [make_task(tmp_path, small_params(values, replicas=replicas, batch_size=3, shift=False))
             for replicas in (1, 2, 3)]
    for step in range(4):
        (whole,), *parted = (task.read(step + 1) for task in tasks)
        for parts, replicas in zip(parted, (2, 3), strict=True):
            frames = torch.cat([part.target_frames for part in parts])
            assert frames.sort().values.tolist() == whole.target_frames.sort().values.tolist()
            assert len(parts) == min(replicas, len(frames))  # three utterances, or the one that is left


def test_one_core_trains_as_two_do(tmp_path: Path, values: dict[str, Any], auto_precision: str) -> None:
    params = small_params(values, batch_size=4, precision=auto_precision)
    found, threads = [], torch.get_num_threads()
    try:
        for cores in (1, 2):
            torch.set_num_threads(cores)
            task = make_task(tmp_path, params)
            run_in(tmp_path / str(cores), task)
            found.append(weights(task.model))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_lesson_26_batches_by_frames_cover_each_epoch(tmp_path: Path, values: dict[str, Any]) -> None:
    task = make_task(tmp_path, small_params(values, batch_size=None, batch_frames=100, steps=None, epochs=3))
    run_in(tmp_path, task)
    assert task.total_steps == 3 * task.batching.steps_per_epoch == 6
    for step in range(6):
        (batch,) = task.batching.batches_at(step)
        padded = task.reader.batch([task.train[index] for index in batch]).target_mel
        assert padded.shape[0] * padded.shape[1] <= 100
    assert '"padding_ratio": 0.38' in (tmp_path / "curves/metrics.json").read_text()  # 119 frames in four times 48


def raising(error: BaseException) -> Any:
    def fail(*_: Any) -> None:
        raise error
    return fail


@pytest.mark.parametrize(("options", "lower"), [
    ({}, r"batch_size \(2\)"), ({"batch_size": None, "batch_frames": 100}, r"batch_frames \(100\)"),
])
def test_lesson_26_out_of_memory_says_how_long_the_pairs_are_and_what_to_lower(
    tmp_path: Path, values: dict[str, Any], options: dict[str, Any], lower: str
) -> None:
    task = make_task(tmp_path, small_params(values, **options))
    task.losses = raising(MemoryError("Unable to allocate 2 GiB"))  # type: ignore[method-assign]
    with pytest.raises(KoeError, match=rf"at step 1.*2 pairs, source up to \d+ frames \(padded: 48\), target up to "
                                       rf"\d+ \(padded: 48\): toy/./x-y, toy/./x-y.*acoustic\.training\.{lower}"):
        run_in(tmp_path, task)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_divergence_names_step_batch_and_parameter(tmp_path: Path, tiny: Params, value: float) -> None:
    task = make_task(tmp_path, tiny)
    batch = task.reader.batch(task.train[:2])
    batch.target_mel[0, 0, 0] = value
    before = weights(task.network)
    with pytest.raises(KoeError, match=r"at step 3, batch of 2 pairs.*toy/.*: mel (inf|nan).*gradient_norm.*"
                                       r"acoustic\.training\.schedule\.learning_rate"):
        task.step(3, [batch])
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(task.network).items())


def test_an_exploding_gradient_stops_and_the_checkpoint_stays(tmp_path: Path, values: dict[str, Any]) -> None:
    task = make_task(tmp_path, small_params(values, gradient_limit=50.0, gradient_clip=1.0))
    read = task.batch

    def explosive(items: list[int], place: Place) -> Any:
        made = read(items, place)
        if place.step == 5:
            made.prosody.pitch.mul_(1e4)
        return made

    task.batch = explosive  # type: ignore[method-assign]
    session = make_session(tmp_path, task)
    with pytest.raises(KoeError, match=r"acoustic\.training\.gradient_limit \(50\) at step 5.*gradient_norm"):
        train(task, session)
    assert read_checkpoint(session.folder / "last.safetensors", ["network"])


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "muon"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_optimizer_and_precision_learns(
    tmp_path: Path, values: dict[str, Any], name: str, precision: str, auto_is: Callable[[str], None]
) -> None:
    auto_is(precision)  # which Muon's matrices have
    values["acoustic"]["training"]["optimizer"] |= {"name": name, "weight_decay": 0.0}
    task = make_task(tmp_path, small_params(values, steps=60, precision=precision))
    batch = task.reader.batch(task.train)
    losses = [task.step(step, [batch])["mel"] for step in range(1, 21)]
    assert losses[-1] < 0.97 * losses[0]


def test_float16_is_for_gpus(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(KoeError, match=r"acoustic\.training\.precision: float16 needs an NVIDIA GPU.*on cpu"):
        make_task(tmp_path, small_params(values, precision="float16"))


def test_lesson_16_noam_is_followed_step_by_step(tmp_path: Path, values: dict[str, Any]) -> None:
    values["acoustic"]["training"]["schedule"] |= {"name": "noam_per_step", "learning_rate": 0.5}
    task = make_task(tmp_path, small_params(values))
    batch = task.reader.batch(task.train[:1])
    found = []
    for step in range(1, 5):
        task.step(step, [batch])
        found.append(task.optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([0.0441942, 0.0883883, 0.0721688, 0.0625], rel=1e-5)  # 0.5 * 16 ** -0.5 * …


def test_the_moving_average_is_what_is_validated_and_kept(tmp_path: Path, values: dict[str, Any]) -> None:
    task = make_task(tmp_path, small_params(values, ema=0.99, keep_every=4))
    found = run_in(tmp_path, task)
    assert task.model is task.average
    assert not torch.equal(task.model.expand.weight, task.network.expand.weight)
    assert values_of(task) == {name: value for name, value in found.items() if name.startswith("validation")}
    assert values_of(task, task.network) != values_of(task)
    (kept,) = (tmp_path / "work").rglob("00000004.safetensors")
    assert read_checkpoint(kept, ["network", "ema", "optimizer"]).keys() == {"step", "network", "ema", "optimizer"}


def test_distortion_says_which_validation_is_best_and_when_to_stop(tmp_path: Path, values: dict[str, Any]) -> None:
    params = small_params(values, steps=20, validate_every=1, early_stopping=2, average_best=2, keep_best=True,
                          keep_every=3)
    task, distortions, seen = make_task(tmp_path, params), iter([5.0, 3.0, 4.0, 3.5]), []
    validate = task.validate

    def scripted(network: NARS2S) -> ValidationReport:
        if network is not task.watched:
            return validate(network)
        seen.append(weights(network))
        return ValidationReport({**validate(network).values, "validation/mcd_db": next(distortions)})

    task.validate = scripted  # type: ignore[method-assign]
    session = make_session(tmp_path, task)
    outcome = train(task, session)
    session.finish()
    assert outcome.steps == 4  # two validations after the best
    for name, tensor in weights(task.model).items():
        assert torch.allclose(tensor, (seen[1][name] + seen[3][name]) / 2, atol=1e-6), name
    assert outcome.values["average_best/mel"] == values_of(task, task.model)["validation/mel"]
    kept = {path.stem: read_checkpoint(path, ["network"])["network"] for path in (session.folder / "kept").iterdir()}
    assert kept.keys() == {"00000003", "best"}  # lesson 21
    assert torch.equal(kept["best"]["expand.weight"], seen[1]["expand.weight"])


def test_pictures_of_conversions_stand_beside_the_curves(tmp_path: Path, values: dict[str, Any]) -> None:
    run_in(tmp_path, make_task(tmp_path, small_params(values, pictures=3)))
    images = tmp_path / "curves/plots/images"
    found = {path.relative_to(images).as_posix() for path in images.rglob("*.png")}
    assert found == {"toy_e_x-y/00000004.png", "toy_e_x-y/00000008.png"}
    with Image.open(images / "toy_e_x-y/00000008.png") as picture:
        assert picture.height == 2 * (LABEL_ROWS + 80) and picture.width >= 41


def test_an_optimizer_state_is_gone_on_with(tmp_path: Path, tiny: Params) -> None:
    before = make_task(tmp_path, tiny)
    run_in(tmp_path, before)
    state = before.optimizer.state_dict()
    after = make_task(tmp_path, tiny, optimizer_state=state)
    taken = after.optimizer.state_dict()["state"]
    assert taken.keys() == state["state"].keys()
    assert all(torch.equal(taken[index][name], value)
               for index, moments in state["state"].items() for name, value in moments.items())
    steps = {int(moments["step"]) for moments in taken.values() if "step" in moments}  # Muon's matrices count none
    assert steps == {8}


@pytest.mark.parametrize("by", ["learned", "encoder"])
def test_conditioned_models_train_and_resume(tmp_path: Path, values: dict[str, Any], by: str) -> None:
    values["acoustic"]["conditioning"] |= {"by": by, "size": 4}
    task = make_task(tmp_path, small_params(values))
    before = weights(task.network)
    run_in(tmp_path, task)
    changed = {name for name, tensor in weights(task.network).items() if not torch.equal(tensor, before[name])}
    assert {name for name in before if name.startswith("voices.")} <= changed


def test_the_learning_rate_is_scaled_when_starting_from_a_model(tmp_path: Path, values: dict[str, Any]) -> None:
    params = small_params(values)
    plain = make_task(tmp_path, params)
    values["acoustic"]["init"] |= {"from": "models/acoustic", "lr_scale": 0.1}
    scaled = make_task(tmp_path, params)
    scaled.params = check_params(values).acoustic
    assert [scaled.learning_rate(step) for step in range(1, 9)] == pytest.approx(
        [0.1 * plain.learning_rate(step) for step in range(1, 9)])


@pytest.mark.slow
def test_a_compiled_network_trains_the_same(tmp_path: Path, values: dict[str, Any]) -> None:
    tasks = [make_task(tmp_path, small_params(values, compile=compiled)) for compiled in (False, True)]
    losses = []
    for task in tasks:
        torch.manual_seed(0)
        for module in task.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        losses.append([task.step(step, [task.reader.batch(task.train[:size])])["postnet"]
                       for step, size in ((1, 2), (2, 3), (3, 4))])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert tasks[0].network.state_dict().keys() == tasks[1].network.state_dict().keys()


def test_a_machine_that_cannot_compile_says_so(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: raising(RuntimeError("InvalidCxxCompiler: none found")))
    with pytest.raises(KoeError, match=r"acoustic\.training\.compile.*InvalidCxxCompiler.*C\+\+ compiler"):
        make_task(tmp_path, small_params(values, compile=True))


def test_utterances_begin_at_random_frames_that_the_step_decides(tmp_path: Path, values: dict[str, Any]) -> None:
    params = small_params(values, shift=True)
    task = make_task(tmp_path, params)
    drawn = [task.batch([0, 1, 2], Place(step, 0)).target_frames.tolist() for step in range(8)]
    assert len({tuple(frames) for frames in drawn}) > 3
    assert drawn[5] == task.batch([0, 1, 2], Place(5, 0)).target_frames.tolist()


@pytest.mark.parametrize("normalized", [True, False])
def test_lesson_20_the_targets_mel_is_normalised_or_not(
    tmp_path: Path, values: dict[str, Any], normalized: bool
) -> None:
    values["acoustic"]["normalize_target"] = normalized
    params = small_params(values)
    task = make_task(tmp_path, params)
    pair, _, target = task.train[0]
    mel, statistics = task.reader.dataset.mel(target), task.reader.speakers.of_target("toy/y")
    expected = statistics.normalize_mel(mel) if normalized else mel
    learned = task.reader.batch([task.train[0]]).target_mel[0, : len(mel)].numpy()
    assert np.allclose(learned, expected, atol=1e-6), pair
    converted = convert_pairs(task.network, task.reader, task.train[:1], params.acoustic, task.device)[0]
    assert bool(abs(converted.mean() - mel.mean()) < 2) is normalized  # an untrained network's output is about 0
