"""A sweep's trial that is to be stopped: what it leaves, and what if it is at its end already."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
import pytest
from support.parameters import PIPELINE

from koe.experiments import trials
from koe.experiments.trials import DvcRunner, Points, Trial, objective_of

STOPS = "import time; open({marker!r}, 'w').close(); time.sleep(60)"
ENDS_WELL = ("import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); open({marker!r}, 'w').close(); "
             "time.sleep(1)")


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def started_in(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shells make what a script starts in the background ignore interrupts."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    assert signal.signal(signal.SIGINT, before) is request.param


@pytest.mark.parametrize(("script", "finished"), [(STOPS, False), (ENDS_WELL, True)])
def test_a_trial_that_ends_before_it_is_stopped_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_in: None, script: str, finished: bool
) -> None:
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    runner = DvcRunner(objective_of("train_acoustic/validation/mcd_db", PIPELINE), None, tmp_path / "sweep")
    checkpoints, marker = runner._work / "acoustic-1", tmp_path / "started"
    for folder in (checkpoints, tmp_path / "work"):
        folder.mkdir(parents=True)
    running = trials._running

    def without_dvc(command: list[str], log: Any, work: Path) -> AbstractContextManager[Any]:
        return running([sys.executable, "-c", script.format(marker=str(marker))], log, work)

    def prune(points: Points) -> None:
        while not marker.exists():
            time.sleep(0.01)
        raise optuna.TrialPruned

    monkeypatch.setattr(trials, "_running", without_dvc)
    trial = Trial("s-00", {}, [])
    if finished:
        runner._run(trial, prune)
    else:
        with pytest.raises(optuna.TrialPruned):
            runner._run(trial, prune)
    assert not checkpoints.exists()
    assert (tmp_path / "work/acoustic-1").exists() == finished
