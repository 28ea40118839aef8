"""Without a terminal, progress is lines with a rate and an end."""

import re

import pytest

from koe import progress as module
from koe.progress import progress


def test_what_is_soon_done_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), "count", 3)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("total", "of"), [(4, "4"), (None, r"\?")])
def test_lines_of_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], total: int | None, of: str
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 1e-9)
    assert list(progress(range(4), "count", total)) == [0, 1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 4
    assert all(re.fullmatch(rf"count: \d of {of}, +\S+, \S+ left", line) for line in lines), lines
