"""Sweeps, on a runner that only pretends to train."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console
from support.parameters import PIPELINE

from koe.errors import KoeError, ParameterError
from koe.experiments.space import Choices, Range, grid, parse_setting, read_space
from koe.experiments.sweep import FAILURES, Budget, Sweep, define, folder_of, open_study, run_sweep
from koe.experiments.sweep_summary import print_summary, rows_of, short_names, weights_of, write_page
from koe.experiments.trials import Trial, TrialFailed, Watch, objective_of
from koe.params.reading import read_values

RATE, LAYERS = "acoustic.training.schedule.learning_rate", "acoustic.encoder.layers"
SETTINGS = [f"{RATE}=1e-4..1e-2:log", f"{LAYERS}=[1, 2, 4]"]


@pytest.fixture
def values(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """params.yaml as a tree; work/ is a temporary folder."""
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    return read_values(root / "params.yaml")


class Pretended:
    """A runner: MCD falls to a floor that the layers set, in three validations."""

    def __init__(self, happens: Callable[[Trial], None] = lambda trial: None) -> None:
        self.happens = happens
        self.ran: list[Trial] = []

    def __call__(self, trial: Trial, watch: Watch) -> float:
        self.ran.append(trial)
        self.happens(trial)
        floor = 4.0 + trial.values["acoustic"]["encoder"]["layers"] / 10
        points = [(step, floor + 300 / step) for step in (300, 600, 900)]
        for end in range(1, 4):
            watch(points[:end])
        return points[-1][1]

    @property
    def names(self) -> list[str]:
        return [trial.name for trial in self.ran]


@pytest.mark.parametrize(("text", "domain"), [
    ("a.b=[1, 2, 4]", Choices((1, 2, 4))), ("a=[adam, null, true]", Choices(("adam", None, True))),
    ("a=[[0.9, 0.98], [0.8, 0.99]]", Choices(([0.9, 0.98], [0.8, 0.99]))), ("a=[1e-4, 1e-3]", Choices((1e-4, 1e-3))),
    ("a=1..4", Range(1, 4, False)), ("a=0.0..0.5", Range(0.0, 0.5, False)), ("a = -60..-20", Range(-60, -20, False)),
    ("a=1e-4..1e-2:log", Range(1e-4, 1e-2, True)), ("a=16..256:log", Range(16, 256, True)),
])
def test_settings_are_read(text: str, domain: Choices | Range) -> None:
    assert parse_setting(text)[1] == domain


@pytest.mark.parametrize(("text", "message"), [
    ("a", "expected parameter=values"), ("a=3", "nothing to choose"), ("a=[3]", "nothing to choose"),
    ("a=4..1", "not below"), ("a=0..4:log", "above 0"), ("a=x..y", "not a number"), ("a=[1, 2", "expected"),
])
def test_settings_that_say_nothing_are_refused_with_an_example(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        parse_setting(text)
    assert "1e-4..1e-2:log" in str(caught.value)


@pytest.mark.parametrize(("settings", "message"), [
    (["acoustic.depth=[1, 2]"], "no such parameter"), ([f"{LAYERS}=[1, many]"], rf"{LAYERS}: .*'many'"),
    ([f"{LAYERS}=1.0..4.0"], LAYERS), ([f"{RATE}=-1.0..1.0"], RATE), (["acoustic.encoder=[{}, null]"], "encoder"),
    ([f"{LAYERS}=[1, 2]", f"{LAYERS}=1..3"], "already"), ([], "no parameter varies"),
])
def test_values_are_checked_against_params(settings: list[str], message: str, values: Any) -> None:
    with pytest.raises(ParameterError, match=message):
        read_space(settings, values, PIPELINE.params)


def test_a_grid_is_every_combination_and_wants_no_real_range(values: Any) -> None:
    space = read_space([f"{LAYERS}=1..3", "acoustic.loss.duration=[plain, log]"], values, PIPELINE.params)
    drawn = [{name: domain.drawn(combination[name]) for name, domain in space.items()} for combination in grid(space)]
    assert [(*row.values(),) for row in drawn] == [(layers, kind) for layers in (1, 2, 3) for kind in ("plain", "log")]
    with pytest.raises(ParameterError, match=f"{RATE}.*a grid needs"):
        define("s", values, settings=SETTINGS, method="grid")
    assert not folder_of("s").exists()


def test_trials_are_composed_as_dvc_takes_them(values: Any) -> None:
    runner = Pretended()
    run_sweep(define("s", values, settings=[f"{LAYERS}=[2, 4]"], method="grid"), Budget(), runner)
    assert runner.names == ["s-00", "s-01"]
    assert [trial.arguments for trial in runner.ran] == [[], ["-S", f"{LAYERS}=4"]]  # the first is params.yaml's own
    assert runner.ran[1].values["acoustic"]["encoder"]["layers"] == 4


def test_refused_combinations_are_told_and_not_run(values: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["acoustic.encoder.heads=[4, 3]", f"{LAYERS}=[1, 2]"]
    sweep, runner = define("s", values, settings=settings, method="grid"), Pretended()
    run_sweep(sweep, Budget(), runner)
    assert runner.names == ["s-00", "s-01"]
    assert "not run: s-02" in capsys.readouterr().out
    assert [row.state for row in rows_of(sweep, open_study(sweep))] == ["complete", "complete", "refused", "refused"]


def test_a_sweep_goes_on_as_if_it_had_not_been_stopped(values: Any) -> None:
    whole, runner = define("s", values, settings=SETTINGS), Pretended()
    run_sweep(whole, Budget(trials=14), runner)

    def interrupt(trial: Trial) -> None:
        if trial.name == "s-12" and stopped.names.count("s-12") == 1:
            raise KeyboardInterrupt

    stopped = Pretended(interrupt)
    (whole.folder / "study.log").unlink()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(whole, Budget(trials=14), stopped)
    run_sweep(define("s", values), Budget(trials=14), stopped)
    assert stopped.names == [*runner.names[:13], *runner.names[12:]]
    assert stopped.ran[-1].values == runner.ran[-1].values
    assert len({json.dumps(trial.values) for trial in runner.ran}) == 14


def test_a_budget_of_trials_counts_those_that_were_run_before(values: Any) -> None:
    sweep, runner = define("s", values, settings=SETTINGS), Pretended()
    for _ in range(2):
        run_sweep(sweep, Budget(trials=3), runner)
    assert len(runner.ran) == 3


def test_out_of_time_a_trial_is_kept_for_later(values: Any) -> None:
    sweep, runner = define("s", values, settings=SETTINGS), Pretended(lambda trial: budgets.clear())
    budgets = [Budget(hours=1)]

    class Ends(Budget):
        @property
        def is_over(self) -> bool:
            return not budgets

    run_sweep(sweep, Ends(), runner)
    (row,) = rows_of(sweep, open_study(sweep))
    assert (row.name, row.state, row.step) == ("s-00", "unfinished", 300)


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_no_combination_is_run_twice(method: str, values: Any) -> None:
    sweep, runner = define("s", values, settings=[f"{LAYERS}=[1, 2, 4]"], method=method), Pretended()
    run_sweep(sweep, Budget(trials=10), runner)
    assert sorted(trial.values["acoustic"]["encoder"]["layers"] for trial in runner.ran) == [1, 2, 4]


def test_halving_stops_what_is_not_among_the_best_third(values: Any) -> None:
    sweep = define("s", values, settings=[f"{LAYERS}=[1, 2, 4]"], method="grid", prune="halving")
    run_sweep(sweep, Budget(), Pretended())
    states = [(row.name, row.state, row.step) for row in rows_of(sweep, open_study(sweep))]
    assert states == [("s-00", "complete", None), ("s-01", "pruned", 300), ("s-02", "pruned", 300)]


def test_median_stops_nothing_before_it_knows_five_trials(values: Any) -> None:
    sweep = define("s", values, settings=[f"{LAYERS}=1..7"], method="grid")
    run_sweep(sweep, Budget(), Pretended())
    assert [row.state for row in rows_of(sweep, open_study(sweep))] == ["complete"] * 5 + ["pruned"] * 2


def test_failed_trials_are_told_and_three_in_a_row_end_it(values: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def diverge(trial: Trial) -> None:
        if trial.name != "s-01":
            raise TrialFailed(f"{trial.name}: acoustic training diverged")

    sweep, runner = define("s", values, settings=SETTINGS), Pretended(diverge)
    with pytest.raises(KoeError, match="in a row"):
        run_sweep(sweep, Budget(trials=9), runner)
    assert len(runner.ran) == 2 + FAILURES
    assert capsys.readouterr().out.count("diverged") == 1 + FAILURES


def test_other_settings_and_other_parameters_are_not_mixed_in(values: Any) -> None:
    run_sweep(define("s", values, settings=SETTINGS), Budget(trials=1), Pretended())
    assert define("s", values, settings=SETTINGS, method="tpe").settings == SETTINGS
    with pytest.raises(KoeError, match="begun with method tpe, not random"):
        define("s", values, method="random")
    other = {**values, "seed": values["seed"] + 1}
    with pytest.raises(KoeError, match=f"seed: {values['seed']} → {other['seed']}"):
        define("s", other)


def test_a_second_process_is_kept_out(values: Any) -> None:
    sweep = define("s", values, settings=SETTINGS)
    inner = Pretended(lambda trial: run_sweep(sweep, Budget(trials=1), Pretended()))
    with pytest.raises(KoeError, match="running already"):
        run_sweep(sweep, Budget(trials=1), inner)


@pytest.mark.parametrize("name", ["a/b", "", "-x", "a b"])
def test_names_that_are_no_experiments_are_refused(name: str, values: Any) -> None:
    with pytest.raises(KoeError, match="letters"):
        define(name, values, settings=SETTINGS)


def test_metrics_have_a_stage_and_a_direction(values: Any) -> None:
    assert objective_of("finetune_vocoder/validation/mel", PIPELINE).target == "finetune_vocoder"
    assert objective_of("mos", PIPELINE).target == "evaluate"
    with pytest.raises(KoeError, match="metric validation/mcd_db"):
        define("s", values, settings=SETTINGS, metric="validation/mcd_db")
    directions = {metric: Sweep(name="s", settings=SETTINGS, parameters=values, metric=metric).direction
                  for metric in ("mcd_db", "wer", "mos", "finetune_vocoder/validation/pesq")}
    assert directions == {"mcd_db": "minimize", "wer": "minimize", "mos": "maximize",
                          "finetune_vocoder/validation/pesq": "maximize"}


def test_the_summary_has_the_best_first_and_weighs_parameters(values: Any) -> None:
    sweep = define("s", values, settings=[f"{LAYERS}=1..3", "acoustic.pitch.layers=[2, 5]"], method="grid")
    run_sweep(sweep, Budget(), Pretended())
    study = open_study(sweep)
    weights = weights_of(sweep, study)
    assert weights[LAYERS] > 0.8 and sum(weights.values()) == pytest.approx(1)
    console = Console(width=100, file=io.StringIO())
    print_summary(sweep, study, console)
    lines = console.file.getvalue().splitlines()
    assert lines[0].split() == ["trial", "mcd_db", "encoder.layers", "pitch.layers", "state"]
    assert lines[2].split() == ["s-00", "4.433", "1", "2", "complete"]
    page = write_page(sweep, study).read_text()
    assert page.count("<circle") > 12 and "://" not in page
    assert "koe exp apply s-00" in page and study.trials[5].state == TrialState.PRUNED


def test_short_names_tell_parameters_apart() -> None:
    names = ["acoustic.encoder.layers", "acoustic.pitch.layers", "vocoder.training.steps"]
    assert list(short_names(names).values()) == ["encoder.layers", "pitch.layers", "steps"]
