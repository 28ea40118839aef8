"""dvc.lock, which DVC writes in place: read and checked, and kept as a copy for `koe doctor`.

DVC empties the file and writes it anew after every stage, for up to a second. Killed in between it leaves a part of the
file or nothing, and no DVC command works any more. So each stage, when it starts, keeps a copy of the file as it is.
What the copy lacks is the entry of one stage at most, whose results are in DVC's run cache.
"""

import json
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from koe.errors import KoeError
from koe.files import is_running, replacing
from koe.workspace import project_root

LOCK = "dvc.lock"
RWLOCK = Path(".dvc/tmp/rwlock")  # DVC's list of the files that its processes use
_WRITING = 2.0  # seconds in which a DVC that lives has written a file anew
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where it was built


def keep_lock(folder: Path = Path()) -> None:
    """Keeps a copy of a pipeline's dvc.lock if it is whole and another than the one kept before."""
    kept, path = kept_copy(folder), folder / LOCK
    if kept is None or not path.is_file():
        return
    text = path.read_bytes()
    before = kept.read_bytes() if kept.is_file() else b""
    if text == before or before.startswith(text) or damage_of(text):
        return
    with replacing(kept) as temporary:
        temporary.write_bytes(text)


def kept_copy(folder: Path = Path()) -> Path | None:
    """Where the copy of a pipeline's dvc.lock is; None outside of any checkout."""
    root = project_root(folder)
    return root / ".dvc/tmp/koe" / folder.resolve().relative_to(root) / LOCK if root else None


def read_lock(path: Path) -> dict[str, Any]:
    """The entries of a dvc.lock, by stage. Raises KoeError naming `koe doctor` if it is damaged."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise KoeError(f"{path} cannot be read: {error.strerror}") from error
    if damage := damage_of(text):
        raise _damaged(path, damage)
    stages: dict[str, Any] = yaml.load(text, _Loader)["stages"]
    return stages


def require_whole(folder: Path | None = None) -> None:
    """Looks at the ends of the files that DVC writes in place, before DVC is run in `folder`, by default this one.

    Raises KoeError naming a file that is empty or cut, and `koe doctor`.
    """
    root = project_root(folder)
    if root is None:
        return
    for path in (root / RWLOCK, root / LOCK, *sorted(root.glob(f"pipelines/*/{LOCK}"))):
        if path.is_file() and not _is_ended(path):
            time.sleep(_WRITING)
            if path.is_file() and not _is_ended(path):
                raise _damaged(path, "cut" if path.stat().st_size else "0 bytes")


def _is_ended(path: Path) -> bool:
    return bool(read_rwlock(path)) if path.name == RWLOCK.name else path.read_bytes().endswith(b"\n")


def read_rwlock(path: Path) -> dict[str, dict[str, Any]]:
    """DVC's list of files in use: by `write` and `read`, the files and their users. Empty if it is damaged or missing.
    """
    try:
        content = json.loads(path.read_bytes())
        content = {kind: dict(content.get(kind, {})) for kind in ("write", "read")}
        for user in (*content["write"].values(), *chain.from_iterable(content["read"].values())):
            int(user["pid"]), str(user["cmd"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return content


def require_unused(paths: Iterable[Path]) -> None:
    """Raises KoeError if a DVC that runs now has one of these files or folders as an output of its stage.

    A stage that is started by hand beside it would empty what DVC is about to hash.
    """
    root = project_root()
    written = read_rwlock(root / RWLOCK).get("write", {}) if root else {}
    users = {Path(path).resolve(): user for path, user in written.items()}
    for path in paths:
        user = users.get(path.resolve())
        if user and is_running(int(user["pid"])):
            raise KoeError(f"{path} is being written by process {user['pid']} ({user['cmd']}); wait until it has ended")


def _damaged(path: Path, damage: str) -> KoeError:
    return KoeError(f"{path} is damaged ({damage}), as by a DVC that was killed while it wrote it; koe doctor mends it")


def damage_of(text: bytes, *whole: bytes) -> str:
    """What is wrong with the content of a dvc.lock; empty if nothing is.

    whole: former contents. A beginning of one of these is no content that DVC would have written.
    """
    if not text.strip(b"\0 \t\r\n"):
        return f"{len(text)} bytes, all blank" if text else "0 bytes"
    if not text.endswith(b"\n") or any(other != text and other.startswith(text) for other in whole):
        return f"cut after {len(text)} bytes"
    try:
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return f"not YAML: {' '.join(str(error).split())[:120]}"
    return _departure(content)


def _departure(content: Any) -> str:
    """Where a tree is not what DVC reads as a lock file."""
    if not isinstance(content, Mapping) or content.get("schema") != "2.0":
        return "no lock file of schema 2.0"
    stages = content.get("stages", {})
    if not isinstance(stages, Mapping):
        return "no list of stages"
    for name, stage in stages.items():
        if not isinstance(stage, Mapping) or not isinstance(stage.get("cmd"), str | list):
            return f"stage {name} has no command"
        if not isinstance(stage.get("params", {}), Mapping) or None in stage.get("params", {}).values():
            return f"stage {name} has no parameters"
        for kind in ("deps", "outs"):
            if not isinstance(stage.get(kind, []), list):
                return f"stage {name} has no {kind}"
            if not all(isinstance(entry, Mapping) and entry.get("path") for entry in stage.get(kind, [])):
                return f"stage {name} has {kind} without a path"
    return ""
