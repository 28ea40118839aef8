"""Writing files so that a reader sees the old one or the new one, never half of either; reading text and JSON, checked.

Every file that people or accidents can change is read by `read_text`, `read_json`, `koe.yaml_files`, `koe.arrays`,
`koe.weights`, `koe.tables` or `koe.store`: whatever it holds, the error is a KoeError that names it.
"""

import errno
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from koe.errors import KoeError, StoreError

LARGEST_WHOLE = 2**63 - 1  # of whole numbers in files: what every reader of JSON holds
LISTED = 4  # names in a message; the rest are counted
_EXTREME = re.compile(r"\d{19}|[eE][-+]?\d{3}")  # a number that may be too large
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
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
        if is_disk_full(error) or (isinstance(error, RuntimeError) and room(path.parent) < _NO_ROOM):
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


def room(folder: Path) -> int:
    """Bytes that can still be written. libsndfile and PyTorch fail on a full disk without the reason."""
    return shutil.disk_usage(folder).free


def size_of(path: Path) -> int:
    """Bytes in a file, or in all files below a folder; 0 if there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Writes a text as UTF-8; a file of that name is whole before and after."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def require_regular(path: str | Path, error: type[KoeError] = StoreError) -> Path:
    """The path itself. Raises `error` naming it unless it is a regular file: reading a pipe or a device may never end.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the name
        raise error(f"{path} cannot be read ({reason(cause)})") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise error(f"{path} cannot be read: it is {kind}, and a file is expected")
    return path


def read_text(path: str | Path, error: type[KoeError] = StoreError) -> str:
    """The text of a file, UTF-8 with or without a byte order mark.

    Raises `error` naming the file if it is not there, is not a regular file, may not be read, or is not UTF-8.
    """
    path = require_regular(path, error)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not UTF-8 text (byte {cause.object[cause.start]:#04x} at {cause.start}): it is "
                    "damaged, or saved in another encoding") from None
    except (OSError, MemoryError) as cause:
        raise error(f"{path} cannot be read ({reason(cause)})") from None


def read_json(path: str | Path, advice: str = "run dvc repro, which writes it again", keys: Iterable[str] = ()
              ) -> dict[str, Any]:
    """The JSON object in a file.

    `keys`: names that it must have; `advice`: what to do if it is damaged. Raises StoreError naming the file, with the
    advice, if `read_text` does, if it is not JSON (NaN and infinity are not), or is no object with these names.
    """
    try:
        value = parse_json(read_text(path))
    except StoreError as error:
        raise StoreError(f"{error}; {advice}") from None
    except ValueError as error:
        raise StoreError(f"{path} is not JSON: {error}; {advice}") from None
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds {kind_of(value)}, and names with values are expected; {advice}")
    if missing := [name for name in keys if name not in value]:
        raise StoreError(f"{path} has no {shortened(missing)}; {advice}")
    return value


def parse_json(text: str) -> Any:
    """JSON as RFC 8259 has it, with numbers that every reader can hold. Raises ValueError with the place."""
    if not text.strip():
        raise ValueError("it is empty")
    try:
        checks: Any = {"parse_int": _whole, "parse_float": _finite} if _EXTREME.search(text) else {}  # they are slow
        value = json.loads(text, parse_constant=_refused, **checks)
        if _SURROGATE.search(text):  # halves of a pair can be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair, which is no character") from None
    return value


def _refused(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST_WHOLE:
        raise ValueError(f"{digits[:21]} is larger than {LARGEST_WHOLE}")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is beyond the range of numbers")
    return value


@contextmanager
def understood(path: str | Path, advice: str = "run dvc repro, which writes it again") -> Iterator[None]:
    """A context in which the content of a file, already read, is turned into objects.

    Errors of missing names and of values of a wrong type or shape become StoreErrors that name file, field and advice.
    """
    try:
        yield
    except ValidationError as error:
        raise StoreError(f"{path}: {fields_of(error)}; {advice}") from error
    except KeyError as error:
        raise StoreError(f"{path} has no {error}; {advice}") from error
    except (OSError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        raise StoreError(f"{path} holds what is not expected there ({reason(error)}); {advice}") from error


def fields_of(error: ValidationError) -> str:
    """The first fields that are wrong, with the reason."""
    entries = error.errors(include_url=False, include_context=False)
    lines = []
    for entry in entries:
        message = entry["msg"].removeprefix("Value error, ")
        lines.append(f"{'.'.join(map(str, entry['loc'])) or 'it'}: {message[0].lower()}{message[1:]}")
    return shortened(lines, "; ")


def shortened(names: Iterable[object], between: str = ", ", listed: int = LISTED) -> str:
    """The first of a list of names, each cut to a line, and the number of the rest."""
    texts = [text if len(text) <= 120 else f"{text[:119]}…" for text in map(str, names)]
    return between.join(texts[:listed]) + (f"{between}and {len(texts) - listed} more" if len(texts) > listed else "")


def kind_of(value: object) -> str:
    """What a value of JSON or YAML is, in words."""
    kinds = {dict: "names with values", list: "a list", str: "a text", bool: "true or false", int: "a number",
             float: "a number", type(None): "nothing"}
    return kinds.get(type(value), type(value).__name__)


def reason(error: BaseException) -> str:
    """An error in one line, without the name of the file."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:199]}…"


def state_of(path: str | Path, follow_links: bool = True) -> os.stat_result | None:
    """What there is at a path, behind links; None if nothing is, or if it cannot be looked at.

    That is a link to itself, a name of 300 letters, one with a NUL, for which the methods of Path raise errors.
    """
    try:
        return Path(path).stat(follow_symlinks=follow_links)
    except (OSError, ValueError):
        return None


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file at a path; see `state_of`."""
    state = state_of(path)
    return state is not None and stat.S_ISREG(state.st_mode)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder at a path; see `state_of`."""
    state = state_of(path)
    return state is not None and stat.S_ISDIR(state.st_mode)


def is_link(path: str | Path) -> bool:
    """Whether there is a symbolic link at a path, wherever it leads; see `state_of`."""
    state = state_of(path, follow_links=False)
    return state is not None and stat.S_ISLNK(state.st_mode)
