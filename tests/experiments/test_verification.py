"""Computing a commit again, with the real DVC, on a pipeline of one stage that counts how often it ran."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError
from koe.experiments.dvc import dvc, git
from koe.experiments.verification import verify

pytestmark = pytest.mark.slow

BELOW = "pipelines/other"  # a pipeline in a folder, beside the one at the root

# Its metric is a number of its parameters, data added to DVC, and the work folder, as a resumed training's might be.
STAGE = """
import json, os, pathlib
work = pathlib.Path(os.environ.get("KOE_WORK", "work"))
work.mkdir(exist_ok=True)
runs = len(list(work.iterdir()))
(work / f"run{runs}").touch()
metrics = pathlib.Path("metrics")
metrics.mkdir(exist_ok=True)
value = json.loads(pathlib.Path("params.yaml").read_text())["value"]
data = len(pathlib.Path("data.txt").read_text())
(metrics / "a.json").write_text(json.dumps({"value": value, "data": data, "none": float("nan"), "continued": runs}))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After a run, committed."""
    folder = tmp_path_factory.mktemp("verification") / "repository"
    folder.mkdir()
    git("init", "-q", folder=folder)
    git("config", "user.name", "Koe", folder=folder)
    git("config", "user.email", "koe@example.org", folder=folder)
    dvc("init", "-q", folder=folder)
    git("commit", "-qm", "nothing yet", folder=folder)
    for pipeline, value in ((folder, 0.1), (folder / BELOW, 0.2)):
        pipeline.mkdir(parents=True, exist_ok=True)
        (pipeline / "params.yaml").write_text(json.dumps({"value": value}))
        (pipeline / "stage.py").write_text(STAGE)
        (pipeline / "data.txt").write_text("recordings")
        dvc("add", "-q", "data.txt", folder=pipeline)
        (pipeline / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"measure": {
            "cmd": "python stage.py", "params": ["value"], "deps": ["data.txt", "stage.py"],
            "outs": ["metrics/a.json"]}}}))
        dvc("repro", folder=pipeline)
    commit(folder, "run")
    return folder


def commit(folder: Path, message: str) -> None:
    git("add", "-A", ":(exclude,glob)**/work/**", folder=folder)
    git("commit", "-qm", message, folder=folder)


@pytest.fixture()
def project(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    return repository


def test_a_run_is_computed_again_without_what_it_left(project: Path) -> None:
    """Neither its lock file, nor the run cache, nor its work folder; else the stage would not run, or go on."""
    before = sorted(path for path in (project / ".dvc/cache").rglob("*"))
    shutil.rmtree(project / "metrics")
    result = CliRunner().invoke(koe.cli.app, ["exp", "verify", "HEAD"])
    assert result.exit_code == 0, result.output
    assert "all 4 metrics in 1 files are identical" in result.output
    assert sorted(path for path in (project / ".dvc/cache").rglob("*")) == before
    assert [path.name for path in (project / "work").iterdir()] == ["run0"]
    assert list((project / ".dvc/tmp/exps").glob("verify-*")) == []


def test_a_pipeline_below_the_root_is_computed_again_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / BELOW)
    result = CliRunner().invoke(koe.cli.app, ["exp", "verify", "HEAD"])
    assert result.exit_code == 0, result.output
    assert "all 4 metrics in 1 files are identical" in result.output
    assert [path.name for path in (project / BELOW / "work").iterdir()] == ["run0"]


def test_each_metric_that_differs_is_told(project: Path) -> None:
    dvc("checkout", "-q")
    recorded = project / "metrics/a.json"
    recorded.write_text(json.dumps({**json.loads(recorded.read_text()), "value": 0.10000000000000002, "gone": 1}))
    dvc("commit", "-q", "-f", "measure")
    commit(project, "another number")
    result = CliRunner().invoke(koe.cli.app, ["exp", "verify", "HEAD"])
    assert result.exit_code == 1
    assert "metrics/a.json.value: 0.10000000000000002 → 0.1\n" in result.output
    assert "metrics/a.json.gone: 1 → nothing\n" in result.output
    assert "2 of 5 metrics differ" in result.output


@pytest.mark.parametrize(("name", "message"), [
    ("workspace", "workspace is not a revision"), ("HEAD~2", "has no metrics: dvc.lock is not in it"),
])
def test_what_cannot_be_verified_is_told(project: Path, name: str, message: str) -> None:
    with pytest.raises(KoeError, match=message):
        verify(name)


def test_a_stage_that_fails_is_told(project: Path) -> None:
    (project / "stage.py").write_text("raise SystemExit(1)")
    commit(project, "broken")
    with pytest.raises(KoeError, match="cannot be run again: a stage failed"):
        verify("HEAD")


def test_metrics_that_are_not_on_this_machine_are_told(project: Path) -> None:
    shutil.move(project / ".dvc/cache", project / "elsewhere")
    try:
        with pytest.raises(KoeError, match="neither in DVC's cache nor on its remote"):
            verify("HEAD")
    finally:
        shutil.move(project / "elsewhere", project / ".dvc/cache")
