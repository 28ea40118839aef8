"""The two stages, run as DVC runs them."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from koe.files import read_json


@pytest.fixture()
def workspace(project: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project without what the stages write, and the process in it."""
    folder = Path(shutil.copytree(project, tmp_path / "workspace"))
    shutil.copy(root / "params.yaml", folder)
    (folder / "metrics/data.json").unlink()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(root / "stages"))
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.delitem(sys.modules, "pipeline", raising=False)  # tests/pipeline has the name of stages/pipeline.py
    return folder


def test_check_and_report(
    workspace: Path, project: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(root / "stages/check.py"), run_name="__main__")
    assert "11 of 12 utterances kept, 4 rows in quarantine; warnings: 10 " in capsys.readouterr().out
    assert read_json(workspace / "metrics/data.json") == read_json(project / "metrics/data.json")
    runpy.run_path(str(root / "stages/report.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.endswith("listen: metrics/report/index.html\n")
    assert "converted, Griffin-Lim" in printed
    assert (workspace / "metrics/report/index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
