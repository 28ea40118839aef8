"""`koe exp sweep`: a grid or a search over named parameters, each trial a DVC experiment `<sweep>-<number>`.

A sweep is kept in `work/sweeps/<name>/`: `sweep.json` is its definition, `study.log` Optuna's journal of its trials.
The sampling of a trial depends only on the seed, the trial's number and the trials before it, so a sweep that was
stopped continues as if it had not been. `run_sweep` gets the function that runs a trial (koe.experiments.trials).
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
from koe.files import read_json, understood, write_json
from koe.params.reading import at, check
from koe.pipeline.declaration import Pipeline, load_pipeline
from koe.progress import progress_bar
from koe.randomness import seed_for
from koe.terminal import plain
from koe.workspace import work_root

FAILURES = 3  # in a row, after which something other than the parameters must be wrong
IN_VAIN = 100  # draws in a row that were refused or already tried, after which the space counts as exhausted
HALVING = 3  # one in this many of the trials that reach a rung passes it

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Sweep(BaseModel):
    """The definition of a sweep, which must be the same when it is continued."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    settings: list[str]  # parameter=values, see koe.experiments.space
    method: Literal["grid", "tpe", "random"] = "tpe"
    metric: str  # <stage>/<curve>, whose last value counts, or a number of metrics/summary.json
    prune: Literal["median", "halving", "none"] = "median"
    until: str | None = None  # last stage of a trial; None: the one that makes the metric
    parameters: dict[str, Any]  # params.yaml when the sweep began

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline whose folder this is."""
        return load_pipeline()

    @cached_property
    def space(self) -> dict[str, Domain]:
        """What varies. Raises ParameterError if `settings` are wrong."""
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
        """The metric of its trials. Raises KoeError if `metric` is wrong."""
        return objective_of(self.metric, self.pipeline)


@dataclass(frozen=True)
class Budget:
    """When a sweep ends."""

    trials: int | None = None  # in total, counting those that ran
    hours: float | None = None  # from `begun`
    begun: float = field(default_factory=time.monotonic)  # seconds

    @property
    def is_over(self) -> bool:
        return self.hours is not None and time.monotonic() - self.begun > 3600 * self.hours


class OutOfTime(Exception):
    """The budget's hours ended while a trial was running."""


def folder_of(name: str) -> Path:
    return work_root() / "sweeps" / name


def define(name: str, values: Mapping[str, Any], **options: Any) -> Sweep:
    """The existing sweep of this name, or a new one with these options, which is saved when it first runs.

    `values`: the content of params.yaml. Raises KoeError if the sweep exists with other options or other parameters.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
        raise KoeError(f"{name}: a sweep's name consists of letters, digits, - and _, at most 100, because its trials "
                       "are experiments of DVC")
    path = folder_of(name) / "sweep.json"
    if not path.exists():
        metric = options.get("metric") or load_pipeline().swept
        sweep = Sweep(name=name, parameters=dict(values), **{"settings": [], **options, "metric": metric})
        check(sweep.pipeline.params, sweep.parameters)
        sweep.objective  # noqa: B018, raises if the metric is wrong
        if sweep.method == "grid":
            grid(sweep.space)
        else:
            sweep.space  # noqa: B018, raises if the settings are wrong
        return sweep
    sweep = read_sweep(name)
    other = [f"{option} {getattr(sweep, option)}, not {value}" for option, value in options.items()
             if getattr(sweep, option) != value]
    if other:
        raise KoeError(f"sweep {name} was begun with {'; '.join(other)}: give no options to continue it, or choose "
                       f"another name; to discard it, remove {path.parent}")
    if changed := list(differences(sweep.parameters, values)):
        raise KoeError(f"sweep {name} was begun with other parameters, so its trials would not be comparable: "
                       f"{'; '.join(map(str, changed))}. Change params.yaml back, or choose another name")
    return sweep


def read_sweep(name: str) -> Sweep:
    """The sweep of this name. Raises KoeError listing the existing sweeps if there is none."""
    path = folder_of(name) / "sweep.json"
    if not path.exists():
        sweeps = ", ".join(sorted(other.parent.name for other in path.parent.parent.glob("*/sweep.json"))) or "none"
        raise KoeError(f"there is no sweep {name} ({path}); there are: {sweeps}")
    advice = f"remove {path.parent} to begin the sweep anew; its trials stay, as experiments"
    with understood(path, advice):
        return Sweep.model_validate(read_json(path, advice))


def open_study(sweep: Sweep) -> optuna.Study:
    """Optuna's record of the trials so far. Raises StoreError naming it if it is damaged."""
    journal = sweep.folder / "study.log"
    with understood(journal, f"remove {sweep.folder} to begin the sweep anew; its trials stay, as experiments"):
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return optuna.create_study(study_name=sweep.name, storage=storage, direction=sweep.direction,
                                   pruner=_pruner(sweep), load_if_exists=True)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """`median` stops a trial that is worse than half of the others at its step, `halving` all but the best third at
    each rung.
    """
    if sweep.prune == "halving":
        training = sweep.objective.training
        first = at(sweep.parameters, f"{training.section}.training.validate_every") if training else 1
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=HALVING)
    return optuna.pruners.MedianPruner() if sweep.prune == "median" else optuna.pruners.NopPruner()


