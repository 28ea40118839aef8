"""Writing files so that a reader sees the old one or the new one, never half of either; reading text and JSON, checked.

Every file that people or accidents can change is read by `read_text`, `read_json`, `koe.yaml_files`, `koe.arrays`,
`koe.weights`, `koe.tables` or `koe.store`: whatever it holds, the error is a KoeError that names it.
"""

import errno
import json
import math
import os
import re
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
