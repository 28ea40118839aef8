"""Verifying that a run can be repeated: run again from scratch, its metrics must be identical."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dvc.api import DVCFileSystem

from koe.errors import KoeError
from koe.experiments.dvc import commit_of, dvc, dvc_aloud, from_root, git, project_root
from koe.experiments.named import Difference, differences
from koe.files import read_text, understood
from koe.yaml_files import parse_yaml


class Verification(NamedTuple):
    """The comparison of a run's metrics with those of its repetition."""

    commit: str
    files: int  # number of files with metrics
    metrics: int  # number of metrics
    different: list[Difference]


def verify(name: str) -> Verification:
    """Runs every stage of this pipeline again, at a run's commit and in a checkout of its own; compares all metrics.

    It runs `dvc repro` in the same folder of the checkout, with the code of the commit. Nothing that the run left is
    used: no stage is taken from its lock file or from the run cache (--force), and training runs have a work folder of
    their own, without checkpoints. Nothing is left behind either: outputs stay out of DVC's cache (--no-commit). Data
    that was added to DVC (*.dvc) comes from its cache; recordings elsewhere and models to start from are found as by
    queued experiments.

    Raises KoeError if there is no such run, if its metrics are missing or not on this machine, or if a stage fails.
    """
    commit = commit_of(name)
    if commit is None:
        raise KoeError("koe exp verify: the workspace is not a revision; commit it, or name an experiment that was run")
    recorded = _recorded_metrics(name, commit)
    with _clean_checkout(commit) as (checkout, work):
        folder = checkout / from_root("")
        if dvc_aloud("repro", "--force", "--no-commit", folder=folder, variables={"KOE_WORK": str(work)}):
            raise KoeError(f"{name} ({commit[:7]}) cannot be run again: a stage failed, see above")
        again = {path: _metrics(read_text(folder / path), str(folder / path))
                 for path in recorded if (folder / path).exists()}
    return Verification(commit, len(recorded), _count(recorded), list(differences(recorded, again)))


def _recorded_metrics(name: str, commit: str) -> dict[str, Any]:
    """All JSON files below metrics/ that the pipeline's stages wrote at a commit, by path relative to its folder."""
    try:
        lines = git("show", f"{commit}:./dvc.lock")
    except KoeError:
        raise KoeError(f"{name} ({commit[:7]}) has no metrics: dvc.lock is not in it, so nothing was run, or the file "
                       "was not committed (dvc repro; git add dvc.lock; git commit)") from None
    with understood(f"dvc.lock of {commit[:7]}", "run dvc repro, and commit the file that it writes"):
        lock = parse_yaml("\n".join(lines), f"dvc.lock of {commit[:7]}")
        outputs = [output["path"] for stage in lock["stages"].values() for output in stage.get("outs", [])]
    files, recorded = DVCFileSystem(str(project_root()), rev=commit), {}
    try:
        for output in (path for path in outputs if path.startswith("metrics/")):
            for path in files.find(from_root(output)):
                if path.endswith(".json"):
                    name = path.lstrip("/").removeprefix(from_root(""))
                    text = files.read_text(path, encoding="utf-8", errors="replace")
                    recorded[name] = _metrics(text, f"{path} of {commit[:7]}")
    except FileNotFoundError as error:
        raise KoeError(f"metrics of {name} ({commit[:7]}) are neither in DVC's cache nor on its remote; push them from "
                       f"where it was run (dvc push, or dvc exp push): {error}") from error
    if not recorded:
        raise KoeError(f"{name} ({commit[:7]}) has no metrics: no stage of its dvc.lock wrote metrics/**/*.json")
    return recorded


def _metrics(text: str, where: str) -> Any:
    with understood(where):
        return json.loads(text, parse_constant=str)  # so that NaN is equal to NaN


def _count(value: Any) -> int:
    return sum(map(_count, value.values())) if isinstance(value, dict) else 1


@contextmanager
def _clean_checkout(commit: str) -> Iterator[tuple[Path, Path]]:
    """A checkout of a commit and an empty work folder, both removed at the end.

    It is where the temporary checkouts of queued experiments are, so that paths relative to the main one are found.
    """
    root = project_root()
    place = root / ".dvc/tmp/exps"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="verify-") as folder:
        checkout = Path(folder) / "checkout"
        git("clone", "--quiet", "--shared", "--no-checkout", str(root), str(checkout))
        git("checkout", "--quiet", "--detach", commit, folder=checkout)
        dvc("config", "--local", "cache.dir", dvc("cache", "dir")[0], folder=checkout)
        if added := git("ls-files", "*.dvc", folder=checkout):
            dvc("checkout", *added, folder=checkout)
        yield checkout, Path(folder) / "work"