def _sampler(sweep: Sweep, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of trial `number`, counted from 0; without effect in a grid."""
    seed = seed_for(sweep.parameters["seed"], "sweep", sweep.name, number) % 2**32
    return optuna.samplers.TPESampler(seed=seed) if sweep.method == "tpe" else optuna.samplers.RandomSampler(seed=seed)


def run_sweep(sweep: Sweep, budget: Budget, run: Runner) -> None:
    """Runs trials until the budget or the space is used up. Raises KoeError when FAILURES in a row failed.

    KeyboardInterrupt, or the end of the hours, leaves the running trial unfinished: next time it is continued first.
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
                        tqdm.write(f"{sweep.name}: stopped after {in_vain} draws in a row that were refused or already "
                                   "tried")
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
                    raise KoeError(f"sweep {sweep.name}: {failures} trials in a row failed; the reasons are above, "
                                   f"details in {sweep.folder}/*.log")


@contextmanager
def _alone(sweep: Sweep) -> Iterator[None]:
    """Saves a sweep's definition, and locks the sweep against a second process."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with (sweep.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KoeError(f"sweep {sweep.name} is running already, in another process") from None
        write_json(sweep.folder / "sweep.json", sweep.model_dump())
        yield


def _bar(sweep: Sweep, budget: Budget, ran: int) -> "tqdm[Any]":
    """Progress in trials."""
    size = sum(1 for _ in grid(sweep.space)) if sweep.method == "grid" else None
    total = min((count for count in (size, budget.trials) if count is not None), default=None)
    return progress_bar(sweep.name, total, "trial", ran)


def _next(sweep: Sweep, study: optuna.Study) -> optuna.Trial | None:
    """The trial that was left unfinished, or a new one; None at the end of a grid."""
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
    """The parameters of a trial; None if they are refused, which is reported, or were tried before."""
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
        tqdm.write(plain(f"not run: {error}"))
        return None
    return Trial(experiment.name, values, arguments(sweep.parameters, experiment))


def _run(
    sweep: Sweep, study: optuna.Study, trial: optuna.Trial, composed: Trial, budget: Budget, run: Runner,
    bar: "tqdm[Any]",
) -> TrialState:
    """Runs one trial and records its result."""
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
        bar.write(plain(f"failed: {error}"))
        study.tell(trial, state=TrialState.FAIL)
        return TrialState.FAIL
    study.tell(trial, value)
    return TrialState.COMPLETE


def _best(sweep: Sweep, study: optuna.Study) -> str:
    best = best_trial(study)
    return "" if best is None else f", best {best.value:.4g} ({trial_name(sweep, best.number)})"


def trial_name(sweep: Sweep, number: int) -> str:
    """The name of a trial's experiment in DVC."""
    return f"{sweep.name}-{number:02d}"


def has_run(trial: FrozenTrial) -> bool:
    """Whether a trial counts against the budget."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "failed" in trial.user_attrs


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The finished trial with the best metric, if there is any."""
    return study.best_trial if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else None
