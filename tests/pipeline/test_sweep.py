"""`koe exp sweep` on the tiny pipeline: real trainings as experiments of DVC, one of them stopped."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import Project, make_project

pytestmark = pytest.mark.slow
RATE = "acoustic.training.schedule.learning_rate"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project in which nothing was run but a sweep."""
    project = make_project(tmp_path_factory.mktemp("sweep") / "project")
    for name, steps in {"steps": 60, "validate_every": 6, "checkpoint_every": 6}.items():
        project.set(f"acoustic.training.{name}", steps)
    values = f"{RATE}=[1e-2, 1e-4, 1e-5]"
    project.output = sweep(project, "--grid", "--set", values, "--prune", "halving")  # type: ignore[attr-defined]
    return project


def sweep(project: Project, *options: str) -> str:
    return project.run(sys.executable, "-m", "koe.cli", "exp", "sweep", "rate", *options)


def test_a_finished_trial_is_an_experiment_and_a_worse_one_is_stopped(swept: Project) -> None:
    rows = re.findall(r"^(rate-\d+) .* (complete|pruned|refused)", swept.output, re.MULTILINE)  # type: ignore[attr-defined]
    assert rows == [("rate-00", "complete"), ("rate-01", "pruned"), ("rate-02", "refused")]
    (name, commit), = (line.rpartition("/")[2].split() for line in swept.run(
        "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/*/*/*").splitlines())
    params = yaml.safe_load(swept.run("git", "show", f"{commit}:params.yaml"))
    assert name == "rate-00" and params["acoustic"]["training"]["schedule"]["learning_rate"] == 0.01
    assert "train_acoustic" in (lock := swept.run("git", "show", f"{commit}:dvc.lock")) and "evaluate" not in lock


def test_a_stopped_trial_leaves_nothing(swept: Project) -> None:
    folder = swept.folder / "work/sweeps/rate"
    assert "stages/train_acoustic.py: interrupted;" in (folder / "rate-01.log").read_text()
    assert list(folder.glob("work/acoustic-*")) == []
    assert list(swept.folder.glob(".dvc/tmp/exps/standalone/*/dvc.yaml")) == []


def test_a_sweep_that_is_done_runs_nothing_again(swept: Project) -> None:
    log = swept.folder / "work/sweeps/rate/rate-00.log"
    written, again = log.stat().st_mtime_ns, sweep(swept)
    assert again == sweep(swept, "--summary") and swept.output.endswith(again)  # type: ignore[attr-defined]
    assert log.stat().st_mtime_ns == written


def test_the_summary_is_a_page(swept: Project) -> None:
    page = Path(swept.output.split()[-1])  # type: ignore[attr-defined]
    assert page.name == "summary.html" and page.read_text().count("<title>rate-0") == 2
