"""Starting from a model by its name in DVC: `init.from` as the stages see it, in a repository of its own."""

import json
import re
import shutil

import pytest
import yaml

from koe.files import read_json

from .conftest import ROOT, Project

pytestmark = pytest.mark.slow

TRAINS = {"acoustic": "train_acoustic", "vocoder": "finetune_vocoder"}
KINDS = pytest.mark.parametrize("kind", TRAINS)
STAGES = {
    "stages": {
        "scan": {"cmd": "PYTHONPATH=src python stages/scan.py", "params": ["corpora", "acoustic.init", "vocoder.init"],
                 "always_changed": True, "outs": [{"data/scan": {"cache": False, "persist": True}}]},
        **{stage: {"cmd": f"PYTHONPATH=src:stages python train.py {kind}", "params": [kind, "seed"],
                   "deps": [f"data/scan/{kind}.init.json"], "outs": [f"models/{kind}"]}
           for kind, stage in TRAINS.items()},
    },
    "artifacts": {kind: {"path": f"models/{kind}", "type": "model"} for kind in TRAINS},
}
# In place of the real one: a model that says its seed, its run, and what it started from.
TRAIN = """
import sys
from koe.files import write_json
from koe.pipeline.models import find_model
from koe.tasks.conversion.schema import load_params
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.vocoder.model_kind import VOCODER
from koe.workspace import work_root
params, kind = load_params(), {"acoustic": ACOUSTIC, "vocoder": VOCODER}[sys.argv[1]]
origin, run = getattr(params, kind.section).init.origin, f"{kind.section}-{params.seed}"
provenance = {"run": run, "seed": params.seed, "init": find_model(kind, origin).origin() if origin else None}
write_json(f"models/{kind.section}/{kind.card}", {"provenance": provenance})
(work_root() / run / "kept").mkdir(parents=True, exist_ok=True)
(work_root() / run / "kept" / "00000500.safetensors").write_text(run)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One model of each kind committed, as version 1.0.0, and others as an experiment."""
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
    for kind in TRAINS:
        made.set(f"{kind}.init.from", None)
    made.run("dvc", "repro")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "first")
    for kind in TRAINS:
        made.run("git", "tag", f"{kind}@v1.0.0")
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


@pytest.mark.parametrize(("kind", "name", "run"), [
    ("acoustic", "other", "acoustic-2"), ("acoustic", "acoustic", "acoustic-1"),
    ("acoustic", "acoustic@v1.0.0", "acoustic-1"), ("acoustic", "HEAD@500", "acoustic-1"),
    ("acoustic", ".:other@500", "acoustic-2"), ("vocoder", "other@500", "vocoder-2"),
    ("vocoder", "vocoder@v1.0.0", "vocoder-1"),
])
def test_experiments_artifacts_and_revisions_are_found(project: Project, kind: str, name: str, run: str) -> None:
    assert json.loads(found(project, kind, name).splitlines()[-1])["run"] == run


@pytest.mark.parametrize(("name", "message"), [
    ("nothing", "experiments: .*other.*artifacts .*: acoustic"),
    ("other@700", "that checkpoint of run acoustic-2 is not on this machine; there are 500"),
    ("work:other", "work is not a pipeline"),
])
def test_what_is_no_model_is_told(project: Project, name: str, message: str) -> None:
    assert re.search(f"KoeError: acoustic.init.from: {name}.*{message}",
                     found(project, "acoustic", name, check=False))


def found(project: Project, kind: str, name: str, check: bool = True) -> str:
    """What the stages find under a name."""
    wing = {"acoustic": "koe.tasks.conversion", "vocoder": "koe.vocoder"}[kind]
    code = (f"import json, koe.pipeline.models, {wing}.model_kind as kinds; "
            f"print(json.dumps(koe.pipeline.models.find_model(kinds.{kind.upper()}, {name!r}).origin()))")
    return project.run("env", "PYTHONPATH=src:stages", "python", "-c", code, check=check)


@KINDS
def test_dvc_notices_another_model_in_the_folder_to_start_from(project: Project, kind: str) -> None:
    project.run("git", "checkout", "-qf", ".")
    project.run("dvc", "checkout", "-q")
    other = project.folder / "work" / "base"
    card = other / {"acoustic": "model.json", "vocoder": "vocoder.json"}[kind]
    other.mkdir(parents=True)
    card.write_text('{"provenance": {"run": "a"}}')
    project.set(f"{kind}.init.from", "work/base")
    assert project.stages_run(project.run("dvc", "repro")) == ["scan", TRAINS[kind]]
    card.write_text('{"provenance": {"run": "b"}}')
    assert project.stages_run(project.run("dvc", "repro")) == ["scan", TRAINS[kind]]
    shutil.rmtree(other)  # as on a machine that never had it
    output = project.run("dvc", "repro")
    assert project.stages_run(output) == ["scan"]
    assert "work/base is not on this machine; its recorded state is used" in output
