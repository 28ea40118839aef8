"""Tables keep what they were given, and refuse what was not declared."""

import math
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.errors import StoreError
from koe.tables import Place, Table

PRICES = Table("prices.csv", {"article": str, "count": int, "price": float, "weight": float | None})
FRAME = pd.DataFrame({"article": ["001", "NA"], "count": [3, 4], "price": [0.5, 1 / 3], "weight": [None, 2.0]})


@pytest.mark.parametrize("column", ["sentence", "note", "article", "anything at all", "1"])
def test_text_stays_text_under_any_name(tmp_path: Path, column: str) -> None:
    texts = ["001", "1e3", "NA", "nan", "null", "None", "", " 7", "True", "a, \"b\"\nc", "日本語"]
    table = Table("t.csv", {column: str, "frames": int})
    table.write(tmp_path, pd.DataFrame({column: texts, "frames": range(len(texts))}))
    assert list(table.read(tmp_path)[column]) == texts


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["001", "NA", "", ",", '"', '""', "\n", "\r", "\r\n", "a\rb", "#", "'", "\t", " ", "1e5"])
_SIX_DIGITS = st.floats(-1e30, 1e30).map(lambda value: float(f"{value:.6g}"))
_MICROSECONDS = st.integers(0, 10**11).map(lambda micro: micro / 10**6)


@settings(deadline=None)
@given(st.lists(st.tuples(_TEXT, _TEXT, st.integers(-2**63, 2**63 - 1), _SIX_DIGITS, st.none() | _SIX_DIGITS,
                          st.none() | _MICROSECONDS), max_size=4))
def test_what_is_read_is_what_was_written(rows: list[tuple]) -> None:
    table = Table("t.csv", {"name": str, "text": str, "count": int, "level": float, "focus": float | None,
                            "start": Place | None})
    with tempfile.TemporaryDirectory() as folder:
        table.write(folder, pd.DataFrame(rows, columns=list(table.columns)))
        read = table.read(folder)
    assert read.dtypes.map(str).to_dict() == {"name": "str", "text": "str", "count": "int64", "level": "float64",
                                              "focus": "float64", "start": "float64"}
    assert len(read) == len(rows)
    for row, (name, text, count, level, focus, start) in zip(read.itertuples(), rows, strict=True):
        assert (row.name, row.text, row.count) == (name, text, count)
        assert row.level == pytest.approx(level, rel=1e-12)
        for found, expected in ((row.focus, focus), (row.start, start)):
            assert math.isnan(found) if expected is None else found == pytest.approx(expected, rel=1e-12)


@given(_TEXT)
def test_a_table_of_one_text_column(text: str) -> None:
    table = Table("t.csv", {"text": str})
    with tempfile.TemporaryDirectory() as folder:
        table.write(folder, pd.DataFrame({"text": [text]}))
        assert list(table.read(folder)["text"]) == [text]


def test_the_same_table_gives_the_same_bytes_and_little_noise(tmp_path: Path) -> None:
    table = Table("t.csv", {"seconds": float})
    for name, value in (("a", 0.1 + 0.2), ("b", 0.3)):
        table.write(tmp_path / name, pd.DataFrame({"seconds": [value]}))
    assert (tmp_path / "a/t.csv").read_bytes() == (tmp_path / "b/t.csv").read_bytes()


def test_places_in_a_long_recording_keep_their_microseconds(tmp_path: Path) -> None:
    table = Table("t.csv", {"start": Place | None, "samples": int, "seconds": float})
    table.write(tmp_path, pd.DataFrame({"start": [12345.678912, None], "samples": [3, 12345678],
                                        "seconds": [12345.678912, 1.0]}))
    assert (tmp_path / "t.csv").read_text() == "start,samples,seconds\n12345.678912,3,12345.7\n,12345678,1\n"


@pytest.mark.parametrize("frame", [PRICES.empty(), pd.DataFrame(columns=list(PRICES.columns))], ids=["kept", "lost"])
def test_a_table_without_rows_keeps_its_columns_and_their_types(tmp_path: Path, frame: pd.DataFrame) -> None:
    PRICES.write(tmp_path, frame)
    assert (tmp_path / "prices.csv").read_text() == "article,count,price,weight\n"
    pd.testing.assert_frame_equal(PRICES.read(tmp_path), PRICES.empty())


def test_columns_are_in_the_declared_order(tmp_path: Path) -> None:
    PRICES.write(tmp_path, FRAME[["weight", "price", "article", "count"]])
    assert list(PRICES.read(tmp_path)) == list(PRICES.columns)
    assert (tmp_path / "prices.csv").read_text().startswith("article,count,price,weight\n001,3,0.5,\n")


@pytest.mark.parametrize(("frame", "message"), [
    (FRAME.drop(columns="weight"), "has no column weight; columns are declared with the Table"),
    (FRAME.assign(colour="red"), "has a column colour, which is unknown; expected article"),
    (FRAME.assign(article=[1, 2]), "column article holds integer values; expected text"),
    (FRAME.assign(article=["a", None]), "column article lacks a value in row 1; expected text in all"),
    (FRAME.assign(count=[1.5, 2.0]), "column count holds floating values; expected whole numbers"),
    (FRAME.assign(price=["1", "2"]), "column price holds string values; expected numbers"),
    (FRAME.assign(price=[1.0, math.nan]), "column price lacks a value in row 1; expected numbers in all"),
])
def test_what_is_not_declared_is_not_written(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    PRICES.write(tmp_path, FRAME)
    before = (tmp_path / "prices.csv").read_bytes()
    with pytest.raises(StoreError, match=rf"prices\.csv: .*{message}"):
        PRICES.write(tmp_path, frame)
    assert (tmp_path / "prices.csv").read_bytes() == before


@pytest.mark.parametrize(("content", "message"), [
    (None, r"prices\.csv does not exist"),
    ("", r"prices\.csv cannot be read"),
    ("article,count,price\na,1,2\n", "the file has no column weight"),
    ("article,count,price,weight,colour\na,1,2,3,red\n", "the file has a column colour, which is unknown"),
    ("article,count,price,weight\na,1.5,2,3\n", "column count should hold whole numbers"),
    ("article,count,price,weight\na,,2,3\n", "column count should hold whole numbers"),
    ("article,count,price,weight\na,1,dear,3\n", "column price should hold numbers .*dear"),
    ("article,count,price,weight\na,1,,3\n", "column price has empty cells; expected numbers in all"),
])
def test_a_file_that_is_not_the_table_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "prices.csv").write_text(content)
    with pytest.raises(StoreError, match=rf"{message}.*; run dvc repro"):
        PRICES.read(tmp_path)


def test_further_columns_only_where_they_are_declared(tmp_path: Path) -> None:
    table = Table("t.csv", {"pair": str}, others=float | None)
    frame = pd.DataFrame({"pair": ["007"], "dtw.cost": [0.25], "learned.focus": [None]})
    table.write(tmp_path, frame)
    read = table.read(tmp_path)
    assert list(read) == list(frame) and read["dtw.cost"][0] == 0.25 and math.isnan(read["learned.focus"][0])
    with pytest.raises(StoreError, match=r"column dtw\.cost holds string values"):
        table.write(tmp_path, frame.assign(**{"dtw.cost": "much"}))


@pytest.mark.parametrize("kind", [bool, list, str | None, int | None, int | float, "str"])
def test_a_kind_that_no_cell_can_keep_cannot_be_declared(kind: object) -> None:
    with pytest.raises(TypeError, match="cannot be of kind"):
        Table("t.csv", {"column": kind})  # type: ignore[dict-item]
