"""The quarantine: counts, the line that is printed, and stopping when nothing is left."""

from pathlib import Path

import pytest

from koe.corpus.quarantine import Quarantine, read_quarantine
from koe.errors import KoeError


@pytest.fixture()
def quarantine() -> Quarantine:
    quarantine = Quarantine("resample")
    for name, reason in (("a", "too_short"), ("b", "clipping"), ("c", "clipping")):
        quarantine.add(f"my/ann/{name}", reason, f"{name}.wav: because")
    return quarantine


def test_counts_the_most_frequent_first(quarantine: Quarantine) -> None:
    assert list(quarantine.counts().items()) == [("clipping", 2), ("too_short", 1)]
    assert quarantine.summary() == "3 quarantined (clipping 2, too_short 1)"
    assert Quarantine("trim").summary() == ""


def test_lesson_23_rows_survive_writing_and_reading(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.write(tmp_path / "a")
    Quarantine("trim").write(tmp_path / "b")
    rows = read_quarantine([tmp_path / "a", tmp_path / "b"])
    assert rows.to_dict("records") == quarantine.rows


def test_nothing_left_stops_with_reason_example_and_advice(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.require_some(1, tmp_path, "check")
    with pytest.raises(KoeError) as caught:
        quarantine.require_some(0, tmp_path, "check the recordings")
    for part in ("resample", "clipping 2", "b.wav: because", "check the recordings", "quarantine.csv"):
        assert part in str(caught.value)
