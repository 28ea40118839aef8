"""Recordings listed in a CSV file."""

import os
from pathlib import Path

import pytest
from support.spoken_sentences import STELLA, YES

from koe.corpus.importers.registry import IMPORTERS
from koe.errors import KoeError


@pytest.fixture()
def recordings(tmp_path: Path, record) -> Path:
    record(tmp_path / "audio" / "ann 1.wav", STELLA)
    record(tmp_path / "elsewhere" / "bob.flac", YES)
    return tmp_path


def _table(folder: Path, *lines: str, header: str = "path,speaker,sentence,text,start,end,gender,language") -> Path:
    (folder / "list.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return folder / "list.csv"


def test_rows(recordings: Path, run) -> None:
    file = _table(recordings, 'audio/ann 1.wav,ann,001,"Please, call Stella.",,,female,',
                  "audio/ann 1.wav,ann,002,Stella,0.25,0.75,female,fr",
                  f"{recordings}/elsewhere/bob.flac,bob,001,Please call Stella,,0.3,,", "gone.wav,bob,002,,,,,")
    result = run("table", file, language="en", source="ann", target="bob")
    row = result.table.loc["ann/002"]
    assert tuple(row[["start", "end", "seconds", "gender", "language", "role"]]) == (
        0.25, 0.75, 0.5, "female", "fr", "source")
    assert result.column("language") == {"ann/001": "en", "ann/002": "fr", "bob/001": "en"}
    assert result.column("seconds")["bob/001"] == 0.3
    assert result.column("text")["ann/001"] == "Please, call Stella."
    assert result.quarantine == {"bob/002": "missing_file"}


def test_names_and_places_that_cannot_be(recordings: Path, run) -> None:
    file = _table(recordings, "audio/ann 1.wav,ann,ok,", "audio/ann 1.wav,ann,a/b,", "audio/ann 1.wav,ann,twice,",
                  "elsewhere/bob.flac,ann,twice,", "audio/ann 1.wav,ann,late,90",
                  header="path,speaker,sentence,start")
    result = run("table", file)
    assert result.quarantine == {"ann/a/b": "unusable_name", "ann/twice": "sentence_twice",
                                 "ann/late": "outside_its_file"}
    assert list(result.table["sentence"]) == ["ok"]
    assert result.note("no stated language").startswith("1 recordings")


def test_styles_are_optional_and_keep_recordings_of_a_sentence_apart(recordings: Path, run) -> None:
    file = _table(recordings, "audio/ann 1.wav,ann,001,", "audio/ann 1.wav,ann,001,cafe\u0301",
                  "audio/ann 1.wav,ann,002,angry", "audio/ann 1.wav,ann,002,angry", "audio/ann 1.wav,ann,003,a/b",
                  header="path,speaker,sentence,style")
    result = run("table", file)
    assert result.column("style") == {"ann/001": "", "ann/001/caf\u00e9": "caf\u00e9"}
    assert result.column("sentence") == {"ann/001": "001", "ann/001/caf\u00e9": "001"}
    assert result.quarantine == {"ann/002/angry": "sentence_twice", "ann/003/a/b": "unusable_name"}


@pytest.mark.parametrize(("header", "line", "message"), [
    ("path,speaker", "a,b", r"line 1: columns path, speaker; expected path, speaker, sentence and optionally text"),
    ("path,speaker,sentence,speed", "a,b,c,d", "line 1: columns path, speaker, sentence, speed; expected"),
    ("path,speaker,sentence,start", "a,b,c,soon", "line 2: start 'soon'; expected seconds"),
    ("path,speaker,sentence,gender", "a,b,c,F", "line 2: gender 'F'; expected female, male"),
    ("path,speaker,sentence", "a,,c", "line 2: no speaker"),
    ("path,speaker,sentence", "a,b,c,d", "line 2: not 3 values; quote values with commas"),
])
def test_malformed_files_are_named(tmp_path: Path, run, header: str, line: str, message: str) -> None:
    with pytest.raises(KoeError, match=rf"list\.csv, {message}"):
        run("table", _table(tmp_path, line, header=header))
    with pytest.raises(KoeError, match=r"corpora\.c\.path: .*nowhere\.csv is not a file; expected CSV with columns"):
        run("table", tmp_path / "nowhere.csv")


@pytest.mark.parametrize("importer", sorted(set(IMPORTERS) - {"demo"}))
@pytest.mark.parametrize("place", ["pipe", "loop", "x" * 300, "a\0b", "nowhere"])
def test_a_path_to_nothing_usable_is_named_by_every_importer(tmp_path: Path, run, importer: str, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(KoeError, match=r"corpora\.c\.path: "):
        run(importer, tmp_path / place)


def test_match_by_text(recordings: Path, run) -> None:
    file = _table(recordings, "audio/ann 1.wav,ann,001,Please call Stella.",
                  "elsewhere/bob.flac,bob,7,PLEASE call stella",
                  "audio/ann 1.wav,ann,003,", "elsewhere/bob.flac,bob,003,...", header="path,speaker,sentence,text")
    result = run("table", file, match="text")
    assert result.table["sentence"].value_counts().to_dict() == {
        result.table["sentence"].iloc[1]: 2, "ann_003": 1, "bob_003": 1}


def test_one_odd_path_is_one_row(recordings: Path, run) -> None:
    os.mkfifo(recordings / "pipe.wav")
    file = _table(recordings, "audio/ann 1.wav,ann,ok", "pipe.wav,ann,pipe", "/dev/zero,ann,device", ".,ann,folder",
                  "a\0b,ann,nul", "x" * 300 + ",ann,long", header="path,speaker,sentence")
    result = run("table", file)
    assert list(result.table["sentence"]) == ["ok"]
    assert result.quarantine == {"ann/pipe": "not_a_file", "ann/device": "not_a_file", "ann/folder": "not_a_file",
                                 "ann/nul": "unreadable", "ann/long": "unreadable"}
