"""A git repository whose experiments are kept as DVC keeps them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.parameters import make_pipeline_folder

from koe.experiments.dvc import git


@pytest.fixture()
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three commits, the last of which is HEAD, and two experiments in experiments/; the test runs there."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Koe")
    git("config", "user.email", "koe@example.org")
    for message in ("first", "second", "third"):
        git("commit", "-q", "--allow-empty", "-m", message)
    make_pipeline_folder(tmp_path)
    Path("experiments/log").mkdir(parents=True)
    for name in ("log/one", "log/two"):
        Path(f"experiments/{name}.yaml").write_text("purpose: …\nparameters: {}\n")
    return git("rev-list", "--reverse", "HEAD")


@pytest.fixture()
def keep() -> Callable[[str, str], str]:
    """Makes a commit on a baseline that is kept as an experiment of a name, and returns it."""
    def keep_experiment(name: str, baseline: str) -> str:
        commit, = git("commit-tree", f"{baseline}^{{tree}}", "-p", baseline, "-m", f"{name} of {baseline}")
        git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", commit)
        return commit
    return keep_experiment
