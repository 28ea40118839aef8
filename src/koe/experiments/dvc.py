"""Running DVC and git as programs, and finding runs by their names: an experiment, a revision, the workspace."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from koe.errors import KoeError
from koe.experiments.named import FOLDER, run_name_of
from koe.interruption import Terminated
from koe.pipeline.locks import require_whole

WORKSPACE = "workspace"  # DVC's own word for the files of the working tree

_REFERENCE = re.compile(r"refs/exps/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/(?P<name>[^/]+)")


class RunReference(NamedTuple):
    """An experiment that DVC keeps."""

    name: str
    baseline: str  # the commit that it started from
    commit: str  # its own

    @property
    def reference(self) -> str:
        """The git reference that holds it."""
        return f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}"


def git(*arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a git command prints in `folder`, by default this one; `variables` are set in its environment.

    Raises KoeError with git's message.
    """
    result = subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **(variables or {})},
                            capture_output=True, text=True, errors="replace", check=False)
    if result.returncode:
        raise KoeError(f"git {' '.join(arguments)}: {result.stderr.strip() or f'status {result.returncode}'}")
    return _lines(result.stdout)


def dvc(*arguments: str, folder: Path | None = None) -> list[str]:
    """The lines that a DVC command prints in `folder`, by default this one. Raises KoeError with DVC's message."""
    require_whole(folder)
    result = subprocess.run(_command(arguments), cwd=folder, env=environment(), capture_output=True, text=True,
                            check=False)
    if result.returncode:
        raise KoeError(f"dvc {' '.join(arguments)}: {result.stderr.strip() or f'status {result.returncode}'}")
    return _lines(result.stdout)


def _lines(output: str) -> list[str]:
    """The lines of an output: str.splitlines would also end one at U+2028 or a form feed inside a text."""
    return output.removesuffix("\n").split("\n") if output else []


def dvc_aloud(*arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> int:
    """Runs a DVC command whose output goes to the terminal, and returns its status.

    `variables` are set in its environment. On Ctrl-C DVC ends in its own time, as at the terminal; SIGTERM is passed on
    to it, and its stage ends with it. KeyboardInterrupt or Terminated is raised afterwards.
    """
    require_whole(folder)
    interruptions: list[type[KeyboardInterrupt]] = []
    sys.stdout.flush()
    process = subprocess.Popen(_command(arguments), cwd=folder, env=environment() | dict(variables or {}))

    def terminate(number: int, frame: FrameType | None) -> None:
        interruptions.append(Terminated)
        process.terminate()

    before = [signal.signal(signal.SIGINT, lambda *_: interruptions.append(KeyboardInterrupt)),
              signal.signal(signal.SIGTERM, terminate)]
    try:
        status = process.wait()
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    if interruptions:
        raise interruptions[-1]
    return status


def project_root() -> Path:
    """The root of the git and DVC repository that contains this folder. Raises KoeError if there is none."""
    return Path(git("rev-parse", "--show-toplevel")[0])


def from_root(path: str) -> str:
    """A path relative to this folder as git and DVC name it: relative to the repository's root, with slashes."""
    prefix = git("rev-parse", "--show-prefix")
    return f"{prefix[0] if prefix else ''}{path}"


def environment() -> dict[str, str]:
    """This environment, with the running Python first in PATH, so that stages use it even if it was not activated."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def run_references() -> list[RunReference]:
    """All experiments that DVC keeps here, sorted by name."""
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/*/*/*")
    matches = [(_REFERENCE.fullmatch(reference), commit) for reference, commit in map(str.split, lines)]
    return sorted(RunReference(match["name"], match["first"] + match["rest"], commit)
                  for match, commit in matches if match)


def run_of(name: str) -> RunReference | None:
    """The experiment that DVC keeps under this name or as the run of experiments/`name`.yaml (`log/x` runs as `log-x`).

    Of several with one name the nearest to HEAD is taken. Raises KoeError if none of them is in this branch.
    """
    runs = run_references()
    run_names = [name, run_name_of(name)] if _is_named(name) else [name]
    for run_name in run_names:
        if same := [run for run in runs if run.name == run_name]:
            return _nearest(same)
    return None


def commit_of(name: str) -> str | None:
    """The commit of a run that a user names; None for `workspace`.

    `name` is that of an experiment (see `run_of`) or any git revision. Raises KoeError listing the existing runs.
    """
    if name == WORKSPACE:
        return None
    if run := run_of(name):
        return run.commit
    if revision := _commit_of_revision(name):
        return revision
    runs = ", ".join(dict.fromkeys(run.name for run in run_references())) or "none"
    if _is_named(name):
        raise KoeError(f"experiments/{name}.yaml was not run here; run it (koe exp run {name}), or fetch its results "
                       f"from where it was run (dvc exp pull origin {run_name_of(name)}). Existing runs: {runs}")
    raise KoeError(f"{name} is neither an experiment that was run, nor one of {FOLDER}/, nor a git revision, nor "
                   f"{WORKSPACE}. Existing runs: {runs}. From other machines: dvc exp pull, git fetch")


def _is_named(name: str) -> bool:
    return (FOLDER / f"{name}.yaml").is_file()


def _commit_of_revision(name: str) -> str | None:
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")[0]
    except KoeError:
        return None


def _nearest(runs: list[RunReference]) -> RunReference:
    """Of experiments with one name, the one that started from HEAD or from the latest commit before it."""
    if len(runs) == 1:
        return runs[0]
    history = git("rev-list", "HEAD")
    before = [run for run in runs if run.baseline in history]
    if before:
        return min(before, key=lambda run: history.index(run.baseline))
    raise KoeError(f"{runs[0].name} is the name of experiments of several commits, none of them in this branch; give "
                   f"one of these revisions: {', '.join(run.commit[:7] for run in runs)}")
