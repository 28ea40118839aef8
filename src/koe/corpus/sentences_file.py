"""Text files of a corpus, UTF-8: lines of `id<TAB>text`, and CSV tables.

Lines end at \\n, \\r\\n and \\r, and nowhere else: U+2028, U+0085, form feeds and their like, which programs leave
inside texts, are spaces in them, and so is a line end inside the quotes of a CSV table.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from koe.errors import KoeError

_BREAK = re.compile(r"[^\S\t]*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029][^\S\t]*")  # where str.splitlines ends a line
_BINARY = 0.25  # share of NUL characters from which a file is not text: UTF-16 without a mark has every other one


def one_line(text: str) -> str:
    """The text with a space for each line end, and for whatever else str.splitlines takes for one."""
    return _BREAK.sub(" ", text)


def read_lines(path: str | Path, expected: str = "lines of text") -> list[str]:
    """A file's lines, without their ends. Raises KoeError naming it if it is missing, not readable, or not UTF-8."""
    return [one_line(line) for line in _content(path, expected).removesuffix("\n").split("\n")]


def _content(path: str | Path, expected: str) -> str:
    """A file's text, each line end a \\n."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise KoeError(f"{path} cannot be read: it is not a file; expected {expected}")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise KoeError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from None
    except OSError as error:
        raise KoeError(f"{path} cannot be read ({error.strerror}); expected {expected}") from None
    if text.count("\0") > _BINARY * len(text):
        raise KoeError(f"{path}: not UTF-8 (NUL characters, as in UTF-16); save it as UTF-8")
    return text


def read_sentences(path: str | Path) -> dict[str, str]:
    """Texts by sentence id (NFC-normalised), in the file's order.

    Raises KoeError naming file and line: not UTF-8, no tab, no id, no text, a repeated id.
    """
    sentences: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, "lines of id<TAB>text"), start=1):
        if not line.strip():
            continue
        identifier, tab, text = (part.strip() if part != "\t" else part for part in line.partition("\t"))
        identifier = unicodedata.normalize("NFC", identifier)
        if not (identifier and tab and text):
            raise KoeError(f"{path}, line {number}: expected id<TAB>text, found {line[:60]!r}")
        if identifier in sentences:
            raise KoeError(f"{path}, line {number}: sentence {identifier!r} occurs twice")
        sentences[identifier] = text
    return sentences


def read_csv(
    path: str | Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields line number and stripped values of every row of a CSV file with a header; optional ones may be missing.

    A value is on one line (`one_line`). Raises KoeError naming file and line: not UTF-8, a column missing or unknown, a
    required value empty, a row of another length.
    """
    content = _content(path, f"CSV with columns {', '.join(required)}")
    rows = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    columns = [column.strip() for column in rows.fieldnames or []]
    missing = [column for column in required if column not in columns]
    unknown = [column for column in columns if column not in (*required, *optional)]
    if missing or unknown:
        raise KoeError(f"{path}, line 1: columns {', '.join(columns) or 'none'}; expected {', '.join(required)}"
                       + (f" and optionally {', '.join(optional)}" if optional else ""))
    rows.fieldnames = columns
    try:
        for row in rows:
            if None in row or None in row.values():
                raise KoeError(f"{path}, line {rows.line_num}: not {len(columns)} values; quote values with commas")
            values = dict.fromkeys(optional, "") | {column: one_line(value).strip() for column, value in row.items()}
            if empty := [column for column in required if not values[column]]:
                raise KoeError(f"{path}, line {rows.line_num}: no {empty[0]}")
            yield rows.line_num, values
    except csv.Error as error:
        raise KoeError(f"{path}, line {rows.reader.line_num}: {error}") from None
