"""The committed dvc.yaml are what the stage scripts declare and run; what a change would re-run, and what not."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from koe.pipeline.closure import SOURCE, closure, code_digest
from koe.pipeline.writing import dvc_yaml, pipeline_folders, read_stage

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = pipeline_folders(ROOT)


@cache
def _stages(folder: Path) -> dict[str, dict]:
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    return {name: entry.get("do", entry) for name, entry in stages.items()}


def _script(folder: Path, stage: dict) -> Path:
    return folder / next(word for word in stage["cmd"].split() if word.endswith(".py"))


def _modules(script: Path) -> set[str]:
    return {file.relative_to(SOURCE / "koe").as_posix() for file in closure(script) if file.is_relative_to(SOURCE)}


ALL = [(folder, name) for folder in FOLDERS for name in _stages(folder)]
of_every_stage = pytest.mark.parametrize("folder, name", ALL, ids=[name for _, name in ALL])


def test_every_folder_of_pipelines_is_one() -> None:
    assert [ROOT, *sorted((ROOT / "pipelines").iterdir())] == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_the_committed_file_is_what_is_written(folder: Path) -> None:
    assert (folder / "dvc.yaml").read_text() == dvc_yaml(folder), "run koe pipeline write"


@of_every_stage
def test_stage_scripts_are_glue(folder: Path, name: str) -> None:
    body = _script(folder, _stages(folder)[name]).read_text().partition("STAGE = ")[2]
    assert len(body.splitlines()) <= 60


@of_every_stage
def test_what_decides_a_result_re_runs_the_stage(folder: Path, name: str) -> None:
    """The frame grid and the mel contract were in params.py, which was said to be without effect."""
    stage = _stages(folder)[name]
    modules = _modules(_script(folder, stage))
    assert ("audio/grid.py" in modules) == any(module in modules for module in (
        "audio/mel.py", "corpus/dataset.py", "corpus/scan.py", "vocoder/griffin_lim.py", "vocoder/registry.py",
        "align/aligner.py"))
    declared = {Path(dep) for dep in stage["deps"]}
    for file in closure(_script(folder, stage)):
        place = Path(file.relative_to(ROOT)) if folder == ROOT else Path("../..", file.relative_to(ROOT))
        if folder != ROOT and file.is_relative_to(folder):
            place = file.relative_to(folder)
        assert declared & {place, *place.parents}, file


def test_no_experiment_with_steps_extracts_again() -> None:
    names = {name: stage.get("params", []) for name, stage in _stages(ROOT).items()}
    factor = {name for name, params in names.items()
              if any("acoustic.reduction.factor.".startswith(f"{param}.") for param in params)}
    assert factor == {"train_aligner", "align", "train_acoustic", "report"}
    assert not any(param.startswith("acoustic") for param in [*names["extract"], *names["pair"]])


def test_pitch_module_matters_from_extract_on() -> None:
    users = {name for name, stage in _stages(ROOT).items() if "audio/pitch.py" in _modules(_script(ROOT, stage))}
    assert "extract" in users
    assert users.isdisjoint({"import", "resample", "trim", "pair", "align"})


def test_pipelines_write_different_folders() -> None:
    written = [(folder / (out if isinstance(out, str) else next(iter(out)))).resolve()
               for folder in FOLDERS for stage in _stages(folder).values() for out in stage["outs"]]
    assert len(written) == len(set(written))


def test_a_stage_sees_the_parameters_that_it_declares() -> None:
    for folder, name in ALL:
        stage = read_stage(_script(folder, _stages(folder)[name]))
        assert stage.name == name
        assert stage.parameters.names() == _stages(folder)[name].get("params", [])


def test_the_key_of_a_checkpoint_changes_with_everything_that_runs(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    script = tmp_path / "stage.py"
    script.write_text("from typing import TYPE_CHECKING\nimport helper\nfrom koe.randomness import seed_for\n"
                      "if TYPE_CHECKING:\n    import koe.vocoder.training\n")
    before = code_digest(script)
    names = {file.name for file in closure(script)}
    assert {"stage.py", "helper.py", "randomness.py"} <= names and "training.py" not in names
    (tmp_path / "helper.py").write_text("VALUE = 22\n")
    assert code_digest(script) != before


@pytest.mark.parametrize("module", ["align/durations.py", "evaluation/mel_distortion.py", "randomness.py", "steps.py"])
def test_a_training_run_is_of_all_of_its_modules(module: str) -> None:
    """These were missing from the list that was kept by hand (code_fingerprint)."""
    assert module in _modules(ROOT / "stages/train_acoustic.py")


def test_a_page_depends_on_its_templates() -> None:
    assert {"report/page.html.jinja", "report/macros.html.jinja", "report/page.css", "report/page.js"} <= _modules(
        ROOT / "stages/report.py")


def test_packages_import_nothing() -> None:
    assert [path for path in SOURCE.rglob("__init__.py") if path.parent.name != "koe" and path.stat().st_size] == []
