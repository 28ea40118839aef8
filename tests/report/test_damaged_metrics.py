"""Metrics and counts that were cut, or that something else wrote: one line that names the file."""

from pathlib import Path
from typing import Any

import pytest
from support.parameters import ROOT
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError
from koe.files import read_json, write_json


def error_of(command: str, folder: Path) -> BaseException | None:
    """What `koe <command> --metrics <folder>` ends with, which `koe` prints as one line if it is a KoeError."""
    return CliRunner().invoke(koe.cli.app, [command, "--metrics", str(folder)]).exception


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("value", [7, None, "text", [], {"kept": "many"}])
def test_counts_of_another_form_are_named(project: Path, tmp_path: Path, value: Any) -> None:
    counts = read_json(project / "metrics/data.json")
    write_json(tmp_path / "data.json", counts)
    assert error_of("check", tmp_path) is None
    for name in ("utterances", "hours", "corpora", "quarantined", "directions", "duplicates"):
        write_json(tmp_path / "data.json", counts | {name: value})
        error = error_of("check", tmp_path)
        assert isinstance(error, KoeError) and "data.json" in str(error), name


@pytest.mark.parametrize("content", [b"", b'{"source"', b"\xff", b"[1]", b'{"source": {"mcd_db": "text"}}'])
def test_metrics_that_are_no_numbers_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evaluation.json").write_bytes(content)
    error = error_of("summary", tmp_path)
    assert isinstance(error, KoeError) and "evaluation.json" in str(error)
