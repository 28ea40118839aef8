"""`koe doctor`: finds and mends what killed DVC commands and stages left, so that `dvc repro` goes on by itself.

DVC writes dvc.lock and .dvc/tmp/rwlock in place. Killed while it does so it leaves a part or nothing, and every command
fails from then on. Nothing that a copy holds is lost: a damaged dvc.lock is replaced by the copy that the last stage
kept (koe.pipeline.locks) or by git's version, whichever is newer. Without either it is removed; DVC then takes from its
run cache what the stages have computed. What is damaged but not empty is kept in .dvc/tmp/koe/damaged.
"""

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from koe.errors import KoeError
from koe.files import TEMPORARY, is_running, left_behind, remove, replacing, write_text
from koe.pipeline.locks import LOCK, RWLOCK, damage_of, kept_copy, read_rwlock
from koe.workspace import CLAIM, is_claimed

STATE = Path(".dvc/tmp")
ASIDE = STATE / "koe/damaged"
OUTPUTS = ("data", "models", "metrics", "work", "page")  # folders of a pipeline that stages and commands write to
SETTLED = 60.0  # seconds after which git has long finished with its lock


@dataclass(frozen=True)
class Finding:
    """Something that an accident left."""

    path: Path
    damage: str
    remedy: str  # what `mend` does or, without it, what a person has to do
    mend: Callable[[], object] | None = None


def examine(root: Path) -> list[Finding]:
    """What is damaged or left over in the project in `root`. Changes nothing."""
    pipelines = [path.parent for path in (root / "dvc.yaml", *sorted(root.glob("pipelines/*/dvc.yaml")))
                 if path.is_file()]
    return [
        *chain.from_iterable(_lock(root, folder) for folder in pipelines), *_rwlock(root), *_experiments(root),
        *chain.from_iterable(_unfinished(folder) for folder in pipelines), *_git(root),
    ]


@contextmanager
def without_dvc(root: Path) -> Iterator[None]:
    """A context in which no DVC command starts in this project. Raises KoeError naming the process if one runs."""
    with ExitStack() as stack:
        for name in ("lock", "rwlock.lock"):
            path = root / STATE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DVC does
            except OSError:
                raise KoeError(_busy(path.read_text().strip())) from None
        users = read_rwlock(root / RWLOCK) or {"write": {}, "read": {}}
        for user in (*users["write"].values(), *chain.from_iterable(users["read"].values())):
            if _is_dvc(user):
                raise KoeError(_busy(f"{user['pid']}: {user['cmd']}"))
        yield


def _busy(process: str) -> str:
    return f"DVC is running in this project (process {process}); wait until it has ended, or end it"


def _lock(root: Path, folder: Path) -> Iterator[Finding]:
    """A dvc.lock that is damaged."""
    path, kept = folder / LOCK, kept_copy(folder)
    if not path.is_file():
        return
    sources = {"git's version": _committed(path)}
    if kept and kept.is_file():
        copy = {"the copy that the last stage kept": kept.read_bytes()}
        sources = copy | sources if kept.stat().st_mtime >= _commit_time(path) else sources | copy
    whole = {name: content for name, content in sources.items() if content and not damage_of(content)}
    text = path.read_bytes()
    if not (damage := damage_of(text, *whole.values())):
        return

    def mend(content: bytes | None) -> None:
        _keep_aside(root, path)
        if content is None:
            path.unlink(missing_ok=True)
            return
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    for name, content in whole.items():
        yield Finding(path, damage, f"put back: {name}", partial(mend, content))
        return
    yield Finding(path, damage, "removed; what was computed is in DVC's run cache", partial(mend, None))


def _committed(path: Path) -> bytes:
    """A file's content in git's HEAD; empty if it has none."""
    result = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False)
    return result.stdout if result.returncode == 0 else b""


def _commit_time(path: Path) -> int:
    """When a file was last committed, s since 1970; 0 if it never was. Also that of a commit which was pulled."""
    result = subprocess.run(["git", "log", "-1", "--format=%ct", "--", path.name], cwd=path.parent, capture_output=True,
                            text=True, check=False)
    return int(result.stdout.strip() or 0) if result.returncode == 0 else 0


def _rwlock(root: Path) -> Iterator[Finding]:
    """DVC's list of files in use, if it is damaged, or names processes that have ended."""
    path = root / RWLOCK
    if not path.is_file():
        return
    if not (content := read_rwlock(path)):
        size = path.stat().st_size
        yield Finding(path, f"{size} bytes, not JSON" if size else "0 bytes", "removed; DVC makes it anew",
                      partial(_remove, root, path))
        return
    living = {"write": {place: entry for place, entry in content["write"].items() if _is_dvc(entry)},
              "read": {place: kept for place, entries in content["read"].items()
                       if (kept := [entry for entry in entries if _is_dvc(entry)])}}
    if living != content:
        def mend() -> None:
            write_text(path, json.dumps(living))

        yield Finding(path, "names files in use by a DVC that was killed", "these are taken out", mend)


def _is_dvc(entry: Mapping[str, Any]) -> bool:
    """Whether the process of an entry runs, and is not another one that got its number since."""
    process = int(entry["pid"])
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return is_running(process) and not Path("/proc/self").exists()
    return b"dvc" in command or os.fsencode(entry["cmd"].split(" ")[0]) in command


def _experiments(root: Path) -> Iterator[Finding]:
    """Files of DVC's experiments and their queue that are not the JSON that they should be."""
    for part in ("run", "celery", "standalone/run"):
        for path in sorted((root / STATE / "exps" / part).rglob("*")):
            if path.suffix not in (".json", ".run", ".msg") or not path.is_file():
                continue
            try:
                json.loads(path.read_bytes())
            except (ValueError, RecursionError):
                yield Finding(path, f"{path.stat().st_size} bytes, not JSON",
                              "removed; start the experiment again if dvc exp show lacks it",
                              partial(_remove, root, path))


def _unfinished(folder: Path) -> Iterator[Finding]:
    """Files that a process was writing when it was killed, and claimed work folders without anything in them."""
    for output in OUTPUTS:
        for place, folders, files in os.walk(folder / output):
            if any(name.startswith(TEMPORARY) for name in (*folders, *files)):
                for path in left_behind(Path(place)):
                    yield Finding(path, "half written", "removed", partial(remove, path))
            if files == [CLAIM] and not folders and output == "work" and not is_claimed(Path(place)):
                yield Finding(Path(place), "left by a training run that was killed before its first checkpoint",
                              "removed", partial(remove, Path(place)))


def _git(root: Path) -> Iterator[Finding]:
    """git's locks. Whether a git still runs cannot be known, so they are only told."""
    result = subprocess.run(["git", "rev-parse", "--absolute-git-dir"], cwd=root, capture_output=True, text=True,
                            check=False)
    if result.returncode:
        return
    folder = Path(result.stdout.strip())
    for path in sorted((*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock"))):
        if time.time() - path.stat().st_mtime > SETTLED:
            yield Finding(path, "git was killed, or still runs", f"if no git runs, remove it: rm {path}")


def _remove(root: Path, path: Path) -> None:
    _keep_aside(root, path)
    path.unlink()


def _keep_aside(root: Path, path: Path) -> None:
    """Copies a damaged file to where nothing reads it, if there is anything in it."""
    if path.stat().st_size:
        place = root / ASIDE / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
