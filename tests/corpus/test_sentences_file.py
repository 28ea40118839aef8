"""Files of sentences: read in order, and every malformed line named."""

import csv
import tempfile
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.corpus.sentences_file import read_csv, read_lines, read_sentences
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


BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines ends a line and a text list does not
TEXT = st.text(st.sampled_from("aé声\"', ." + BREAKS) | st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("letter", BREAKS)
def test_lines_end_at_line_ends_alone(tmp_path: Path, end: str, letter: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(f"1\tOne {letter} half.{end}2\t{letter}Two.{letter}{end}{letter}{end}".encode())
    assert read_sentences(path) == {"1": "One half.", "2": "Two."}
    assert read_lines(path)[:2] == ["1\tOne half.", "2\t Two. "]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_end_in_quotes_is_a_space(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'file,text{end}a,"Good{end}morning."{end}b,One\u2028two.{end}'.encode())
    assert [row["text"] for _, row in read_csv(path, ["file", "text"])] == ["Good morning.", "One two."]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.tsv").write_bytes("1\tOne.\n2\tTwo.\n".encode(encoding))
    with pytest.raises(KoeError, match=r"a\.tsv: not UTF-8 .*; save it as UTF-8"):
        read_sentences(tmp_path / "a.tsv")


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=5), st.booleans(),
       st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]))
def test_a_csv_table_is_read_as_it_was_written(
    rows: list[tuple[str, str]], mark: bool, form: tuple[str, Literal[0, 1]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        with path.open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator=form[0], quoting=form[1])
            writer.writerows([("name", "text"), *((f"x{name}", text) for name, text in rows)])
        read = [row for _, row in read_csv(path, ["name"], ["text"])]
    assert [(row["name"].split(), row["text"].split()) for row in read] == [
        (f"x{name}".split(), text.split()) for name, text in rows]


@settings(deadline=None)
@given(st.lists(TEXT.map(lambda text: " ".join(text.replace("\0", "").split())).filter(bool), max_size=5),
       st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_list_is_read_as_it_was_written(texts: list[str], end: str) -> None:
    lines = [f"s{number}\t{text}{end}" for number, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tsv"
        path.write_bytes("".join(lines).encode())
        assert read_sentences(path) == {f"s{number}": text for number, text in enumerate(texts)}
