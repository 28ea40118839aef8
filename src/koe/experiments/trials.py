"""A sweep's trial as a DVC experiment: `dvc exp run --temp`, watched while it trains, and stopped if it is hopeless.

Trials keep their checkpoints in a folder of the sweep (KOE_WORK), not in work/, so that the curves of the running one
are found without knowing its key, and what a stopped one leaves can be removed. Curves are updated whenever a
checkpoint is written (`checkpoint_every`).
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from koe.errors import KoeError
from koe.experiments.dvc import environment, from_root, git, project_root, run_references
from koe.files import shortened, understood
from koe.pipeline.declaration import SUMMARY, Pipeline, Training
from koe.workspace import work_root
from koe.yaml_files import parse_yaml

LOOK_EVERY = 0.5  # seconds
PATIENCE = 60  # seconds in which an interrupted trial must end

Points = list[tuple[int, float]]  # optimizer step and value, of a curve
Watch = Callable[[Points], None]


@dataclass(frozen=True)
class Objective:
    """The metric by which trials are judged: a training run's curve or a number of metrics/summary.json."""

    name: str  # <stage>/<curve>, or the number's name
    training: Training | None  # the one that has the curve; None: it is in metrics/summary.json
    target: str  # the stage that makes it

    @property
    def curve(self) -> str:
        """The curve's name among those of its training run."""
        return self.name.removeprefix(f"{self.training.curves}/") if self.training else self.name

    def value(self, commit: str) -> float:
        """The metric of a finished experiment; of a curve, its last value.

        Raises KoeError if there is no such metric, TrialFailed if it is missing or not finite.
        """
        path = f"metrics/{self.training.curves}/plots/metrics/{self.curve}.tsv" if self.training else SUMMARY
        text = _read(path, commit)
        with understood(f"{path} of {commit[:7]}"):
            values = {self.name: float(text.split()[-1])} if self.training else dict(json.loads(text))
        if self.name not in values:
            raise KoeError(f"{path} has no {self.name}; it has {shortened(values)}")
        value = values[self.name]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise TrialFailed(f"{path} of {commit[:7]}: {self.name} is {value}")
        return value


def objective_of(name: str, pipeline: Pipeline) -> Objective:
    """The metric `name` of a pipeline. Raises KoeError if it is not a curve of one of the pipeline's training runs."""
    training = pipeline.training_of(name) if "/" in name else None
    if "/" in name and training is None:
        number = next((metric.name for metric in pipeline.evaluation.metrics), "<metric>")
        curves = ", ".join(training.curves for training in pipeline.trainings) or "none"
        example = f", such as {pipeline.swept}" if pipeline.trainings else ""
        raise KoeError(f"metric {name}: expected a number of {SUMMARY}, such as {number}, or <stage>/<curve> with a "
                       f"stage of {curves}{example}")
    return Objective(name, training, training.stage if training else pipeline.evaluation.stage)


def _read(path: str, commit: str) -> str:
    from dvc.api import read
    from dvc.exceptions import DvcException

    try:
        return read(from_root(path), repo=str(project_root()), rev=commit)
    except (DvcException, FileNotFoundError) as error:
        raise KoeError(f"{path} of {commit[:7]}: {error}") from error


@dataclass(frozen=True)
class Trial:
    """A trial to run."""

    name: str  # of its experiment
    values: Mapping[str, Any]  # the complete params.yaml
    arguments: list[str]  # of `dvc exp run`, which set these parameters (-S …)


class TrialFailed(KoeError):
    """A trial without a result, after which the sweep continues. Every other error ends the sweep."""


# Runs a trial to its end and returns its metric, or raises TrialFailed. Calls Watch about once a second with the curve
# so far; Watch raises an exception to stop the trial.
Runner = Callable[[Trial, Watch], float]


@dataclass(frozen=True)
class DvcRunner:
    """Runs trials as experiments of DVC."""

    objective: Objective
    until: str | None  # a further stage to run
    folder: Path  # for logs and checkpoints

    def __call__(self, trial: Trial, watch: Watch) -> float:
        commit = self._finished(trial)
        if commit is None:
            self._run(trial, watch)
            commit = self._finished(trial)
        if commit is None:
            raise KoeError(f"{trial.name}: dvc exp run succeeded but left no experiment; see {self._log(trial)}")
        return self.objective.value(commit)

    def _finished(self, trial: Trial) -> str | None:
        """The commit of this trial's experiment, if it exists. Raises KoeError if that has other parameters."""
        name, (head,) = trial.name, git("rev-parse", "HEAD")
        commit = next((run.commit for run in run_references() if (run.name, run.baseline) == (name, head)), None)
        if commit is None or parse_yaml("\n".join(git("show", f"{commit}:./params.yaml")), name) == trial.values:
            return commit
        raise KoeError(f"an experiment {name} with other parameters exists already; give the sweep another name, or "
                       f"remove that experiment: dvc exp remove {name}")

    def _run(self, trial: Trial, watch: Watch) -> None:
        targets = dict.fromkeys([self.objective.target, *([self.until] if self.until else [])])
        command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", trial.name, *trial.arguments, *targets]
        try:
            with self._log(trial).open("w") as log, _running(command, log, self._work) as process:
                while process.poll() is None:
                    watch(self._points())
                    time.sleep(LOOK_EVERY)
        except optuna.TrialPruned:
            if process.returncode:
                self._clear()
                raise  # with status 0 it had already finished, and its experiment exists
        if process.returncode:
            self._clear()
            raise TrialFailed(f"{trial.name}: {_reason(self._log(trial))} ({self._log(trial)})")
        self._keep()

    @property
    def _work(self) -> Path:
        return self.folder / "work"

    def _log(self, trial: Trial) -> Path:
        return self.folder / f"{trial.name}.log"

    def _points(self) -> Points:
        """The curve so far of the running training."""
        if self.objective.training is None:
            return []
        try:
            lines = [line for curves in self._work.glob(f"{self.objective.training.work_name}-*/curves.jsonl")
                     for line in curves.read_text().splitlines()]
            rows = [json.loads(line) for line in lines]
            return [(row["step"], row["values"][self.objective.curve]) for row in rows
                    if self.objective.curve in row["values"]]
        except (OSError, ValueError, LookupError, TypeError):  # the training run has just ended, or the file is damaged
            return []

    def _left(self) -> Iterator[Path]:
        """Work folders of training runs, not what `scan` and `init.from` keep there."""
        return (path for path in self._work.glob("*-*") if path.is_dir())

    def _clear(self) -> None:
        """Removes what a stopped trial leaves."""
        for path in self._left():
            shutil.rmtree(path)

    def _keep(self) -> None:
        """Moves the checkpoints that a finished trial keeps (`keep_every`) to work/, where those of other runs are."""
        for path in self._left():
            if (destination := work_root() / path.name).exists():
                shutil.rmtree(path)
            else:
                path.rename(destination)


@contextmanager
def _running(command: list[str], log: Any, work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process that is interrupted, with its children, if the context ends before it does.

    They form a process group of their own, so that Ctrl-C reaches only the sweep.
    """
    variables = environment() | {"KOE_WORK": str(work.resolve())}
    with _interruptible():
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   env=variables, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within it, started processes do not inherit that interrupts are ignored, as they are for a command that a script
    starts in the background (`koe exp sweep … &`).
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reason(log: Path) -> str:
    """The error messages in the log of a failed `dvc exp run`: the stage's last line, and DVC's."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    first = next((place for place, line in enumerate(lines) if line.startswith("ERROR")), len(lines))
    return "; ".join(lines[max(first - 1, 0) : first + 1]) or "failed without a message"
