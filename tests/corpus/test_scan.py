"""What stands for a corpus' folder: it changes when a recording does, and needs no recordings to stay."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from koe.corpus import scan
from koe.corpus.params import CorpusParams
from koe.corpus.scan import scan_corpus
from koe.errors import KoeError
from koe.files import read_json

LONG_AGO = 1_600_000_000_000_000_000  # ns


def put(path: Path, content: bytes, time: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    return path


@pytest.fixture()
def corpus(tmp_path: Path) -> Path:
    """Two speakers' recordings."""
    for number in range(3):
        put(tmp_path / "raw" / "ann" / f"{number}.wav", b"ann %d" % number)
        put(tmp_path / "raw" / "bob" / f"日本 {number}.wav", b"bob %d" % number)
    return tmp_path / "raw"


def scanned(path: Path, hash: str = "content", importer: str = "folders") -> dict[str, Any] | None:
    place = path.parent
    params = CorpusParams(importer=importer, path=str(path), hash=hash)  # type: ignore[arg-type]
    found = scan_corpus("my", params, place / "data", place / "cache")
    assert found is None or found == read_json(place / "data" / "my.json")
    return found


@pytest.mark.parametrize("hash", ["content", "stat"])
def test_files_and_bytes_are_counted_and_nothing_changes_by_itself(corpus: Path, hash: str) -> None:
    first = scanned(corpus, hash)
    assert first is not None and first.keys() == {"hash", "files", "bytes", "digest"}
    assert (first["hash"], first["files"], first["bytes"]) == (hash, 6, 30)
    assert scanned(corpus, hash) == first


@pytest.mark.parametrize("hash", ["content", "stat"])
@pytest.mark.parametrize("change", ["added", "removed", "renamed", "other content", "moved to the other speaker"])
def test_a_change_shows(corpus: Path, hash: str, change: str) -> None:
    before = scanned(corpus, hash)
    file = corpus / "ann" / "1.wav"
    if change == "added":
        put(corpus / "ann" / "deeper" / "3.wav", b"")
    elif change == "removed":
        file.unlink()
    elif change == "renamed":
        file.rename(corpus / "ann" / "9.wav")
    elif change == "moved to the other speaker":
        file.rename(corpus / "bob" / "1.wav")
    else:
        put(file, b"ANN 1", LONG_AGO + 1)
    after = scanned(corpus, hash)
    assert before and after and after["digest"] != before["digest"]


def test_by_content_a_touched_or_copied_corpus_is_the_same(corpus: Path, tmp_path: Path) -> None:
    before = scanned(corpus)
    put(corpus / "ann" / "1.wav", b"ann 1", LONG_AGO + 10**9)
    assert scanned(corpus) == before
    corpus.rename(tmp_path / "elsewhere")
    assert scanned(tmp_path / "elsewhere") == before


def test_by_stat_a_touched_file_is_another_and_none_is_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_content", lambda file: pytest.fail(f"{file} was read"))
    before = scanned(corpus, "stat")
    put(corpus / "ann" / "1.wav", b"ann 1", LONG_AGO + 10**9)
    after = scanned(corpus, "stat")
    assert before and after and after["digest"] != before["digest"]


