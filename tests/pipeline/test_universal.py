"""A second pipeline in the same project, a vocoder from recordings alone: everything works in its folder, and neither
pipeline touches the other's data.
"""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from .conftest import Project, tiny_vocoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def below(project: Project) -> Project:
    """pipelines/universal of the tiny project, whose root was run; its recordings are four of the demo's sentences."""
    folder = project.folder / "pipelines/universal"
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["corpora"] = {"few": {"importer": "demo", "path": "../../src/koe/corpus/sentences", "language": "en",
                                 "speakers": ["heart", "joe"], "utterances": 4}}
    tiny_vocoder(values["vocoder"])
    values["vocoder"]["training"]["true_mels"] = 1.0
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "experiments/slow.yaml").write_text(
        "purpose: a lower rate\nparameters: {vocoder.training.schedule.learning_rate: 1.0e-4}\n")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "universal, not run")
    made = Project(project.folder)
    made.folder = folder
    return made


def digests(root: Path) -> dict[str, str]:
    """What the root's pipeline has."""
    files = (file for name in ("data", "models", "metrics") for file in (root / name).rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_two_pipelines_do_not_meet(project: Project, below: Project) -> None:
    """In one test, because each part starts from what the last one left."""
    before = digests(project.folder)

    # While it was never run, the root goes on as if it were not there.
    assert "ERROR" not in project.run("dvc", "checkout", "--allow-missing")
    project.run("dvc", "exp", "run", "-n", "reported", "-S", "report.utterances=1", "report")
    project.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    assert "reported is in the workspace" in project.run("koe", "exp", "apply", "reported")
    assert digests(project.folder) != before
    project.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    project.run("dvc", "checkout", "--allow-missing")
    assert digests(project.folder) == before

    # By its path from the root, and again from its folder.
    output = project.run("dvc", "repro", "pipelines/universal/dvc.yaml")
    names = [name.rpartition(":")[2] for name in project.stages_run(output)]
    assert names == ["scan", "import@few", "resample@few", "trim@few", "extract@few", "train_vocoder"]
    assert "written to models/vocoder" in output
    assert below.stages_run(below.run("dvc", "repro")) == ["scan"]
    card = json.loads((below.folder / "models/vocoder/vocoder.json").read_text())
    assert card["provenance"]["utterances"] == {"train": 6, "validation": 2}  # one sentence, of both speakers
    assert "hifigan" not in card["vocoder"] and card["vocoder"]["model"] == "harmonic_noise"
    assert digests(project.folder) == before
    assert project.stages_run(project.run("dvc", "repro", "dvc.yaml")) == ["scan"]
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "universal")

    # Commands in its folder.
    assert "every parameter is valid" in below.run("koe", "check-params")
    assert "few" in below.run("koe", "check")
    assert "slow" in below.run("koe", "exp", "list")
    below.set("vocoder.training.true_mels", 0.5)
    refused = below.run("dvc", "repro", "train_vocoder", check=False)
    assert "vocoder.training.true_mels: 0.5, but this pipeline has no generated mels" in refused
    below.run("git", "checkout", "-q", "params.yaml")
    below.run("koe", "exp", "run", "slow")
    difference = below.run("dvc", "metrics", "diff", "--json", "HEAD", "slow")
    assert any(json.loads(difference.splitlines()[-1]).values())
    assert "index.html" in below.run("dvc", "plots", "diff", "HEAD", "slow", "-o", "plots")
    assert "slow" in below.run("dvc", "exp", "show", "--csv")
    below.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    below.run("koe", "exp", "apply", "slow")
    training = yaml.safe_load((below.folder / "params.yaml").read_text())["vocoder"]["training"]
    assert training["schedule"]["learning_rate"] == 1e-4
    below.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    below.run("dvc", "checkout", "--allow-missing")

    # Queued, in a temporary checkout.
    below.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "seed=3")
    below.run("sh", "-c", "dvc exp run --run-all > queue.txt 2>&1")
    assert "queued" in below.run("dvc", "exp", "show", "--csv")
    assert json.loads((below.folder / "models/vocoder/vocoder.json").read_text()) == card

    # To a remote and back.
    project.run("dvc", "remote", "add", "-q", "-d", "storage", str(project.folder.parent / "storage"))
    below.run("dvc", "push", "-q", "train_vocoder")
    model = below.folder / "models/vocoder/generator.safetensors"
    weights = model.read_bytes()
    project.run("rm", "-rf", "pipelines/universal/models", ".dvc/cache/files")
    below.run("dvc", "pull", "-q", "train_vocoder")
    assert model.read_bytes() == weights
