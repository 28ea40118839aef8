"""The table of cut points: what `Dataset` and the report read."""

from pathlib import Path

import pytest

from koe.audio.samples import to_int16
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.tables.cuts import CUTS
from koe.corpus.trimming import trim_corpus
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params

RATE = 22050


@pytest.fixture()
def resampled(voice, tmp_path: Path) -> Path:
    folder = tmp_path / "resampled" / "my"
    with ShardWriter(folder, {"sample_rate": RATE}) as writer:
        for number in range(6):
            writer.add(f"my/ann/s{number}", audio=to_int16(voice(0.6, f0=100 + 20 * number, silence=0.1 * number))[0])
    return folder


def test_table(resampled: Path, params: Params, tmp_path: Path) -> None:
    trim_corpus(resampled, tmp_path / "out", params.trim, threads=1)
    table = CUTS.read(tmp_path / "out")
    assert list(table["utterance"]) == [f"my/ann/s{number}" for number in range(6)]
    assert (table["suspect"] == 0).all() and (table["why"] == "").all()
    assert table["head_seconds"][5] == pytest.approx(0.45, abs=0.03)
    assert table["head_seconds"][0] == 0 and table["start"][0] == 0
    assert ((table["end"] - table["start"]) / RATE).between(0.6, 0.85).all()
    assert QUARANTINE.read(tmp_path / "out").empty


def test_lesson_10_suspects_are_marked_and_kept(resampled: Path, params: Params, tmp_path: Path) -> None:
    planted = params.trim.model_copy(update={"head_db": -3.0, "tail_db": -3.0, "margin_seconds": 0.0,
                                             "min_silence_seconds": 0.0})
    table = trim_corpus(resampled, tmp_path / "out", planted, threads=2)
    assert len(table) == 6
    assert table["suspect"].sum() >= 4
    assert all(why for why in table.loc[table["suspect"] == 1, "why"])


def test_the_number_of_threads_changes_nothing(resampled: Path, params: Params, tmp_path: Path) -> None:
    for threads in (1, 2):
        trim_corpus(resampled, tmp_path / str(threads), params.trim, threads)
    assert (tmp_path / "1" / "trim.csv").read_bytes() == (tmp_path / "2" / "trim.csv").read_bytes()
