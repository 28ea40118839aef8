"""Files of sentences: read in order, and every malformed line named."""

import unicodedata
from pathlib import Path

import pytest

from koe.corpus.sentences_file import read_csv, read_sentences
from koe.errors import KoeError


def test_sentences_in_the_files_order(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("\ufeffb\tSecond letter, first line.\n\na\t朝です。\nNA\t001\n", encoding="utf-8")
    assert list(read_sentences(path).items()) == [
        ("b", "Second letter, first line."), ("a", "朝です。"), ("NA", "001")]


def test_ids_are_normalised(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(unicodedata.normalize("NFD", "é") + "\ttext", encoding="utf-8")
    assert read_sentences(path) == {"\u00e9": "text"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\tone\nb two\n", "line 2.*id<TAB>text"), (b"a\tone\n\ttwo\n", "line 2"), (b"a\t \n", "line 1"),
     (b"a\tone\nb\ttwo\na\tthree\n", "line 3.*'a' occurs twice"), (b"a\t\xff\xfe", "not UTF-8")],
)
def test_malformed_lines_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(KoeError, match=rf"a\.tsv.*{message}"):
        read_sentences(tmp_path / "a.tsv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KoeError, match=r"b\.tsv cannot be read"):
        read_sentences(tmp_path / "b.tsv")


@pytest.mark.parametrize(("language", "least"), [("en", 250), ("ja", 250)])
def test_the_projects_own_sentences(root: Path, language: str, least: int) -> None:
    sentences = read_sentences(root / f"src/koe/corpus/sentences/{language}.tsv")
    assert len(sentences) >= least
    assert len(set(sentences.values())) == len(sentences)


def test_csv_rows_come_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufefffile, text\na.wav," Yes, you"\n\nb.wav,\n', encoding="utf-8")
    assert list(read_csv(tmp_path / "a.csv", ["file"], ["text", "note"])) == [
        (2, {"text": "Yes, you", "note": "", "file": "a.wav"}), (4, {"text": "", "note": "", "file": "b.wav"})]


@pytest.mark.parametrize(("content", "message"), [
    ("", "line 1: columns none; expected file"), ("text\nx\n", "line 1: columns text; expected file"),
    ("file,size\na,b\n", "line 1"), ("file,text\n,b\n", "line 2: no file"),
    ("file,text\na,b,c\n", "line 2: not 2 values"),
    ("file,text\na\n", "line 2: not 2 values"), ('file,text\na,"b\n', "line 2")])
def test_malformed_csv_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(KoeError, match=rf"a\.csv, {message}"):
        list(read_csv(tmp_path / "a.csv", ["file"], ["text"]))
