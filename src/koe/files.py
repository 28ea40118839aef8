"""Writing files so that a reader sees the old one or the new one, never half of either."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from koe.errors import KoeError

TEMPORARY = ".koe-"  # how the names of unfinished files and folders begin
_LONGEST_SUFFIX = 16  # bytes; a longer one is part of a name


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    The temporary name is hidden and short, however long that of `path` is, and has its suffix. Raises KoeError naming
    the file if it cannot be written there or the disk is full; the old file, if there was one, is still there then.
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            raise KoeError(f"{path}: the disk is full; free some space and run the command again") from error
        raise
    finally:  # Ctrl-C too
        temporary.unlink(missing_ok=True)


def _temporary_beside(path: Path) -> Path:
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=suffix)
    except OSError as error:
        raise KoeError(f"{path} cannot be written: {error.strerror} ({error.filename})") from error
    os.close(handle)
    return Path(name)


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
