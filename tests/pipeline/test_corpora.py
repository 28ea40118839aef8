"""Recordings outside the repository, and recordings that DVC has: what a change re-runs, and what it leaves alone."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

from koe.corpus.tables.features import FEATURES

from .conftest import Project, make_project

pytestmark = pytest.mark.slow

SPEAKERS = {"ann": 210.0, "bob": 120.0}
EXTRACTED = ("extract@outside", "extract@inside")


def _record(folder: Path, sentence: str, voice: Any, suffix: str = ".wav") -> None:
    for speaker, f0 in SPEAKERS.items():
        path = folder / speaker / f"{sentence}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(0.6, f0, 16000, 0.2, seed=int(sentence)), 16000)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, voice: Any) -> Project:
    """Two corpora of synthetic voices, one outside the repository and one that DVC has, extracted."""
    made = make_project(tmp_path_factory.mktemp("corpora") / "project")
    for number in range(3):
        _record(made.folder.parent / "mount", str(number), voice)
        _record(made.folder / "recordings", str(number), voice, ".flac")
    made.run("dvc", "add", "-q", "recordings")
    params = yaml.safe_load((made.folder / "params.yaml").read_text())
    common = {"importer": "folders", "language": "en", "source": "ann", "target": "bob"}
    params["corpora"] = {"outside": {**common, "path": str(made.folder.parent / "mount"), "hash": "stat"},
                         "inside": {**common, "path": "recordings"}}
    params["acoustic"]["conditioning"]["by"] = "learned"
    (made.folder / "params.yaml").write_text(yaml.safe_dump(params))
    made.run("dvc", "repro", *EXTRACTED)
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "two corpora")
    return made


def test_both_are_read_where_they_lie(project: Project) -> None:
    for corpus in ("outside", "inside"):
        assert len(FEATURES.read(project.folder / f"data/features/{corpus}")) == 6
    assert not list((project.folder / "data").rglob("*.wav"))  # nothing is copied


def test_a_recording_more_re_runs_its_corpus_alone_and_one_less_brings_back_the_cached(
    project: Project, voice: Any
) -> None:
    mount = project.folder.parent / "mount"
    _record(mount, "7", voice)
    again = project.stages_run(project.run("dvc", "repro", *EXTRACTED))
    assert again == ["scan", *(f"{stage}@outside" for stage in ("import", "resample", "trim", "extract"))]
    assert len(FEATURES.read(project.folder / "data/features/outside")) == 8
    for speaker in SPEAKERS:
        (mount / speaker / "7.wav").unlink()
    assert project.stages_run(project.run("dvc", "repro", *EXTRACTED)) == ["scan"]
    assert len(FEATURES.read(project.folder / "data/features/outside")) == 6


def test_where_the_mount_is_missing_the_recorded_state_counts(project: Project) -> None:
    mount = project.folder.parent / "mount"
    mount.rename(mount.with_name("elsewhere"))
    output = project.run("dvc", "repro", *EXTRACTED)
    assert project.stages_run(output) == ["scan"]
    assert "outside: no recordings at" in output
    assert project.run("git", "status", "--porcelain") == ""
    mount.with_name("elsewhere").rename(mount)
