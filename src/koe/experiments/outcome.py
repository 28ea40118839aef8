"""The outcome of a run: its parameters, metrics, curves and held-out recordings, read without checking anything out.

A run is a revision, with files in git and in DVC's cache or on a remote, or the workspace.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from koe.audio.params import MelParams, PitchParams, SpeakerPitch
from koe.corpus.pairing import read_pairs
from koe.corpus.params import CorpusParams, speaker_pitch
from koe.errors import KoeError, ParameterError, StoreError
from koe.evaluation.measure import read_evaluation
from koe.experiments.dvc import WORKSPACE, commit_of, from_root, project_root
from koe.files import reason, temporary_prefix, understood
from koe.params.reading import read_values
from koe.pipeline.declaration import EVALUATION, Pipeline
from koe.report.curves import Curve, load_curves
from koe.store import ShardReader
from koe.workspace import work_root

Files = Callable[[str], Path]  # a readable copy of a path in the pipeline's folder; raises KoeError if there is none

_CODE = re.compile(r"(\.\./)*(src|stages)/")


@dataclass(frozen=True)
class Outcome:
    """A run's files, each read on first use. A KoeError says which file of which run is missing, and what to do."""

    name: str  # as the user gave it
    commit: str | None  # None: the workspace
    files: Files
    pipeline: Pipeline

    @property
    def label(self) -> str:
        """Its name, with the revision unless the name is one."""
        if self.commit is None or self.commit.startswith(self.name):
            return self.name
        return f"{self.name} ({self.commit[:7]})"

    @cached_property
    def params(self) -> dict[str, Any]:
        """The content of params.yaml, unchecked, since another version may have written it."""
        return read_values(self.files("params.yaml"))

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The stages of dvc.lock: the parameters, code and data with which the files were made."""
        # DVC's own reader, because the file is YAML 1.2, where 1e-05 is a number. The import takes a second.
        from dvc.exceptions import DvcException
        from dvc.utils.serialize import load_yaml

        path = self.files("dvc.lock")
        try:
            with understood(path):
                return dict(load_yaml(str(path)).get("stages", {}))
        except DvcException as error:
            raise StoreError(f"{path} cannot be read ({reason(error)}); restore it (git checkout {path}), or run dvc "
                             "repro") from error

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """metrics/evaluation.csv: a row for each held-out item and condition. Metrics that it lacks are empty."""
        table = read_evaluation(self.files(f"{EVALUATION}.csv").parent)
        unknown = [metric.name for metric in self.pipeline.evaluation.metrics if metric.name not in table]
        return table.assign(**dict.fromkeys(unknown, np.nan))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Source and target of each held-out item, indexed by pair; only if items are pairs."""
        return read_pairs(self.files(self.pipeline.evaluation.pairs)).set_index("pair")

    @cached_property
    def mel(self) -> MelParams:
        return self._section("mel", MelParams.model_validate)

    @cached_property
    def pitch(self) -> SpeakerPitch:
        """The settings of F0 extraction, with the speakers' own ranges."""
        corpora = self._section("corpora", lambda tree: {
            name: CorpusParams.model_validate(corpus) for name, corpus in tree.items()})
        return speaker_pitch(self._section("pitch", PitchParams.model_validate), corpora)

    def curves(self, training: str) -> dict[str, dict[str, Curve]]:
        """The curves in metrics/<training>, in the form of `koe.report.curves.load_curves`."""
        return load_curves(self.files(f"metrics/{training}"))

    def audio(self, pair: str, condition: str) -> np.ndarray:
        """A held-out recording, int16 (samples,) at `mel.sample_rate`."""
        folder = self.pipeline.evaluation.condition(condition).folder
        if folder not in self._shards:
            self._shards[folder] = ShardReader(self.files(folder))
        return self._shards[folder].get(pair, condition)

    @cached_property
    def _shards(self) -> dict[str, ShardReader]:
        return {}

    def _section(self, name: str, check: Callable[[Any], Any]) -> Any:
        try:
            return check(self.params[name])
        except (KeyError, ValidationError) as error:
            raise ParameterError(f"{self.label}: section {name} of its params.yaml does not fit this version of Koe; "
                                 f"compare it with the version that made it: {error}") from None


def open_outcome(name: str, pipeline: Pipeline) -> Outcome:
    """The outcome of a run (named as for `koe.experiments.dvc.commit_of`) of this folder's pipeline."""
    commit = commit_of(name)
    return Outcome(name, commit, _workspace_file if commit is None else RevisionFiles(name, commit), pipeline)


def _workspace_file(path: str) -> Path:
    if not Path(path).exists():
        raise KoeError(f"{WORKSPACE}: {path} does not exist; run dvc repro, or fetch it from a remote (dvc pull "
                       f"{path})")
    return Path(path)


class RevisionFiles:
    """Files of this folder in a revision, from git, DVC's cache or its remote. Copies are kept in `work/outcomes`,
    because a revision never changes.
    """

    def __init__(self, name: str, commit: str) -> None:
        self.name, self.commit = name, commit

    @cached_property
    def _system(self) -> Any:
        from dvc.api import DVCFileSystem  # the import takes a second

        return DVCFileSystem(str(project_root()), rev=self.commit)

    def __call__(self, path: str) -> Path:
        kept = work_root() / "outcomes" / self.commit[:16] / path
        if kept.exists():
            return kept
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=temporary_prefix()) as temporary:
            copy = Path(temporary) / kept.name
            self._fetch(path, copy)
            if not kept.exists():
                copy.replace(kept)
        return kept

    def _fetch(self, path: str, destination: Path) -> None:
        """Copies a file or a folder. DVC raises errors of several types, which name neither the run nor a remedy."""
        from dvc_data.index.index import DataIndexError

        run, source = f"{self.name} ({self.commit[:7]})", from_root(path)
        try:
            if not self._system.exists(source):
                raise KoeError(f"{run} has no {path}; was it run to the end, and dvc.lock committed with it?")
            self._system.get(source, str(destination), recursive=self._system.isdir(source))
        except (OSError, DataIndexError) as error:
            raise KoeError(f"{run}: {path} is neither in DVC's cache nor on a remote; push it from where it was run "
                           f"(dvc push, or dvc exp push), or make it again (dvc repro on that revision). DVC's error: "
                           f"{' '.join(str(error).split())}") from error


def parameters_used(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with which the stages were run, according to dvc.lock, by the dotted names that dvc.yaml declares.
    """
    declared = (stage.get("params", {}).get("params.yaml", {}) for stage in lock.values())
    return {name: value for values in declared for name, value in values.items()}


def code_used(lock: Mapping[str, Any]) -> dict[str, str]:
    """The modules and scripts with which the stages were run, and their hashes."""
    return {entry["path"]: entry.get("md5", "") for stage in lock.values() for entry in stage.get("deps", ())
            if _CODE.match(entry["path"])}


def made(lock: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Outputs of the stages at or under `folder`, and their hashes."""
    return {entry["path"]: entry.get("md5", "") for stage in lock.values() for entry in stage.get("outs", ())
            if f"{entry['path']}/".startswith(f"{folder}/")}
