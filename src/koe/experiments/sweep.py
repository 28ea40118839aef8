"""`koe exp sweep`: a grid or a search over named parameters, each trial a DVC experiment `<sweep>-<number>`.

A sweep is kept in `work/sweeps/<name>/`: `sweep.json` says what is asked, `study.log` is Optuna's journal of what was
tried. Sampling a trial depends on the seed, the trial's number and the trials before it alone, so a sweep that was
stopped goes on as if it had not been. How a trial runs is a function given to `run_sweep` (koe.experiments.trials).
"""

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from koe.errors import KoeError, ParameterError
from koe.experiments.named import Experiment, arguments, compose, differences
from koe.experiments.space import Domain, grid, read_space
from koe.experiments.trials import Objective, Points, Runner, Trial, TrialFailed, objective_of
from koe.files import read_json, write_json
from koe.params.reading import at, check
from koe.pipeline.declaration import Pipeline, load_pipeline
from koe.randomness import seed_for
from koe.workspace import work_root

FAILURES = 3  # in a row: then something else is wrong than the parameters
IN_VAIN = 100  # draws in a row that were refused or had been tried: then the space is used up
HALVING = 3  # of the trials that reach it, the best of so many pass a rung

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Sweep(BaseModel):
    """What is asked of a sweep; what must be the same when it goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    settings: list[str]  # parameter=values, see koe.experiments.space
    method: Literal["grid", "tpe", "random"] = "tpe"
    metric: str  # <stage>/<curve>, of which the last value counts, or one of metrics/summary.json
    prune: Literal["median", "halving", "none"] = "median"
    until: str | None = None  # last stage of a trial; null: the one that the metric is of
    parameters: dict[str, Any]  # params.yaml when it began

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline whose folder this is."""
        return load_pipeline()

    @cached_property
    def space(self) -> dict[str, Domain]:
        """What varies. Raises ParameterError."""
        return read_space(self.settings, self.parameters, self.pipeline.params)

    @property
    def folder(self) -> Path:
        return folder_of(self.name)

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        metric = self.pipeline.evaluation.metric(self.metric.rpartition("/")[2])
        return "maximize" if metric is not None and metric.better == "higher" else "minimize"

    @property
    def objective(self) -> Objective:
        """Raises KoeError."""
        return objective_of(self.metric, self.pipeline)


@dataclass(frozen=True)
class Budget:
    """When a sweep ends: after so many trials in all that ran, or so many hours from now."""

    trials: int | None = None
    hours: float | None = None
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return self.hours is not None and time.monotonic() - self.begun > 3600 * self.hours


class OutOfTime(Exception):
    """The budget's hours are over while a trial runs."""


def folder_of(name: str) -> Path:
    return work_root() / "sweeps" / name


def define(name: str, values: Mapping[str, Any], **given: Any) -> Sweep:
    """The sweep of this name: the one that is kept, or a new one of `given`, which is kept from its first run on.

    `values`: params.yaml as a tree. Raises KoeError if it is kept with other settings, or of other parameters.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise KoeError(f"{name}: a sweep's name is letters, digits, - and _, for its trials are experiments of DVC")
    path = folder_of(name) / "sweep.json"
    if not path.exists():
        metric = given.get("metric") or load_pipeline().swept
        sweep = Sweep(name=name, parameters=dict(values), **{"settings": [], **given, "metric": metric})
        check(sweep.pipeline.params, sweep.parameters)
        sweep.objective  # noqa: B018, raises what is wrong with it
        if sweep.method == "grid":
            grid(sweep.space)
        else:
            sweep.space  # noqa: B018, raises what is wrong with it
        return sweep
    sweep = read_sweep(name)
    other = [f"{what} {getattr(sweep, what)}, not {value}" for what, value in given.items()
             if getattr(sweep, what) != value]
    if other:
        raise KoeError(f"sweep {name} was begun with {'; '.join(other)}: give it no settings to go on with it, or "
                       f"another name; to forget it, remove {path.parent}")
    if changed := list(differences(sweep.parameters, values)):
        raise KoeError(f"sweep {name} was begun with other parameters, so its trials would not compare: "
                       f"{'; '.join(map(str, changed))}. Change params.yaml back, or give another name")
    return sweep


def read_sweep(name: str) -> Sweep:
    """A sweep that was begun. Raises KoeError naming those that were."""
    path = folder_of(name) / "sweep.json"
    if not path.exists():
        there = ", ".join(sorted(found.parent.name for found in path.parent.parent.glob("*/sweep.json"))) or "none"
        raise KoeError(f"there is no sweep {name} ({path}); there are: {there}")
    return Sweep.model_validate(read_json(path))


def open_study(sweep: Sweep) -> optuna.Study:
    """Optuna's record of the trials so far."""
    storage = JournalStorage(JournalFileBackend(str(sweep.folder / "study.log")))
    return optuna.create_study(study_name=sweep.name, storage=storage, direction=sweep.direction,
                               pruner=_pruner(sweep), load_if_exists=True)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """`median`: worse than half of the trials were at this step; `halving`: not in the best third at a rung."""
    if sweep.prune == "halving":
        training = sweep.objective.training
        first = at(sweep.parameters, f"{training.section}.training.validate_every") if training else 1
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=HALVING)
    return optuna.pruners.MedianPruner() if sweep.prune == "median" else optuna.pruners.NopPruner()


def _sampler(sweep: Sweep, number: int) -> optuna.samplers.BaseSampler:
    """What draws trial `number`, the first being 0; a grid's are not drawn."""
    seed = seed_for(sweep.parameters["seed"], "sweep", sweep.name, number) % 2**32
    return optuna.samplers.TPESampler(seed=seed) if sweep.method == "tpe" else optuna.samplers.RandomSampler(seed=seed)


