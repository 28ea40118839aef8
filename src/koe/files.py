"""Writing files so that a reader sees the old one or the new one, never half of either."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from koe.errors import KoeError


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


def state_of(path: str | Path, follow_links: bool = True) -> os.stat_result | None:
    """What there is at a path, behind links; None if nothing is, or if it cannot be looked at.

    That is a link to itself, a name of 300 letters, one with a NUL, for which the methods of Path raise errors.
    """
    try:
        return Path(path).stat(follow_symlinks=follow_links)
    except (OSError, ValueError):
        return None


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder at a path; see `state_of`."""
    state = state_of(path)
    return state is not None and stat.S_ISDIR(state.st_mode)


def is_link(path: str | Path) -> bool:
    """Whether there is a symbolic link at a path, wherever it leads; see `state_of`."""
    state = state_of(path, follow_links=False)
    return state is not None and stat.S_ISLNK(state.st_mode)
