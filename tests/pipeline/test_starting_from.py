"""Starting from a model by its name in DVC: `acoustic.init.from` as the stages see it, in a repository of its own."""

import json
import re
import shutil

import pytest
import yaml

from koe.files import read_json

from .conftest import ROOT, Project

pytestmark = pytest.mark.slow

STAGES = {
    "stages": {
        "scan": {"cmd": "PYTHONPATH=src python stages/scan.py", "params": ["corpora", "acoustic.init"],
                 "always_changed": True, "outs": [{"data/scan": {"cache": False, "persist": True}}]},
        "train_acoustic": {"cmd": "PYTHONPATH=src:stages python train.py", "params": ["acoustic", "seed"],
                           "deps": ["data/scan/acoustic.init.json"], "outs": ["models/acoustic"]},
    },
    "artifacts": {"acoustic": {"path": "models/acoustic", "type": "model"}},
}
# In place of the real one: a model that says its seed, its run, and what it started from.
TRAIN = """
from pathlib import Path
from koe.files import write_json
from koe.params import load_params
from koe.workspace import work_root
from revisions import find_model
params = load_params()
origin, run = params.acoustic.init.origin, f"acoustic-{params.seed}"
provenance = {"run": run, "seed": params.seed, "init": find_model(origin).origin() if origin else None}
write_json("models/acoustic/model.json", {"provenance": provenance})
(work_root() / run / "kept").mkdir(parents=True, exist_ok=True)
(work_root() / run / "kept" / "00000500.safetensors").write_text(run)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One model committed, as version 1.0.0, and another as an experiment."""
    folder = tmp_path_factory.mktemp("starting") / "project"
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    (folder / "train.py").write_text(TRAIN)
    made = Project(folder)
    made.run("git", "init", "-q")
    made.run("dvc", "init", "-q")
    made.run("git", "config", "user.name", "Koe")
    made.run("git", "config", "user.email", "koe@example.org")
    made.set("seed", 1)
    made.run("dvc", "repro")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "first")
    made.run("git", "tag", "acoustic@v1.0.0")
    made.run("dvc", "exp", "run", "-n", "other", "-S", "seed=2")
    made.run("git", "checkout", "-qf", ".")
    made.run("dvc", "checkout", "-q")
    return made


def test_lesson_21_a_kept_step_of_an_experiment_starts_a_queued_one(project: Project) -> None:
    """In a temporary workspace, which has neither the experiment nor the work folder."""
    project.run("dvc", "exp", "run", "--temp", "-n", "next", "-S", "acoustic.init.from=other@500", "-S", "seed=3")
    project.run("dvc", "get", ".", "models/acoustic", "--rev", "next", "-o", "work/next")
    origin = read_json(project.folder / "work/next/model.json")["provenance"]["init"]
    assert (origin["from"], origin["run"]) == ("other@500", "acoustic-2")


@pytest.mark.parametrize(("name", "run"), [
    ("other", "acoustic-2"), ("acoustic", "acoustic-1"), ("acoustic@v1.0.0", "acoustic-1"), ("HEAD@500", "acoustic-1"),
    (".:other@500", "acoustic-2"),
])
def test_experiments_artifacts_and_revisions_are_found(project: Project, name: str, run: str) -> None:
    assert json.loads(found(project, name).splitlines()[-1])["run"] == run


@pytest.mark.parametrize(("name", "message"), [
    ("models/acoustic", "is what train_acoustic writes"),
    ("nothing", "experiments: .*other.*artifacts .*: acoustic"),
    ("other@700", "that checkpoint of run acoustic-2 is not on this machine; there are 500"),
    ("work:other", "work is no DVC repository"),
])
def test_what_is_no_model_is_told(project: Project, name: str, message: str) -> None:
    assert re.search(f"KoeError: acoustic.init.from: {name}.*{message}", found(project, name, check=False))


def found(project: Project, name: str, check: bool = True) -> str:
    """What the stages find under a name."""
    code = f"import json, revisions; print(json.dumps(revisions.find_model({name!r}).origin()))"
    return project.run("env", "PYTHONPATH=src:stages", "python", "-c", code, check=check)


def test_dvc_notices_another_model_in_the_folder_to_start_from(project: Project) -> None:
    other = project.folder / "work" / "base"
    other.mkdir(parents=True)
    (other / "model.json").write_text('{"provenance": {"run": "a"}}')
    project.set("acoustic.init.from", "work/base")
    assert project.stages_run(project.run("dvc", "repro")) == ["scan", "train_acoustic"]
    (other / "model.json").write_text('{"provenance": {"run": "b"}}')
    assert project.stages_run(project.run("dvc", "repro")) == ["scan", "train_acoustic"]
    shutil.rmtree(other)  # as on a machine that never had it
    output = project.run("dvc", "repro")
    assert project.stages_run(output) == ["scan"]
    assert "work/base is not here; its recorded state is used" in output