def run_sweep(sweep: Sweep, budget: Budget, run: Runner) -> None:
    """Runs trials until the budget or the space is used up. Raises KoeError when FAILURES in a row failed.

    KeyboardInterrupt, or the end of the hours, leaves the trial that runs unfinished: it goes on first, next time.
    """
    with _alone(sweep):
        study = open_study(sweep)
        ran, failures, in_vain = len(list(filter(has_run, study.trials))), 0, 0
        with _bar(sweep, budget, ran) as bar:
            while not budget.is_over and (budget.trials is None or ran < budget.trials):
                trial = _next(sweep, study)
                if trial is None:
                    break
                composed = _composed(sweep, study, trial)
                if composed is None:
                    study.tell(trial, state=TrialState.FAIL)
                    in_vain += 1
                    if in_vain == IN_VAIN:
                        tqdm.write(f"{sweep.name}: all that is left was tried or refused, {in_vain} draws in a row")
                        break
                    continue
                try:
                    state = _run(sweep, study, trial, composed, budget, run, bar)
                except OutOfTime:
                    break
                ran, in_vain = ran + 1, 0
                bar.update()
                failures = failures + 1 if state == TrialState.FAIL else 0
                if failures == FAILURES:
                    raise KoeError(f"sweep {sweep.name}: {failures} trials in a row failed; they say why above, and "
                                   f"{sweep.folder}/*.log say more")


@contextmanager
def _alone(sweep: Sweep) -> Iterator[None]:
    """Keeps what is asked of a sweep, and holds it against a second process."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with (sweep.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KoeError(f"sweep {sweep.name} is running already, in another process") from None
        write_json(sweep.folder / "sweep.json", sweep.model_dump())
        yield


def _bar(sweep: Sweep, budget: Budget, ran: int) -> "tqdm[Any]":
    """Trials with their rate and end time on a terminal; silence elsewhere."""
    size = sum(1 for _ in grid(sweep.space)) if sweep.method == "grid" else None
    total = min((count for count in (size, budget.trials) if count is not None), default=None)
    return tqdm(total=total, initial=ran, desc=sweep.name, unit="trial", disable=None, dynamic_ncols=True)


def _next(sweep: Sweep, study: optuna.Study) -> optuna.Trial | None:
    """The trial that was left unfinished, or a new one; None where a grid is at its end."""
    if unfinished := study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        trial = optuna.Trial(study, unfinished[0]._trial_id)
    else:
        number = len(study.get_trials(deepcopy=False))
        if sweep.method == "grid" and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            combination = next(islice(grid(sweep.space), number, None), None)
            if combination is None:
                return None
            study.enqueue_trial(combination)
        study.sampler = _sampler(sweep, number)
        trial = study.ask()
    for name, domain in sweep.space.items():
        domain.draw(trial, name)
    return trial


def _composed(sweep: Sweep, study: optuna.Study, trial: optuna.Trial) -> Trial | None:
    """What to run; None, and why, if it is refused or was tried before."""
    drawn = {name: domain.drawn(trial.params[name]) for name, domain in sweep.space.items()}
    same = [other for other in study.trials if other.number < trial.number
            and {name: domain.drawn(other.params[name]) for name, domain in sweep.space.items()} == drawn]
    if same:
        trial.set_user_attr("repeats", same[0].number)
        return None
    experiment = Experiment(name=trial_name(sweep, trial.number), purpose=f"a trial of {sweep.name}", parameters=drawn)
    values = compose(sweep.parameters, experiment)
    try:
        check(sweep.pipeline.params, values, experiment.name)
    except ParameterError as error:
        trial.set_user_attr("refused", str(error))
        tqdm.write(f"not run: {error}")
        return None
    return Trial(experiment.name, values, arguments(sweep.parameters, experiment))


def _run(
    sweep: Sweep, study: optuna.Study, trial: optuna.Trial, composed: Trial, budget: Budget, run: Runner,
    bar: "tqdm[Any]",
) -> TrialState:
    """Runs one trial and records what came of it."""
    reported: set[int] = set()

    def watch(points: Points) -> None:
        for step, value in points:
            if step not in reported:
                reported.add(step)
                trial.report(value, step)
                bar.set_postfix_str(f"{composed.name}: {value:.4g} at step {step}{_best(sweep, study)}", refresh=False)
                if trial.should_prune():
                    raise optuna.TrialPruned
        if budget.is_over:
            raise OutOfTime
        bar.refresh()

    bar.set_postfix_str(composed.name + _best(sweep, study))
    try:
        value = run(composed, watch)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        return TrialState.PRUNED
    except TrialFailed as error:
        trial.set_user_attr("failed", str(error))
        bar.write(f"failed: {error}")
        study.tell(trial, state=TrialState.FAIL)
        return TrialState.FAIL
    study.tell(trial, value)
    return TrialState.COMPLETE


def _best(sweep: Sweep, study: optuna.Study) -> str:
    best = best_trial(study)
    return "" if best is None else f", best {best.value:.4g} ({trial_name(sweep, best.number)})"


def trial_name(sweep: Sweep, number: int) -> str:
    """A trial's experiment in DVC."""
    return f"{sweep.name}-{number:02d}"


def has_run(trial: FrozenTrial) -> bool:
    """Whether a trial counts against the budget."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "failed" in trial.user_attrs


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The finished trial with the best metric, if there is any."""
    return study.best_trial if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else None
