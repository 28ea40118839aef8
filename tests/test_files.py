"""Files appear whole or not at all; tables keep what they were given."""

import errno
import math
from pathlib import Path

import pandas as pd
import pytest
from safetensors import SafetensorError

from koe.errors import KoeError
from koe.files import read_json, read_table, replacing, write_json, write_table


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with replacing(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"声": [1, 2.5, None, True], "b": {"c": "é"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "声" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(tmp_path: Path, bad: float) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": bad})
    assert read_json(tmp_path / "a.json") == 1


def test_identifiers_stay_text_and_numbers_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({
        "sentence": ["001", "1e3", "NA"], "speaker": ["NA", "nan", "null"], "text": ["", "a, \"b\"\nc", "日本語"],
        "note": ["007", "", "None"], "frames": [1, 2, 3], "seconds": [0.5, math.nan, 1 / 3],
    })
    write_table(tmp_path / "t.csv", table)
    read = read_table(tmp_path / "t.csv", text=("note",))
    for column in ("sentence", "speaker", "text", "note"):
        assert list(read[column]) == list(table[column])
    assert read["frames"].dtype == "int64"
    assert read["seconds"][0] == 0.5 and math.isnan(read["seconds"][1])
    assert read["seconds"][2] == pytest.approx(1 / 3, rel=1e-5)


def test_the_same_table_gives_the_same_bytes_and_little_noise(tmp_path: Path) -> None:
    for name, value in (("a", 0.1 + 0.2), ("b", 0.3)):
        write_table(tmp_path / name, pd.DataFrame({"seconds": [value]}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame(columns=["pair", "cost"]))
    assert list(read_table(tmp_path / "t.csv").columns) == ["pair", "cost"]


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "full"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
], ids=["system", "safetensors"])
def test_a_full_disk_is_named_with_the_file(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KoeError, match=r"file\.txt: the disk is full"), replacing(path):
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_in_a_long_recording_keep_their_microseconds(tmp_path: Path) -> None:
    table = pd.DataFrame({"start": [12345.678912, None], "end": [3, 4], "seconds": [12345.678912, 1.0]})
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text().splitlines() == ["start,end,seconds", "12345.678912,3,12345.7", ",4,1"]
    assert read_table(tmp_path / "t.csv")["start"].isna().tolist() == [False, True]
