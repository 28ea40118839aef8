"""Writing files so that a reader sees the old one or the new one, never half of either."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koe.errors import KoeError

if TYPE_CHECKING:  # pandas takes longer to load than some stages to run
    import pandas as pd


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    Raises KoeError naming the file when the disk is full; the old file, if there was one, is still there then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            raise KoeError(f"{path}: the disk is full; free some space and run dvc repro again") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: "pd.DataFrame") -> None:
    """Writes a table as CSV, floats with six significant digits so that a diff shows changes, not noise.

    Places in a file (columns `start` and `end`, seconds) have microseconds, however far in they are.
    """
    places = [name for name in ("start", "end") if name in table and table[name].dtype.kind == "f"]
    table = table.assign(**{name: table[name].map("{:.6f}".format, na_action="ignore") for name in places})
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_table(path: str | Path, text: tuple[str, ...] = ()) -> "pd.DataFrame":
    """Reads a table written by `write_table`.

    Columns named in `text`, and the identifiers of this project, stay strings: a sentence "001" does not become 1
    and a speaker "NA" does not become a missing value.
    """
    import pandas as pd

    identifiers = {"corpus", "speaker", "sentence", "utterance", "pair", "source", "target", "text", "path",
                   "split", "role", "stage", "reason", "detail", "condition", "format", "shard", "why", "digest",
                   "gender", "language"}
    header = pd.read_csv(path, nrows=0).columns
    strings = {name: str for name in header if name in identifiers or name in text}
    numbers = [name for name in header if name not in strings]
    return pd.read_csv(
        path, dtype=strings, keep_default_na=False, na_values={name: [""] for name in numbers},
    )
