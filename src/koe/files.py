"""Writing files so that a reader sees the old one or the new one, never half of either."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from koe.errors import KoeError

TEMPORARY = ".koe-"  # how the names of unfinished files and folders begin
_NO_ROOM = 2**16  # bytes: an error of a writer with less left on the disk is that of a full disk
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
        if is_disk_full(error) or (isinstance(error, RuntimeError) and _room(path.parent) < _NO_ROOM):
            raise KoeError(f"{path}: the disk is full; free some space and run the command again") from error
        raise
    finally:  # Ctrl-C too
        temporary.unlink(missing_ok=True)


def _temporary_beside(path: Path) -> Path:
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(), suffix=suffix)
    except OSError as error:
        raise KoeError(f"{path} cannot be written: {error.strerror} ({error.filename})") from error
    os.close(handle)
    return Path(name)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no space left, or no quota."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        words in str(error) for words in ("No space left on device", "disk is full"))


def _room(folder: Path) -> int:
    """Bytes that can still be written. libsndfile and PyTorch fail on a full disk without the reason."""
    return shutil.disk_usage(folder).free


def temporary_prefix() -> str:
    """How the names of this process's unfinished files and folders begin."""
    return f"{TEMPORARY}{os.getpid()}-"


def left_behind(folder: Path) -> Iterator[Path]:
    """Unfinished files and folders, directly in `folder`, of processes that were killed while they wrote."""
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        writer = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if not (writer.isdigit() and is_running(int(writer))):
            yield path


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
