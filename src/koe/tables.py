"""Tables as CSV files: a `Table` declares the kind of each column; nothing is guessed from cells."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

import pandas as pd

from koe.errors import StoreError
from koe.files import reason, replacing, require_regular


class Place(float):
    """Column kind: a position in a recording, s from its beginning, written to the microsecond however large it is."""


Kind = type | UnionType  # a key of _DTYPES, or `<kind> | None` where cells may be empty
_DTYPES: dict[type, str] = {str: "str", int: "int64", float: "float64", Place: "float64"}
_EXPECTED = {str: "text", int: "whole numbers", float: "numbers", Place: "seconds"}
_INFERRED = {  # what pandas calls the contents of a column of Python objects
    str: {"string", "empty"}, int: {"integer", "empty"},
    float: {"floating", "integer", "mixed-integer-float", "empty"},
    Place: {"floating", "integer", "mixed-integer-float", "empty"},
}


class Table:
    """A CSV file in a folder, with the kind of each of its columns.

    Text is kept as it is: a sentence "001" does not become 1, and a speaker "NA" is not missing. Numbers that are not
    whole have six significant digits, so that a difference shows a change and not noise. A missing number, where the
    kind allows it, is NaN in memory and an empty cell in the file.

    Args:
        file: the file's name in a folder.
        columns: the kind of each column, in order: `str`, `int`, `float` or `Place`; for numbers that are not whole
            also `float | None` or `Place | None`.
        others: the kind of further columns, which may follow under any name; None if there are none.
    """

    def __init__(self, file: str, columns: Mapping[str, Kind], others: Kind | None = None) -> None:
        self.file = file
        self.columns = dict(columns)
        self.others = others
        for kind in (*columns.values(), *([] if others is None else [others])):
            base, optional = _parts(kind)
            if base not in _DTYPES or (optional and base in (str, int)):
                raise TypeError(f"{file}: a column cannot be of kind {kind}")

    def empty(self) -> pd.DataFrame:
        """The table without rows."""
        return pd.DataFrame({name: pd.Series(dtype=_dtype(kind)) for name, kind in self.columns.items()})

    def write(self, folder: str | Path, frame: pd.DataFrame) -> None:
        """Writes `frame` to the table's file in `folder`.

        Raises StoreError naming file and column if the columns are not those declared, in any order, or if one holds
        values of another kind; the old file, if there is one, is still there then.
        """
        path = Path(folder) / self.file
        kinds = self._kinds(path, frame.columns, "the table to be written",
                            f"columns are declared with the Table of {self.file}")
        cells = pd.DataFrame({name: _checked(path, name, frame[name], kind) for name, kind in kinds.items()})
        for name, kind in kinds.items():
            if _parts(kind)[0] is Place:
                cells[name] = cells[name].map("{:.6f}".format, na_action="ignore")
        with replacing(path) as temporary:
            cells.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")

    def read(self, folder: str | Path) -> pd.DataFrame:
        """The table's file in `folder`, its columns in the declared order and of the declared kinds.

        Raises StoreError naming file and column if there is no such file, if a column is missing or unknown, or if
        a cell is not of its column's kind.
        """
        path = Path(folder) / self.file
        kinds = self._kinds(path, read_header(path), "the file", _RERUN)
        try:
            frame = _read(path, kinds)
        except (OSError, *_DAMAGE) as error:
            raise self._unreadable(path, kinds, error) from None
        for name, kind in kinds.items():
            if not _parts(kind)[1] and frame[name].isna().any():
                raise StoreError(f"{path}: column {name} has empty cells; expected {_EXPECTED[_parts(kind)[0]]} in "
                                 f"all; {_RERUN}")
        return frame[list(kinds)]

    def _kinds(self, path: Path, names: Iterable[str], subject: str, advice: str) -> dict[str, Kind]:
        """The kind of each column of a table with columns `names`: those declared, in order, and then the others."""
        names = list(names)
        missing = [name for name in self.columns if name not in names]
        further = [name for name in names if name not in self.columns]
        if missing:
            raise StoreError(f"{path}: {subject} has no column {', '.join(missing)}; {advice}")
        if self.others is None:
            if further:
                raise StoreError(f"{path}: {subject} has a column {', '.join(further)}, which is unknown; expected "
                                 f"{', '.join(self.columns)}; {advice}")
            return self.columns
        return self.columns | dict.fromkeys(further, self.others)

    def _unreadable(self, path: Path, kinds: Mapping[str, Kind], error: Exception) -> StoreError:
        """An error that names the unreadable column, if a single column is the reason."""
        for name, kind in kinds.items():
            try:
                _read(path, {name: kind})
            except (OSError, *_DAMAGE) as cause:
                return StoreError(f"{path}: column {name} should hold {_EXPECTED[_parts(kind)[0]]} ({reason(cause)}); "
                                  f"{_RERUN}")
        return StoreError(f"{path} cannot be read ({reason(error)}); {_RERUN}")


def read_header(path: Path, separator: str = ",") -> list[str]:
    """The names of a table's columns. Raises StoreError naming the file if it is missing or not text of that form."""
    try:
        require_regular(path)
        return list(pd.read_csv(path, sep=separator, nrows=0, dtype=str, lineterminator="\n").columns)
    except StoreError as error:
        raise StoreError(f"{error}; {_RERUN}") from None
    except (OSError, *_DAMAGE) as error:
        raise StoreError(f"{path} cannot be read ({reason(error)}); {_RERUN}") from None


_RERUN = "run dvc repro, which writes it again"
_DAMAGE = (ValueError, OverflowError, MemoryError)  # pandas' errors: empty, not UTF-8, lines of other lengths, …


def _parts(kind: Kind) -> tuple[Any, bool]:
    """A kind without `| None`, and whether it is optional."""
    if not isinstance(kind, UnionType):
        return kind, False
    kinds = [part for part in get_args(kind) if part is not NoneType]
    return (kinds[0], True) if len(kinds) == 1 else (kind, True)


def _dtype(kind: Kind) -> str:
    return _DTYPES[_parts(kind)[0]]


def _read(path: Path, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    numbers = [name for name, kind in kinds.items() if kind is not str]
    return pd.read_csv(path, usecols=list(kinds), dtype={name: _dtype(kind) for name, kind in kinds.items()},
                       keep_default_na=False, na_values={name: [""] for name in numbers}, lineterminator="\n",
                       skip_blank_lines=False)  # a line with a tab alone is a row


def _checked(path: Path, name: str, column: pd.Series, kind: Kind) -> pd.Series:
    """The column in its kind's type. Raises StoreError if it holds values of another kind."""
    base, optional = _parts(kind)
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred not in _INFERRED[base]:
        raise StoreError(f"{path}: column {name} holds {inferred} values; expected {_EXPECTED[base]}")
    if not optional and column.isna().any():
        raise StoreError(f"{path}: column {name} lacks a value in row {int(column.isna().to_numpy().argmax())}; "
                         f"expected {_EXPECTED[base]} in all")
    return column.astype(_dtype(kind))
