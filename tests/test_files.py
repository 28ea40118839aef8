"""Files appear whole or not at all."""

import errno
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from koe.errors import KoeError
from koe.files import left_behind, read_json, replacing, temporary_prefix, write_json


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
    write_json(tmp_path / "a.json", {"loss": 1})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": bad})
    assert read_json(tmp_path / "a.json") == {"loss": 1}


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


def test_an_error_without_a_reason_on_a_full_disk_is_that_of_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile says "System error.", and PyTorch "unexpected pos 704 vs 598"."""
    for free, kind in ((4096, KoeError), (2**30, RuntimeError)):
        monkeypatch.setattr("koe.files.shutil.disk_usage", lambda _, free=free: shutil._ntuple_diskusage(0, 0, free))
        with pytest.raises(kind), replacing(tmp_path / "a.wav"):
            raise RuntimeError("System error.")
    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_told_from_those_that_are_being_written(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".koe-{ended.pid}-abcdefgh.json"
    for path in (left, tmp_path / f"{temporary_prefix()}abcdefgh", tmp_path / ".hidden"):
        path.touch()
    with replacing(tmp_path / "a.json") as temporary:
        assert temporary.name.startswith(temporary_prefix())
        assert list(left_behind(tmp_path)) == [left]


@pytest.mark.parametrize("name", ["x" * 251 + ".wav", "x" * 255, "." + "x" * 200])
def test_temporary_names_are_short_hidden_and_keep_the_suffix(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        assert temporary.name.startswith(".koe-") and len(temporary.name) < 40
        assert temporary.suffix == (".wav" if name.endswith(".wav") else "")
        temporary.write_text("all")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"file/a cannot be written: (Not a directory|File exists)"
    with pytest.raises(KoeError, match=message), replacing(tmp_path / "file" / "a"):
        pass
