"""Models by the names that git and DVC give them: an experiment, a revision, or an artifact of dvc.yaml."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from koe.errors import KoeError
from koe.training.references import ModelKind, ModelReference, find_reference, split_reference
from koe.workspace import main_checkout, project_root, work_root


def find_model(kind: ModelKind, name: str) -> ModelReference:
    """The model of this kind that its section's `init.from` names, fetched to this machine if need be.

    `name` is `[<pipeline>:]<where>[@<step>|@best]`, where `where` is a model's folder, or in this pipeline, or in the
    one in that folder (of this or of another DVC repository), an experiment, a git revision, or an artifact (of which
    the latest version is taken; `<artifact>@v1.2.3` is a revision). A revision's model is in `models/<section>`, unless
    its artifacts say otherwise. Raises KoeError if `name` is none of these, or is that folder of this pipeline, which
    DVC removes when the training run starts.
    """
    where, _ = split_reference(name)
    asked, usual = f"{kind.section}.init.from: {name}", f"models/{kind.section}"
    folders = [Path(where), main_checkout() / where]  # a temporary workspace has nothing that git ignores
    written = {(root / usual).resolve() for root in (Path.cwd(), main_checkout())}
    if any(folder.resolve() in written for folder in folders):
        raise KoeError(f"{asked} is what the training writes, and removed when that starts; name the experiment or the "
                       "git revision that has it, or a copy of it elsewhere")
    for folder in folders:
        if folder.is_dir():
            return find_reference(name, folder, _work_roots(folder), kind)
    other, _, revision = where.rpartition(":")
    pipeline = (Path(other) if other else main_checkout()).resolve()
    if project_root(pipeline) is None or not pipeline.is_dir():
        raise KoeError(f"{asked}: there is no such folder, and {pipeline} is not in a DVC repository")
    artifacts = _artifacts(pipeline)
    path = artifacts.get(revision.partition("@")[0], usual)
    commit = _find_commit(asked, pipeline, revision, artifacts)
    return find_reference(name, _fetched(asked, pipeline, commit, path), _work_roots(pipeline / path), kind)


def _work_roots(folder: Path) -> Iterator[Path]:
    """Where the work folder of a run may be whose model is in `folder`: here, or in the project that is its."""
    yield work_root()
    yield from (parent / "work" for parent in folder.resolve().parents)


def _find_commit(asked: str, repository: Path, where: str, artifacts: dict[str, str]) -> str:
    """The commit of an experiment, a revision or an artifact's latest version."""
    experiments = dict(line.split() for line in _git(repository, "for-each-ref", "--format=%(refname) %(objectname)",
                                                     "refs/exps/*/*/*"))
    found = {commit for reference, commit in experiments.items() if reference.rpartition("/")[2] == where}
    found = found or set(_git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", where + "^{commit}"))
    if not found and where in artifacts:
        versions = _git(repository, "for-each-ref", "--sort=-version:refname", "--format=%(refname:short)",
                        f"refs/tags/{where}@v*")
        found = set(_git(repository, "rev-parse", f"refs/tags/{versions[0]}^{{commit}}")) if versions else set()
    if len(found) == 1:
        return found.pop()
    if found:
        raise KoeError(f"{asked}: experiments of several commits have this name "
                       f"({', '.join(sorted(commit[:7] for commit in found))}); give one of these revisions")
    known = {"experiments": sorted(reference.rpartition("/")[2] for reference in experiments),
             "artifacts with versions (git tags <artifact>@v1.0.0)": sorted(artifacts)}
    there = "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in known.items())
    raise KoeError(f"{asked} is neither a folder, nor in {repository} an experiment, a git revision "
                   f"or an artifact that has a version. {there}. From other machines: dvc exp pull, git fetch")


def _artifacts(pipeline: Path) -> dict[str, str]:
    """Paths of the artifacts that a pipeline's dvc.yaml declares, by name."""
    file = pipeline / "dvc.yaml"
    entries = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("artifacts", {}) if file.exists() else {}
    return {name: entry["path"] for name, entry in entries.items()}


def _git(repository: Path, *arguments: str) -> list[str]:
    """The lines that a git command prints; none if it fails."""
    result = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.splitlines() if result.returncode == 0 else []


def _fetched(asked: str, pipeline: Path, commit: str, path: str) -> Path:
    """The model's folder as it was at a commit, from DVC's cache or remote, once."""
    root = project_root(pipeline) or pipeline
    place = (pipeline.relative_to(root) / path).as_posix()
    folder = work_root() / "models" / f"{commit[:16]}-{place.replace('/', '-')}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        here = Path(temporary) / "model"
        command = ["get", str(root), place, "--rev", commit, "--out", str(here), "--quiet"]
        result = subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True, check=False)
        if result.returncode:
            raise KoeError(f"{asked}: {place} of revision {commit[:7]} is neither in DVC's cache nor on a "
                           f"remote; push it from where it is (dvc push)\n{result.stderr.strip()}")
        if not folder.exists():
            here.replace(folder)
    return folder
