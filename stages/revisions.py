"""Models by the names that git and DVC give them: an experiment, a revision, or an artifact of dvc.yaml."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from koe.errors import KoeError
from koe.training.references import ModelReference, find_reference, split_reference
from koe.workspace import main_checkout, work_root

MODEL = "models/acoustic"  # what a revision's acoustic model is, unless dvc.yaml's artifacts say otherwise


def find_model(name: str) -> ModelReference:
    """The model that `acoustic.init.from` names, fetched to this machine if need be.

    `name` is `[<repository>:]<where>[@<step>|@best]`, where `where` is a model's folder, or in this repository or the
    DVC repository in that folder an experiment, a git revision, or an artifact (of which the latest version is taken;
    `<artifact>@v1.2.3` is a revision). Raises KoeError if it is none of these.
    """
    where, _ = split_reference(name)
    for folder in (Path(where), main_checkout() / where):  # a temporary workspace has nothing that git ignores
        if folder.is_dir():
            return find_reference(name, _not_the_output(name, folder), _work_roots(folder))
    other, _, revision = where.rpartition(":")
    repository = (Path(other) if other else main_checkout()).resolve()
    if not (repository / ".dvc").is_dir():
        raise KoeError(f"acoustic.init.from: {name}: there is no such folder, and {repository} is no DVC repository")
    commit, path = _find_commit(name, repository, revision)
    return find_reference(name, _fetched(name, repository, commit, path), _work_roots(repository / path))


def _not_the_output(name: str, folder: Path) -> Path:
    if folder.resolve() in (Path(MODEL).resolve(), main_checkout() / MODEL):
        raise KoeError(f"acoustic.init.from: {name} is what train_acoustic writes, and removed when that starts; name "
                       "the experiment or the git revision that has it, or a copy of it elsewhere")
    return folder


def _work_roots(folder: Path) -> Iterator[Path]:
    """Where the work folder of a run may be whose model is in `folder`: here, or in the project that is its."""
    yield work_root()
    yield from (parent / "work" for parent in folder.resolve().parents)


def _find_commit(name: str, repository: Path, where: str) -> tuple[str, str]:
    """The commit of an experiment, a revision or an artifact's latest version, and the model's path there."""
    artifacts = _artifacts(repository)
    path = artifacts.get(where.partition("@")[0], MODEL)
    experiments = dict(line.split() for line in _git(repository, "for-each-ref", "--format=%(refname) %(objectname)",
                                                     "refs/exps/*/*/*"))
    found = {commit for reference, commit in experiments.items() if reference.rpartition("/")[2] == where}
    found = found or set(_git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", where + "^{commit}"))
    if not found and where in artifacts:
        versions = _git(repository, "for-each-ref", "--sort=-version:refname", "--format=%(refname:short)",
                        f"refs/tags/{where}@v*")
        found = set(_git(repository, "rev-parse", f"refs/tags/{versions[0]}^{{commit}}")) if versions else set()
    if len(found) == 1:
        return found.pop(), path
    if found:
        raise KoeError(f"acoustic.init.from: {name}: experiments of several commits have this name "
                       f"({', '.join(sorted(commit[:7] for commit in found))}); give one of these revisions")
    known = {"experiments": sorted(reference.rpartition("/")[2] for reference in experiments),
             "artifacts with versions (git tags <artifact>@v1.0.0)": sorted(artifacts)}
    there = "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in known.items())
    raise KoeError(f"acoustic.init.from: {name} is neither a folder, nor in {repository} an experiment, a git revision "
                   f"or an artifact that has a version. {there}. From other machines: dvc exp pull, git fetch")


def _artifacts(repository: Path) -> dict[str, str]:
    """Paths of the artifacts that a repository's dvc.yaml declares, by name."""
    file = repository / "dvc.yaml"
    entries = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("artifacts", {}) if file.exists() else {}
    return {name: entry["path"] for name, entry in entries.items()}


def _git(repository: Path, *arguments: str) -> list[str]:
    """The lines that a git command prints; none if it fails."""
    result = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.splitlines() if result.returncode == 0 else []


def _fetched(name: str, repository: Path, commit: str, path: str) -> Path:
    """The model's folder as it was at a commit, from DVC's cache or remote, once."""
    folder = work_root() / "models" / f"{commit[:16]}-{path.replace('/', '-')}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        here = Path(temporary) / "model"
        command = ["get", str(repository), path, "--rev", commit, "--out", str(here), "--quiet"]
        result = subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True, check=False)
        if result.returncode:
            raise KoeError(f"acoustic.init.from: {name}: {path} of revision {commit[:7]} is neither in DVC's cache nor "
                           f"on a remote; push it from where it is (dvc push)\n{result.stderr.strip()}")
        if not folder.exists():
            here.replace(folder)
    return folder
