"""Whether an output in the workspace is of the present parameters and data, according to dvc.lock.

After a `dvc repro` that failed, or with a parameter changed since, metrics are there that belong to something else.
Unlike `dvc status` this reads no data: it compares what dvc.lock records of the output's stage and of those before it
with params.yaml and with each other, and takes milliseconds.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from koe.errors import KoeError
from koe.params.reading import at, flatten, read_values
from koe.pipeline.locks import LOCK, read_lock
from koe.workspace import project_root

NAMED = 4  # parameters in a message; the others are counted
SMALL = 2**22  # bytes up to which an output's content is compared, too


def departure(output: Path, folder: Path = Path()) -> str:
    """In a line, how an output of the pipeline in `folder` departs from the present parameters and data; empty if it
    does not, or if there is no dvc.lock.
    """
    if not (folder / LOCK).is_file():
        return ""
    try:
        stages, values = read_lock(folder / LOCK), read_values(folder / "params.yaml")
    except KoeError as error:
        return f"whether {output} is of the present parameters is unknown: {error}"
    name = output.as_posix()
    writer = next((stage for stage in stages if any(_is_in(name, out["path"]) for out in _outs(stages[stage]))), None)
    if writer is None:
        return f"{output} is not of a finished run (dvc.lock does not have it); run dvc repro"
    before = list(_chain(stages, writer))
    changed = dict.fromkeys(name for stage in before for name in _changed_parameters(stages[stage], values))
    remade = dict.fromkeys(name for stage in before for name in _remade_inputs(stages, stage, folder))
    reasons = []
    if changed:
        reasons.append(f"since then {_listed(list(changed))} changed in params.yaml")
    if remade:
        reasons.append(f"{_listed(list(remade))} {'was' if len(remade) == 1 else 'were'} made again since")
    if _is_changed(output, stages[writer], folder):
        reasons.append("the file is not the one that a finished run wrote")
    return f"{output} is of an earlier run: {'; '.join(reasons)}. Run dvc repro" if reasons else ""


def _outs(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    outs: list[Mapping[str, Any]] = stage.get("outs", [])
    return outs


def _is_in(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def _chain(stages: Mapping[str, Any], last: str) -> Iterator[str]:
    """The stage `last` and all before it, the first ones last."""
    waiting, seen = [last], {last}
    while waiting:
        yield (stage := waiting.pop(0))
        for dep in stages[stage].get("deps", []):
            for writer in _writers(stages, dep["path"]):
                if writer not in seen:
                    seen.add(writer)
                    waiting.append(writer)


def _writers(stages: Mapping[str, Any], path: str) -> Iterator[str]:
    """The stages that write a file or folder, what it is in, or what is in it."""
    return (name for name, stage in stages.items()
            if any(_is_in(path, out["path"]) or _is_in(out["path"], path) for out in _outs(stage)))


def _changed_parameters(stage: Mapping[str, Any], values: Any) -> Iterator[str]:
    """Dotted names of the stage's parameters that are other in params.yaml now."""
    for name, recorded in stage.get("params", {}).get("params.yaml", {}).items():
        try:
            present = at(values, name)
        except KeyError:
            yield name
            continue
        old, new = (dict(flatten({name: value})) for value in (recorded, present))
        yield from (part for part in {**old, **new} if part not in old or part not in new
                    or not _is_same(old[part], new[part]))


def _is_same(left: Any, right: Any) -> bool:
    """Whether two values are the same to DVC, which reads 1e-4 as a number where YAML 1.1 has a text."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    if left == right or isinstance(left, bool) or isinstance(right, bool):
        return bool(left == right)
    try:
        return float(left) == float(right)
    except (TypeError, ValueError):
        return False


def _remade_inputs(stages: Mapping[str, Any], stage: str, folder: Path) -> Iterator[str]:
    """Inputs of the stage that were recorded with other contents when they were last written."""
    for dep in stages[stage].get("deps", []):
        for writer in _writers(stages, dep["path"]):
            for out in _outs(stages[writer]):
                if out["path"] == dep["path"]:
                    remade = _hash(out) != _hash(dep)
                elif _is_in(out["path"], dep["path"]):
                    remade = _is_part_remade(dep, out, folder)
                else:
                    continue
                if remade:
                    yield out["path"]


def _is_part_remade(whole: Mapping[str, Any], part: Mapping[str, Any], folder: Path) -> bool:
    """Whether a folder was read with other contents of one of its parts, by the lists of files in DVC's cache."""
    read, written = (_listing(_hash(entry), folder) for entry in (whole, part))
    if read is None or written is None:
        return False
    place = Path(part["path"]).relative_to(whole["path"]).as_posix() + "/"
    return {name.removeprefix(place): value for name, value in read.items() if name.startswith(place)} != written


def _listing(digest: str, folder: Path) -> dict[str, str] | None:
    """Files and their hashes of a folder in DVC's cache; None if it is not there."""
    root = project_root(folder)
    if root is None or not digest.endswith(".dir"):
        return None
    try:
        entries = json.loads((root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).read_bytes())
        return {entry["relpath"]: entry["md5"] for entry in entries}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _hash(entry: Mapping[str, Any]) -> str:
    return str(entry.get("md5", ""))


def _is_changed(output: Path, stage: Mapping[str, Any], folder: Path) -> bool:
    """Whether a small output is another file than the stage recorded."""
    path = folder / output
    recorded = next((_hash(out) for out in _outs(stage) if out["path"] == output.as_posix()), "")
    if not recorded or recorded.endswith(".dir") or not path.is_file() or path.stat().st_size > SMALL:
        return False
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != recorded


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
