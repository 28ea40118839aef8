"""docs/adding-a-task.md, as it stands: a task in a folder of its own trains, resumes, and is shown and compared."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import Project, make_project

pytestmark = pytest.mark.slow
DOC = Path(__file__).resolve().parents[2] / "docs/adding-a-task.md"
_BLOCK = re.compile(r"```(?:yaml|python)\n# (pipelines/\S+)\n(.*?)```", re.S)
FILES = dict(_BLOCK.findall(DOC.read_text()))


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The task in a project with what it reads, its dvc.yaml written and committed, nothing of it run."""
    project = make_project(tmp_path_factory.mktemp("task") / "project")
    project.run("dvc", "repro", "pair")
    for name, text in FILES.items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project.run("koe", "pipeline", "write", "pipelines/copy")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "copy synthesis")
    below = Project(project.folder)
    below.folder = project.folder / "pipelines/copy"
    return below


def test_a_task_takes_few_lines() -> None:
    assert set(FILES) == {f"pipelines/copy/{name}" for name in (
        "params.yaml", "stages/pipeline.py", "stages/train_copier.py", "stages/evaluate.py")}
    lines = [line for text in FILES.values() for line in text.splitlines() if line.strip()]
    assert len(lines) < 150


def test_a_task_trains_resumes_and_is_compared(copying: Project) -> None:
    killed = subprocess.Popen(["dvc", "repro", "train_copier"], cwd=copying.folder, env=copying.environment,
                              start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = copying.folder / "work"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("copier-*/last.safetensors")) and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    was_killed = bool(list(checkpoints.glob("copier-*/last.safetensors")))
    for lock in (copying.folder.parents[1] / ".dvc/tmp").glob("*lock"):
        lock.unlink()  # DVC's own, which a killed DVC leaves behind
    output = copying.run("dvc", "repro")
    assert ("copier: continuing a run that was interrupted" in output) == was_killed
    copying.run("git", "add", "-A")
    copying.run("git", "commit", "-qm", "first run")

    copying.run("dvc", "exp", "run", "-n", "slower", "-S", "copier.training.schedule.learning_rate=0.001")
    shown = copying.run("dvc", "exp", "show", "--csv")
    header, *rows = shown.strip().splitlines()
    assert "mel_l1" in header and any("slower" in row for row in rows)
    assert "listen: page/index.html" in copying.run("koe", "page")
    page = (copying.folder / "page/index.html").read_text()
    assert "Copy synthesis" in page and "Mel L1" in page and page.count("<audio") >= 2
    copying.run("koe", "exp", "compare", "HEAD", "slower")
    compared = (copying.folder / "comparison/index.html").read_text()
    assert "Mel L1" in compared and "slower" in compared
    assert "copier.training.schedule.learning_rate" in compared
    refused = copying.run("dvc", "exp", "run", "-S", "copier.training.steps=0", check=False)
    assert "copier.training.steps" in refused and "Traceback" not in refused
