"""Experiments through DVC as docs/experiments.md tells: run, queued, interrupted, noted, shared, verified.

On the pipeline up to the acoustic model, which has all that matters here: stages, a training, metrics.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from koe.files import read_json

from .conftest import Project, make_project

pytestmark = pytest.mark.slow

EXPERIMENTS = {
    "flow": {"acoustic.pitch.stop_gradient": False},
    "long": {"acoustic.training.steps": 400, "acoustic.training.validate_every": 400,
             "acoustic.training.checkpoint_every": 5},
}
RESUMED = "continuing a run that was interrupted, from step"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Committed after a run, with remotes for git and DVC, and two experiments in experiments/."""
    made = make_project(tmp_path_factory.mktemp("experiments") / "project")
    dag = yaml.safe_load((made.folder / "dvc.yaml").read_text())
    names = list(dag["stages"])
    stages = {name: dag["stages"][name] for name in names[:names.index("train_acoustic") + 1]}
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump(
        {"stages": stages, "metrics": ["metrics/train_acoustic/metrics.json"]}, sort_keys=False))
    shutil.rmtree(made.folder / "pipelines")
    for name, parameters in EXPERIMENTS.items():
        (made.folder / f"experiments/{name}.yaml").write_text(json.dumps({"purpose": name, "parameters": parameters}))
    made.run("git", "init", "-q", "--bare", "../remote.git")
    made.run("git", "remote", "add", "origin", str(made.folder.parent / "remote.git"))
    made.run("dvc", "remote", "add", "-q", "-d", "storage", str(made.folder.parent / "storage"))
    made.run("dvc", "repro")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "first run")
    yield made
    made.run("dvc", "queue", "stop", "--kill", check=False)


@pytest.fixture(scope="module")
def ran(project: Project) -> Project:
    """After both experiments ran from the queue, two at a time, and one was interrupted and queued again."""
    project.output = project.run("koe", "exp", "run", *EXPERIMENTS, "--queue")  # type: ignore[attr-defined]
    start_queue(project, workers=2)
    until(lambda: any(json.loads(line)["step"] >= 20 for line in curves(project)))
    project.run("dvc", "queue", "kill", "long")
    until(lambda: not waiting(project))
    project.status = project.run("dvc", "queue", "status")  # type: ignore[attr-defined]
    project.run("dvc", "queue", "remove", "--failed")
    project.run("koe", "exp", "run", "long", "--queue")
    start_queue(project, workers=1)
    until(lambda: not waiting(project))
    return project


def start_queue(project: Project, workers: int) -> None:
    """The workers keep its output open for as long as they live: not a pipe, which `run` would wait for."""
    project.run("sh", "-c", f"dvc queue start -j {workers} > ../queue.txt 2>&1")


