"""A vocoder from recordings alone: a pipeline of one stage, beside the project's own."""

import json

import pytest

from .conftest import Project

pytestmark = pytest.mark.slow


def test_recordings_alone_make_a_vocoder(project: Project) -> None:
    refused = project.run("dvc", "repro", "universal/dvc.yaml", check=False)
    assert "vocoder.training.true_mels: 0.1, but this pipeline has no generated mels" in refused
    project.set("vocoder.training.true_mels", 1.0)
    output = project.run("dvc", "repro", "universal/dvc.yaml")
    assert project.stages_run(output) == ["scan", "universal/dvc.yaml:train_vocoder"]
    assert "written to models/universal" in output
    card = json.loads((project.folder / "models/universal/vocoder.json").read_text())
    assert card["provenance"]["utterances"] == {"train": 22, "validation": 2}  # one sentence, of both speakers
    assert (project.folder / "metrics/train_vocoder/metrics.json").exists()
    assert project.stages_run(project.run("dvc", "repro", "universal/dvc.yaml")) == ["scan"]
