"""DVC and git, run as programs in one place, and what they call a run: an experiment, a revision, the workspace."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from koe.errors import KoeError
from koe.experiments.named import FOLDER, run_name_of

WORKSPACE = "workspace"  # DVC's own word for the files as they lie there

_REFERENCE = re.compile(r"refs/exps/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/(?P<name>[^/]+)")


class RunReference(NamedTuple):
    """An experiment that DVC keeps: its name, the commit that it started from, and its own commit."""

    name: str
    baseline: str
    commit: str

    @property
    def reference(self) -> str:
        """Where git keeps it."""
        return f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}"


def git(*arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a git command prints, in `folder` or here; `variables` are set for it.

    Raises KoeError with what git said.
    """
    result = subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **(variables or {})},
                            capture_output=True, text=True, check=False)
    if result.returncode:
        raise KoeError(f"git {' '.join(arguments)}: {result.stderr.strip() or f'status {result.returncode}'}")
    return result.stdout.splitlines()


def dvc(*arguments: str, folder: Path | None = None) -> list[str]:
    """The lines that a DVC command prints, in `folder` or here. Raises KoeError with what DVC said."""
    result = subprocess.run(_command(arguments), cwd=folder, env=environment(), capture_output=True, text=True,
                            check=False)
    if result.returncode:
        raise KoeError(f"dvc {' '.join(arguments)}: {result.stderr.strip() or f'status {result.returncode}'}")
    return result.stdout.splitlines()


def dvc_aloud(*arguments: str, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> int:
    """Runs a DVC command that prints to the terminal itself, and returns its status; `variables` are set for it.

    Ctrl-C is DVC's to end on in its own time, as it would be at the terminal; KeyboardInterrupt is raised then.
    """
    interruptions: list[int] = []
    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, lambda number, _: interruptions.append(number))
    try:
        status = subprocess.run(_command(arguments), cwd=folder, env=environment() | dict(variables or {}),
                                check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if interruptions:
        raise KeyboardInterrupt
    return status


def project_root() -> Path:
    """The root of the git and DVC repository that this folder is in. Raises KoeError if it is in none."""
    return Path(git("rev-parse", "--show-toplevel")[0])


def from_root(path: str) -> str:
    """A path from here as git and DVC name it: from the root of the repository, with slashes."""
    prefix = git("rev-parse", "--show-prefix")
    return f"{prefix[0] if prefix else ''}{path}"


def environment() -> dict[str, str]:
    """This one, where the stages' `python` is the one that runs now, whether its environment was activated or not."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def run_references() -> list[RunReference]:
    """All experiments that DVC keeps here, sorted by name."""
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/*/*/*")
    found = [(_REFERENCE.fullmatch(reference), commit) for reference, commit in map(str.split, lines)]
    return sorted(RunReference(match["name"], match["first"] + match["rest"], commit)
                  for match, commit in found if match)


def run_of(name: str) -> RunReference | None:
    """The experiment that DVC keeps under this name, or under that of one of experiments/ (`log/x` is run as `log-x`).

    Of several with one name the nearest to HEAD is taken. Raises KoeError if none of them is in this branch.
    """
    runs = run_references()
    called = [name, run_name_of(name)] if _is_named(name) else [name]
    return next((_nearest(same) for word in called if (same := [run for run in runs if run.name == word])), None)


def commit_of(name: str) -> str | None:
    """The commit of what a user calls a run; None for `workspace`, the files as they lie there.

    `name` is an experiment's as `run_of` finds it, or any git revision. Raises KoeError naming what there is.
    """
    if name == WORKSPACE:
        return None
    if run := run_of(name):
        return run.commit
    if revision := _commit_of_revision(name):
        return revision
    there = ", ".join(dict.fromkeys(run.name for run in run_references())) or "none"
    if _is_named(name):
        raise KoeError(f"experiments/{name}.yaml was not run here; run it (koe exp run {name}), or get its results "
                       f"from where it was (dvc exp pull origin {run_name_of(name)}). Were run: {there}")
    raise KoeError(f"{name} is neither an experiment that was run, nor one of {FOLDER}/, nor a git revision, nor "
                   f"{WORKSPACE}. Were run: {there}. From other machines: dvc exp pull, git fetch")


def _is_named(name: str) -> bool:
    return (FOLDER / f"{name}.yaml").is_file()


def _commit_of_revision(name: str) -> str | None:
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")[0]
    except KoeError:
        return None


def _nearest(runs: list[RunReference]) -> RunReference:
    """Of experiments with one name, the one that started from the latest commit before HEAD, or from HEAD."""
    if len(runs) == 1:
        return runs[0]
    history = git("rev-list", "HEAD")
    before = [run for run in runs if run.baseline in history]
    if before:
        return min(before, key=lambda run: history.index(run.baseline))
    raise KoeError(f"experiments of several commits, none of them in this branch, are called {runs[0].name}; give one "
                   f"of these revisions: {', '.join(run.commit[:7] for run in runs)}")
