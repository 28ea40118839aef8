"""The table in the terminal."""

from pathlib import Path

from rich.console import Console
from support.parameters import PIPELINE

from koe.files import read_json
from koe.report.summary import print_summary


def _printed(evaluation: dict, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        print_summary(evaluation, PIPELINE.evaluation, console)
    return captured.get()


def test_fits_a_terminal_and_loses_no_digit(project: Path) -> None:
    text = _printed(read_json(project / "metrics/evaluation.json"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = {line[:27].strip(): line[27:].split() for line in text.splitlines()}
    assert rows["converted, Griffin-Lim"] == ["5.90", "0.190", "0.60", "12.0", "1.01", "0.84", "24.0", "13.0", "2.20"]
    assert rows["converted, harmonic + noise"] == ["12.40", "–", "–", "30.0", "1.01", "0.60", "90.0", "70.0", "–"]
    assert list(rows)[-1] == "target"


def test_nothing_evaluated_prints_headings_only() -> None:
    text = _printed({"utterances": 0})
    assert "MCD" in text
    assert "source" not in text
