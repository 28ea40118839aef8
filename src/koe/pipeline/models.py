"""Finding models by git's and DVC's names: an experiment, a revision, or an artifact of dvc.yaml."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from koe.errors import KoeError
from koe.files import temporary_prefix, understood
from koe.training.references import ModelKind, ModelReference, find_reference, split_reference
from koe.workspace import main_checkout, project_root, work_root
from koe.yaml_files import read_yaml


def find_model(kind: ModelKind, name: str) -> ModelReference:
    """The model that `init.from` of its kind's section names, fetched to this machine if necessary.

    `name` is `[<pipeline>:]<where>[@<step>|@best]`. `<where>` is a model's folder; or an experiment, a git revision or
    an artifact of this pipeline, or of the pipeline in the folder `<pipeline>` (of this or another DVC repository). Of
    an artifact the latest version is taken; `<artifact>@v1.2.3` is a revision. A revision's model is in
    `models/<section>`, or where the artifact says. Raises KoeError if `name` is none of these, or is the folder
    `models/<section>` of this pipeline, which DVC removes when the training run starts.
    """
    where, _ = split_reference(name)
    parameter, usual = f"{kind.section}.init.from: {name}", f"models/{kind.section}"
    folders = [Path(where), main_checkout() / where]  # a temporary checkout has no files that git ignores
    written = {(root / usual).resolve() for root in (Path.cwd(), main_checkout())}
    if any(folder.resolve() in written for folder in folders):
        raise KoeError(f"{parameter} is the folder that the training run writes, which is removed when it starts; name "
                       "the experiment or the git revision that has the model, or a copy elsewhere")
    for folder in folders:
        if folder.is_dir():
            return find_reference(name, folder, _work_roots(folder), kind)
    other, _, revision = where.rpartition(":")
    pipeline = (Path(other) if other else main_checkout()).resolve()
    if not (pipeline / "dvc.yaml").is_file() or project_root(pipeline) is None:
        raise KoeError(f"{parameter}: there is no such folder, and {pipeline} is not a pipeline (a folder with a "
                       "dvc.yaml in a DVC repository)")
    artifacts = _artifacts(pipeline)
    path = artifacts.get(revision.partition("@")[0], usual)
    commit = _find_commit(parameter, pipeline, revision, artifacts)
    return find_reference(name, _fetched(parameter, pipeline, commit, path), _work_roots(pipeline / path), kind)


def _work_roots(folder: Path) -> Iterator[Path]:
    """Candidates for the work/ of the run that made the model in `folder`: this project's, and those above it."""
    yield work_root()
    yield from (parent / "work" for parent in folder.resolve().parents)


def _find_commit(parameter: str, repository: Path, where: str, artifacts: dict[str, str]) -> str:
    """The commit of an experiment, a revision or an artifact's latest version."""
    experiments = dict(line.split() for line in _git(repository, "for-each-ref", "--format=%(refname) %(objectname)",
                                                     "refs/exps/*/*/*"))
    commits = {commit for reference, commit in experiments.items() if reference.rpartition("/")[2] == where}
    if not commits:
        commits = set(_git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", where + "^{commit}"))
    if not commits and where in artifacts:
        versions = _git(repository, "for-each-ref", "--sort=-version:refname", "--format=%(refname:short)",
                        f"refs/tags/{where}@v*")
        commits = set(_git(repository, "rev-parse", f"refs/tags/{versions[0]}^{{commit}}")) if versions else set()
    if len(commits) == 1:
        return commits.pop()
    if commits:
        raise KoeError(f"{parameter}: experiments of several commits have this name "
                       f"({', '.join(sorted(commit[:7] for commit in commits))}); give one of these revisions")
    known = {"experiments": sorted(reference.rpartition("/")[2] for reference in experiments),
             "artifacts with versions (git tags <artifact>@v1.0.0)": sorted(artifacts)}
    listing = "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in known.items())
    raise KoeError(f"{parameter} is neither a folder, nor in {repository} an experiment, a git revision "
                   f"or an artifact that has a version. {listing}. From other machines: dvc exp pull, git fetch")


def _artifacts(pipeline: Path) -> dict[str, str]:
    """Paths of the artifacts that a pipeline's dvc.yaml declares, by name."""
    file = pipeline / "dvc.yaml"
    if not file.exists():
        return {}
    with understood(file, "restore it (git checkout), or write it again (koe pipeline write)"):
        entries = (read_yaml(file) or {}).get("artifacts", {})
        return {name: str(entry["path"]) for name, entry in entries.items()}


def _git(repository: Path, *arguments: str) -> list[str]:
    """The lines that a git command prints; none if it fails."""
    result = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.splitlines() if result.returncode == 0 else []


def _fetched(parameter: str, pipeline: Path, commit: str, path: str) -> Path:
    """A copy of the model's folder at a commit, from DVC's cache or remote; fetched only once."""
    root = project_root(pipeline) or pipeline
    place = (pipeline.relative_to(root) / path).as_posix()
    folder = work_root() / "models" / f"{commit[:16]}-{place.replace('/', '-')}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=temporary_prefix()) as temporary:
        copy = Path(temporary) / "model"
        command = ["get", str(root), place, "--rev", commit, "--out", str(copy), "--quiet"]
        result = subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True, check=False)
        if result.returncode:
            raise KoeError(f"{parameter}: {place} of revision {commit[:7]} is neither in DVC's cache nor on a "
                           f"remote; push it from the machine that has it (dvc push)\n{result.stderr.strip()}")
        if not folder.exists():
            copy.replace(folder)
    return folder
