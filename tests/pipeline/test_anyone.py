"""The pipeline of an acoustic model for any two speakers, and what begins with its model: the root's training."""

from pathlib import Path

import pytest
import yaml
from support.small_parameters import shrink_acoustic

from .conftest import Project, make_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """pipelines/anyone of a tiny project, with three voices; nothing was run."""
    project = make_project(tmp_path_factory.mktemp("anyone") / "project")
    folder = project.folder / "pipelines/anyone"
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["corpora"] = {"few": {"importer": "demo", "path": "sentences", "language": "en",
                                 "speakers": ["heart", "joe", "joe_fast"], "utterances": 6}}
    values["pair"] |= {"targets_per_source": 1, "validation": 1, "test": 1}
    shrink_acoustic(values["acoustic"], 32, steps=4, batch_size=2, log_every=2, validate_every=2, checkpoint_every=2)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    made = Project(project.folder)
    made.folder = folder
    return made


def test_its_model_is_packed_and_starts_one_of_two_speakers(below: Project) -> None:
    assert sorted(below.stages_run(below.run("dvc", "repro"))) == sorted([
        "scan", *(f"{stage}@few" for stage in ("import", "resample", "trim", "extract")), "pair", "embed", "stats",
        "train_aligner", "align", "train_acoustic"])
    shipped = Path("../../models/pretrained/anyone")
    below.run("koe", "pack", "models/acoustic", str(shipped))
    weights, packed = ((below.folder / folder / "model.safetensors").stat().st_size
                       for folder in ("models/acoustic", shipped))
    assert packed < 0.6 * weights

    root = Project(below.folder.parents[1])
    root.set("corpora.demo.utterances", 8)
    root.set("pair.validation", 1)
    root.set("pair.test", 1)
    root.set("acoustic.init.from", "models/pretrained/anyone")
    output = root.run("dvc", "repro", "train_acoustic")
    assert ("voices.*: what the embeddings of demo/heart and demo/joe add is now in reduce.bias and "
            "encoder.blocks.0.norm.bias") in output
    assert "statistics: those of models/pretrained/anyone; their own for demo/heart, demo/joe" in output
