"""The runs of the research log, `experiments/log`, are all there, in order, and each can be started."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.shipped_experiments import ROOT, RUNS, VALUES, composed, params_of, shipped
from typer.testing import CliRunner

import koe.cli
from koe.errors import ParameterError
from koe.experiments.named import Experiment, differences
from koe.tasks.conversion.params import AcousticTraining
from koe.tasks.conversion.schema import Params
from koe.training.references import split_reference
from koe.vocoder.params import VocoderTraining

COUNTS = {"hifigan": 19, "nars2s": 45}
BY_RUN_NAME = {shipped(name).run_name: name for name in RUNS}
PUBLIC = "models/public/universal_v1"  # the only model that runs start from and that no run made


def runs_of(kind: str) -> list[Experiment]:
    return [shipped(name) for name in RUNS if name.startswith(f"log/{kind}_")]


@pytest.mark.parametrize("kind, count", COUNTS.items())
def test_the_log_is_complete_and_in_order(kind: str, count: int) -> None:
    runs = runs_of(kind)
    assert [re.match(rf"log/{kind}_(\d\d)_[a-z0-9_]+$", run.name)[1] for run in runs] == [  # type: ignore[index]
        f"{number:02d}" for number in range(1, count + 1)]
    assert all(run.date and run.found for run in runs)
    assert all(before.date <= after.date for before, after in pairwise(runs))  # type: ignore[operator]
    assert len(RUNS) == sum(COUNTS.values())


@pytest.mark.parametrize("name", RUNS)
def test_a_run_builds_on_earlier_runs_and_on_a_preset(name: str) -> None:
    preset, *runs = shipped(name).lineage
    assert preset.name in ("log", "hifigan_v1") and all(run.name in RUNS for run in runs)
    assert all(before.date <= after.date for before, after in pairwise(runs))  # type: ignore[operator]


def refused_by_run(name: str) -> str:
    """What `koe exp run` says of a run that is refused."""
    result = CliRunner().invoke(koe.cli.app, ["exp", "run", name, "-f"])  # -f: run before or not
    assert isinstance(result.exception, ParameterError)
    return str(result.exception)


def test_lesson_05_the_run_whose_rates_did_not_make_its_hop_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "multiply to 256, but mel.hop_length is 300" in refused_by_run("log/hifigan_01_jsut_2_jsss_1")


def test_lesson_22_the_run_that_mixed_directions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "lesson 22" in refused_by_run("log/nars2s_22_jsut_to_from_jsss")


def test_no_other_run_is_refused() -> None:
    refused = [name for name in RUNS if shipped(name).refused]
    assert refused == ["log/hifigan_01_jsut_2_jsss_1", "log/nars2s_22_jsut_to_from_jsss"]


def origins(section: str) -> Iterator[tuple[str, str, str]]:
    """Runs that start from another run's model: itself, that run, the checkpoint."""
    for name in RUNS:
        where, checkpoint = split_reference(composed(name)[section]["init"]["from"] or PUBLIC)
        if where not in (PUBLIC, VALUES[section]["init"]["from"]):  # a vocoder's run has params.yaml's acoustic model
            assert checkpoint is not None
            yield name, BY_RUN_NAME[where], checkpoint


def keeps(training: AcousticTraining | VocoderTraining, checkpoint: str) -> bool:
    if checkpoint == "best":
        return training.keep_best
    every, steps = training.keep_every, training.steps
    return every is not None and steps is not None and int(checkpoint) % every == 0 and int(checkpoint) <= steps


def weights_mean(params: Params, section: str) -> dict[str, Any]:
    """Everything that says what the network is."""
    return getattr(params, section).model_dump(exclude={"training", "init", "loss", "teacher_forcing"})


@pytest.mark.parametrize("section, count", [("acoustic", 19), ("vocoder", 3)])
def test_lesson_21_runs_start_from_checkpoints_that_earlier_runs_keep(section: str, count: int) -> None:
    found = list(origins(section))
    assert len(found) == count
    for name, earlier, checkpoint in found:
        assert shipped(earlier).date <= shipped(name).date  # type: ignore[operator]
        params, theirs = params_of(name), params_of(earlier)
        assert keeps(getattr(theirs, section).training, checkpoint), name
        assert params.mel == theirs.mel
        if getattr(params, section).init.strict:
            assert weights_mean(params, section) == weights_mean(theirs, section)


def test_runs_that_start_from_the_public_vocoder_can_take_it() -> None:
    published = params_of("hifigan_v1")
    found = [name for name in RUNS if composed(name)["vocoder"]["init"]["from"] == PUBLIC]
    assert [re.sub(r"\D+(\d\d).*", r"\1", name) for name in found] == ["05", "06", "13", "14"]
    for name in found:
        params = params_of(name)
        same = (params.mel, params.vocoder.network) == (published.mel, published.vocoder.network)
        assert params.vocoder.init.strict == same


CHANGED = {"hifigan.upsample_rates", "hifigan.upsample_kernels", "discriminators.periods", "training.steps",
           "training.batch_size", "training.segment_size", "training.true_mels", "training.schedule.name",
           "training.log_every", "training.validate_every", "training.validation.utterances",
           "training.checkpoint_every", "training.keep_every", "training.keep_best", "init.from", "init.optimizer",
           "init.lr_scale", "init.strict"}


@pytest.mark.parametrize("run", runs_of("hifigan"), ids=lambda run: run.name)
def test_vocoders_are_the_published_one_but_for_what_the_log_changed(run: Experiment) -> None:
    found = differences(composed("hifigan_v1")["vocoder"], composed(run.name)["vocoder"])
    assert {difference.parameter for difference in found} <= CHANGED


def test_lesson_16_the_schedule_went_by_the_step_until_the_last_two_runs() -> None:
    schedules = [composed(run.name)["vocoder"]["training"]["schedule"] for run in runs_of("hifigan")]
    assert [schedule["name"] for schedule in schedules] == ["exponential_per_step"] * 17 + ["exponential_per_epoch"] * 2
    assert all(schedule["decay"] == 0.999 for schedule in schedules)
    found = differences(composed("log/hifigan_17_ljspeech_2"), composed("log/hifigan_18_ljspeech_2_by_epoch"))
    assert [difference.parameter for difference in found] == ["vocoder.training.schedule.name"]