def test_a_file_is_read_once_unless_it_changes(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    content = scan._content
    monkeypatch.setattr(scan, "_content", lambda file: read.append(file.name) or content(file))
    scanned(corpus)
    assert len(read) == 6
    put(corpus / "ann" / "1.wav", b"ANN 1", LONG_AGO + 1)
    put(corpus / "ann" / "4.wav", b"ann 4")
    scanned(corpus)
    assert sorted(read[6:]) == ["ann/1.wav", "ann/4.wav"]
    scanned(corpus)
    assert len(read) == 8


def test_a_file_that_may_still_change_within_its_time_is_read_again(corpus: Path) -> None:
    file = corpus / "ann" / "1.wav"
    file.write_bytes(b"ann x")
    time = file.stat().st_mtime_ns
    before = scanned(corpus)
    put(file, b"ann y", time)
    after = scanned(corpus)
    assert before and after and after["digest"] != before["digest"]


def test_what_no_importer_reads_does_not_count(corpus: Path) -> None:
    before = scanned(corpus)
    put(corpus / ".cache" / "1.wav", b"x")
    put(corpus / "ann" / ".DS_Store", b"x")
    (corpus / "empty").mkdir()
    assert scanned(corpus) == before


def test_links_count_as_what_they_lead_to_and_circles_end(corpus: Path, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "mount" / "cal" / "0.wav", b"cal 0")
    (corpus / "cal").symlink_to(elsewhere.parent)
    (corpus / "bob" / "round").symlink_to(corpus)
    (corpus / "ann" / "broken.wav").symlink_to(tmp_path / "nowhere")
    before = scanned(corpus)
    assert before and before["files"] == 6 + 1 + 1
    put(elsewhere, b"CAL 0", LONG_AGO + 1)
    after = scanned(corpus)
    assert after and after["digest"] != before["digest"]


def test_a_name_that_is_no_unicode_and_a_file_that_cannot_be_read(corpus: Path) -> None:
    put(Path(os.fsdecode(os.fsencode(corpus) + b"/ann/\xff.wav")), b"")
    if os.geteuid():
        (corpus / "bob" / "日本 1.wav").chmod(0)
    first = scanned(corpus)
    assert first and first["files"] == 7 and scanned(corpus) == first


@pytest.mark.parametrize("hash", ["content", "stat"])
def test_what_is_no_file_is_looked_at_and_not_opened(corpus: Path, hash: str) -> None:
    """Opening a pipe would wait for ever, and a device has no end."""
    before = scanned(corpus, hash)
    os.mkfifo(corpus / "ann" / "pipe.wav")
    for name, target in {"zero": "/dev/zero", "self": "self", "long": "x" * 300}.items():
        (corpus / "ann" / f"{name}.wav").symlink_to(target)
    after = scanned(corpus, hash)
    assert before and after
    assert (after["files"], after["bytes"]) == (before["files"] + 4, before["bytes"])
    assert after["digest"] != before["digest"] and scanned(corpus, hash) == after


def test_one_odd_row_of_a_table_stops_nothing(corpus: Path, tmp_path: Path) -> None:
    os.mkfifo(corpus / "pipe.wav")
    rows = ["raw/ann/1.wav", "raw/pipe.wav", "/dev/zero", "y" * 5000, "a\0b.wav", "raw/ann"]
    table = put(tmp_path / "my.csv", "\n".join(["path", *rows, ""]).encode())
    found = scanned(table, importer="table")
    assert found and found["files"] == 1 + len(rows) and found["bytes"] == len(b"ann 1") + table.stat().st_size


def test_a_folder_inside_that_cannot_be_read_does_not_stop_the_rest(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "bob":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(scan.os, "scandir", refused)
    found = scanned(corpus)
    assert found and found["files"] == 3 + 1


def test_what_was_remembered_may_be_damaged(corpus: Path) -> None:
    before = scanned(corpus)
    for damage in (b"", b"[1", b"[]", b"\xff"):
        put(corpus.parent / "cache" / "my.json", damage)
        assert scanned(corpus) == before


@pytest.mark.parametrize("hash", ["content", "stat"])
def test_a_table_counts_with_the_files_it_names(corpus: Path, tmp_path: Path, hash: str) -> None:
    table = put(tmp_path / "my.csv", "path, speaker\nraw/ann/1.wav,ann\n\"raw/ann/1.wav\",ann\n\n"
                                     "raw/bob/日本 0.wav,bob\nlost.wav,bob\n".encode())
    before = scanned(table, hash, "table")
    assert before and before["files"] == 1 + 3
    put(corpus / "ann" / "2.wav", b"not named", LONG_AGO + 1)
    assert scanned(table, hash, "table") == before
    put(corpus / "ann" / "1.wav", b"named", LONG_AGO + 1)
    changed = scanned(table, hash, "table")
    assert changed and changed["digest"] != before["digest"]
    put(table, table.read_bytes(), LONG_AGO + 1)
    assert scanned(table, hash, "table") == changed
    put(table, table.read_bytes().replace(b",bob", b",cal"))
    renamed = scanned(table, hash, "table")
    assert renamed and renamed["digest"] != changed["digest"]


@pytest.mark.parametrize("absent", ["gone", "not mounted"])
def test_without_the_corpus_the_recorded_state_stays(corpus: Path, absent: str) -> None:
    before = scanned(corpus)
    corpus.rename(corpus.with_name("away"))
    if absent == "not mounted":
        corpus.mkdir()
    assert scanned(corpus) is None
    assert read_json(corpus.parent / "data" / "my.json") == before


def test_a_table_whose_files_are_elsewhere_keeps_the_recorded_state(corpus: Path, tmp_path: Path) -> None:
    table = put(tmp_path / "my.csv", b"path\nraw/ann/1.wav\n")
    before = scanned(table, importer="table")
    corpus.rename(tmp_path / "away")
    assert scanned(table, importer="table") is None
    assert read_json(tmp_path / "data" / "my.json") == before


def test_without_the_corpus_and_a_recorded_state_the_parameter_is_named(tmp_path: Path) -> None:
    with pytest.raises(KoeError, match=r"corpora.my.path: there are no recordings at .*nowhere, and no .*my.json"):
        scanned(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_read_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(scan.os, "scandir", refused)
    with pytest.raises(KoeError, match=r"corpora.my.path: .*raw cannot be read \(Permission denied\)"):
        scanned(corpus)


@pytest.mark.parametrize("importer, path, message", [
    ("jvs", "jvs_ver1.zip", "corpora.my.path: .*jvs_ver1.zip cannot be read .Not a directory"),
    ("table", "raw", "corpora.my.path: .*raw cannot be read .Is a directory"),
    ("table", "broken.csv", "broken.csv, line 2: field larger"),
])
def test_a_path_of_the_wrong_kind_is_named(
    corpus: Path, tmp_path: Path, importer: str, path: str, message: str
) -> None:
    put(tmp_path / "jvs_ver1.zip", b"PK\x03\x04\0\0")
    put(tmp_path / "broken.csv", b"path\n\"" + b"x" * 200_000)
    with pytest.raises(KoeError, match=message):
        scanned(tmp_path / path, importer=importer)


def test_the_stage_loads_nothing_that_takes_long(root: Path) -> None:
    code = "import sys, koe.corpus.scan, koe.workspace; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONPATH": str(root / "src")}).stdout.split()
    assert {"pandas", "torch", "numpy", "soundfile", "joblib"}.isdisjoint(loaded)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 5000, b"[1]", b'{"1 2 3 ann/1.wav": 7}'])
def test_a_damaged_cache_is_made_again(corpus: Path, content: bytes) -> None:
    before = scanned(corpus)
    for cache in corpus.parent.rglob("my.json"):
        if cache.parent.name != "data":
            cache.write_bytes(content)
            break
    else:
        pytest.fail("no cache")
    assert scanned(corpus) == before
    assert read_json(cache)


def test_a_damaged_recorded_state_is_named_when_it_is_needed(corpus: Path) -> None:
    scanned(corpus)
    (corpus.parent / "data/my.json").write_bytes(b'{"hash": "content"')
    corpus.rename(corpus.with_name("away"))
    with pytest.raises(KoeError, match=r"data/my\.json is not JSON.*git checkout"):
        scanned(corpus)