def until(condition: Callable[[], bool], seconds: int = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def waiting(project: Project) -> bool:
    """Whether an experiment is queued or running."""
    status = project.run("dvc", "queue", "status")
    return any(line.split()[-1:] in (["Queued"], ["Running"]) for line in status.splitlines())


def curves(project: Project) -> list[str]:
    """What running trainings have saved, of which `flow` takes six steps."""
    return [line for file in (project.folder / "work").glob("acoustic-*/curves.jsonl")
            for line in file.read_text().splitlines()]


def copy_of(project: Project, name: str) -> Project:
    """A clone, on a machine with none of the data."""
    project.run("git", "clone", "-q", "../remote.git", f"../{name}")
    return Project(project.folder.parent / name)


def test_an_idea_of_the_log_is_queued_at_demo_size(project: Project) -> None:
    """First of all, for a worker that has nothing to do would take it from the queue at once."""
    output = project.run("koe", "exp", "run", "log/nars2s_05_jsut_2_jsss_4", "--queue", "--on", "demo")
    assert "acoustic.energy.layers: 2 → 8" in output
    assert "log-nars2s_05_jsut_2_jsss_4-on-demo" in project.run("dvc", "queue", "status")
    queued = yaml.safe_load(project.run("git", "show", "refs/exps/celery/stash:params.yaml"))
    demo = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert (queued["corpora"], queued["acoustic"]["training"]) == (demo["corpora"], demo["acoustic"]["training"])
    assert (queued["acoustic"]["energy"]["layers"], demo["acoustic"]["energy"]["layers"]) == (8, 2)
    project.run("dvc", "queue", "remove", "--queued")


def test_queued_experiments_run_two_at_a_time_and_are_shown(ran: Project) -> None:
    assert "queued: flow, long" in ran.output  # type: ignore[attr-defined]
    table = ran.run("dvc", "exp", "show", "--csv").splitlines()
    assert {"flow", "long"} <= {line.split(",")[0] for line in table}
    again = ran.run("koe", "exp", "run", "flow", check=False)
    assert "run from this commit already: flow" in again


def test_an_interrupted_queued_experiment_goes_on_from_its_checkpoint(ran: Project) -> None:
    status = ran.status.splitlines()  # type: ignore[attr-defined]
    assert {line.split()[1]: line.split()[-1] for line in status[1:3]} == {"flow": "Success", "long": "Failed"}
    assert RESUMED in ran.run("dvc", "queue", "logs", "long")
    assert list((ran.folder / "work").glob("acoustic-*")) == []


def test_an_experiment_is_noted_shared_applied_and_removed(ran: Project) -> None:
    ran.run("koe", "exp", "note", "flow", "pitch learns faster")
    for command in (("git", "push", "-q", "origin", "HEAD:master"), ("dvc", "push", "-q"),
                    ("dvc", "exp", "push", "-q", "origin", "flow")):
        ran.run(*command)
    clone = copy_of(ran, "home")
    clone.run("dvc", "exp", "pull", "-q", "origin", "flow")
    assert "Koe: pitch learns faster" in clone.run("koe", "exp", "list")
    shown = clone.run("koe", "exp", "show", "flow")
    assert "acoustic.pitch.stop_gradient: True → False" in shown and "pitch learns faster" in shown
    clone.run("dvc", "exp", "apply", "flow")
    assert not yaml.safe_load((clone.folder / "params.yaml").read_text())["acoustic"]["pitch"]["stop_gradient"]
    assert (clone.folder / "models/acoustic/model.json").is_file()
    clone.run("dvc", "exp", "branch", "flow", "better")
    assert "pitch learns faster" in clone.run("git", "log", "better")
    clone.run("dvc", "exp", "remove", "flow")
    assert "flow" not in clone.run("dvc", "exp", "list", "--name-only", "--all-commits")


def test_a_clone_without_data_has_nothing_to_do_and_trains_on_pulled_features(ran: Project) -> None:
    ran.run("git", "push", "-q", "origin", "HEAD:master")
    ran.run("dvc", "push", "-q")
    clone = copy_of(ran, "box")
    again = clone.run("dvc", "repro", "--pull", "--allow-missing")
    assert clone.stages_run(again) == ["scan"]
    assert not (clone.folder / "data/corpus").exists()
    clone.run("dvc", "pull", "extract", "pair", "stats", "align", "embed")
    trained = clone.run("dvc", "exp", "run", "-s", "-n", "wide", "-S", "acoustic.encoder.hidden=48", "train_acoustic")
    assert clone.stages_run(trained) == ["train_acoustic"]
    clone.run("dvc", "exp", "push", "-q", "origin", "wide")
    ran.run("dvc", "exp", "pull", "-q", "origin", "wide")
    ran.run("dvc", "get", "-q", ".", "models/acoustic/model.json", "--rev", "wide", "-o", "work/wide.json")
    assert read_json(ran.folder / "work/wide.json")["acoustic"]["encoder"]["hidden"] == 48


def test_the_same_commit_gives_the_same_metrics_to_the_digit(ran: Project) -> None:
    assert "metrics in 2 files are identical" in ran.run("koe", "exp", "verify", "flow")
