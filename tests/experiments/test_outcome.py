"""What a run left, read from git and DVC as it was, from a remote where it is not here, or said to be missing."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.parameters import PIPELINE

from koe.errors import KoeError, ParameterError
from koe.experiments.outcome import Outcome, code_used, made, open_outcome, parameters_used
from koe.store import ShardWriter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")
PAIR, CONDITION = "demo/s1/ann-bob", "griffin_lim.converted"
BELOW = Path("pipelines/other")


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *arguments], check=True,
                   capture_output=True)


def write_results(value: int, pipeline: Path = Path()) -> None:
    pipeline.mkdir(parents=True, exist_ok=True)
    (pipeline / "params.yaml").write_text(f"seed: {value}\nvocoder: {{model: hifigan}}\n")
    for folder in ("metrics", "data"):
        shutil.rmtree(pipeline / folder, ignore_errors=True)
    (pipeline / "metrics").mkdir()
    (pipeline / "metrics/evaluation.csv").write_text(f"pair,condition,mcd_db\n{PAIR},{CONDITION},{value}\n")
    with ShardWriter(pipeline / "data/evaluation") as writer:
        writer.add(PAIR, **{CONDITION: np.full(100, value, np.int16)})


@pytest.fixture(scope="module")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository with two tagged revisions, and a remote that has all of both. One pipeline is at its
    root, and one in a folder, whose numbers are ten times as large.
    """
    repo = pytest.importorskip("dvc.repo")
    root, remote = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        git("init", "--quiet")
        with repo.Repo.init(".") as project:
            with project.config.edit() as config:
                config["core"] = {"remote": "store", "analytics": False}
                config["remote"]["store"] = {"url": str(remote)}
            for name, value in (("first", 1), ("second", 2)):
                write_results(value)
                write_results(10 * value, BELOW)
                project.add([str(pipeline / name) for pipeline in (Path(), BELOW)
                             for name in ("metrics/evaluation.csv", "data/evaluation")])
                git("add", "--all")
                git("commit", "--quiet", "-m", name)
                git("tag", name)
                project.push()
    return root


@pytest.fixture()
def project(made_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test is."""
    root = tmp_path / "project"
    shutil.copytree(made_project, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("KOE_WORK", raising=False)
    return root


def test_a_revision_is_read_as_it_was_while_the_workspace_stays(project: Path) -> None:
    write_results(3)
    for name, value in (("first", 1), ("second", 2), ("workspace", 3)):
        outcome = open_outcome(name, PIPELINE)
        assert outcome.params["seed"] == value
        assert outcome.utterances["mcd_db"].tolist() == [value]
        assert set(outcome.audio(PAIR, CONDITION)) == {value}
    assert Path("metrics/evaluation.csv").read_text().endswith(",3\n")


def test_a_pipeline_below_the_root_has_outcomes_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(".dvc/cache")
    monkeypatch.chdir(BELOW)
    outcome = open_outcome("second", PIPELINE)
    assert (outcome.params["seed"], outcome.utterances["mcd_db"].tolist()) == (20, [20])
    assert set(outcome.audio(PAIR, CONDITION)) == {20}
    with pytest.raises(KoeError, match="has no metrics/train_acoustic"):
        outcome.curves("train_acoustic")


def test_what_was_read_once_is_kept(project: Path) -> None:
    assert open_outcome("first", PIPELINE).utterances["mcd_db"].tolist() == [1]
    shutil.rmtree(".dvc/cache")
    again = open_outcome("first", PIPELINE)
    again.files._system = None  # type: ignore[attr-defined]  # DVC is not asked
    assert again.utterances["mcd_db"].tolist() == [1]


def test_what_is_not_here_comes_from_the_remote(project: Path) -> None:
    shutil.rmtree(".dvc/cache")
    assert set(open_outcome("first", PIPELINE).audio(PAIR, CONDITION)) == {1}


@pytest.mark.parametrize("path", ["metrics/evaluation.csv", "data/evaluation"])
def test_what_is_nowhere_is_named_with_what_to_do(project: Path, path: str) -> None:
    shutil.rmtree(".dvc/cache")
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")
    with pytest.raises(KoeError, match=rf"first \([0-9a-f]{{7}}\): {path} is neither in DVC's cache nor .*dvc push"):
        open_outcome("first", PIPELINE).files(path)
    assert not list(Path("work").rglob("*.*"))  # nothing half


def test_what_a_run_never_had_is_said(project: Path) -> None:
    with pytest.raises(KoeError, match=r"second \([0-9a-f]{7}\) has no metrics/train_acoustic"):
        open_outcome("second", PIPELINE).curves("train_acoustic")
    with pytest.raises(KoeError, match="workspace: metrics/train_acoustic does not exist; run dvc repro"):
        open_outcome("workspace", PIPELINE).curves("train_acoustic")


def test_the_label_has_the_revision_where_that_says_more() -> None:
    commit = "0123456789abcdef"
    runs = (("best", commit), ("012345", commit), ("workspace", None))
    names = [Outcome(name, at, Path, PIPELINE).label for name, at in runs]
    assert names == ["best (0123456)", "012345", "workspace"]


def test_parameters_of_another_version_are_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mel: {bands: 80}\n")
    outcome = Outcome("old", None, lambda path: tmp_path / path, PIPELINE)
    with pytest.raises(ParameterError, match=r"old: section mel of its params.yaml does not fit this version"):
        _ = outcome.mel


def test_a_small_number_in_dvc_lock_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: {train: {params: {params.yaml: {rate: 1e-05}}}}\n")  # as DVC writes it
    outcome = Outcome("workspace", None, lambda path: tmp_path / path, PIPELINE)
    assert parameters_used(outcome.lock) == {"rate": 1e-5}


def test_dvc_lock_tells_parameters_code_and_data() -> None:
    lock = yaml.safe_load("""
      import@demo: {outs: [{path: data/corpus/demo, md5: a.dir}]}
      evaluate:
        deps:
          - {path: src/koe/convert.py, md5: b}
          - {path: data/corpus/demo, md5: a.dir}
          - {path: stages/evaluate.py, md5: c}
          - {path: ../../stages/scan.py, md5: d}
        params: {params.yaml: {seed: 1, mel: {n_mels: 80}}}
    """)
    assert parameters_used(lock) == {"seed": 1, "mel": {"n_mels": 80}}
    assert code_used(lock) == {"src/koe/convert.py": "b", "stages/evaluate.py": "c", "../../stages/scan.py": "d"}
    assert made(lock, "data/corpus") == {"data/corpus/demo": "a.dir"}
