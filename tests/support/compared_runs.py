"""Runs made by hand, for tests of comparing them: finished small projects on disk that `Outcome` reads."""

import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from koe.errors import KoeError
from koe.evaluation.measure import EVALUATION
from koe.experiments.outcome import Outcome
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import check_params
from support.fake_project import write_project
from support.parameters import project_values

VALUES = project_values()
Voice = Callable[..., np.ndarray]  # conftest's `synthetic_voice`
LOCK = {"schema": "2.0", "stages": {
    "import@demo": {"outs": [{"path": "data/corpus/demo", "md5": "0123.dir"}]},
    "evaluate": {"deps": [{"path": "src/koe/convert.py", "md5": "4567"}], "params": {"params.yaml": {}},
                 "outs": [{"path": "metrics/evaluation.csv", "md5": "89ab"}]}}}


def write_finished(folder: Path, voice: Voice) -> None:
    """A project as the stages leave it (support.fake_project), its errors counted in hundred words a sentence."""
    write_project(folder, check_params(deepcopy(VALUES)), voice)
    table = EVALUATION.read(folder / "metrics")
    EVALUATION.write(folder / "metrics", table.assign(
        word_errors=(100 * table["wer"]).round(), words=100,
        character_errors=(100 * table["cer"]).round(), characters=100))


def write_run(folder: Path, finished: Path, values: Mapping[str, Any] = VALUES) -> Outcome:
    """A copy of a finished project with parameters of its own, as the outcome that is called as its folder is."""
    shutil.copytree(finished, folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(values), sort_keys=False))
    (folder / "dvc.lock").write_text(yaml.safe_dump(LOCK))

    def files(path: str) -> Path:
        if not (folder / path).exists():
            raise KoeError(f"{folder.name}: {path} does not exist")
        return folder / path

    return Outcome(folder.name, None, files)


def write_two_runs(folder: Path, voice: Voice) -> list[Outcome]:
    """Two runs, `one` and `two`, of which the second trained its vocoder for longer, is 3 dB better, most of all in
    the last pair, and speaks backwards.
    """
    write_finished(folder / "finished", voice)
    longer = deepcopy(VALUES)
    longer["vocoder"]["training"]["steps"] += 100
    first, second = (write_run(folder / name, folder / "finished", values)
                     for name, values in (("one", VALUES), ("two", longer)))
    folder = second.files("metrics")
    table = EVALUATION.read(folder)
    converted = table["condition"].str.endswith(".converted")
    table.loc[converted, "mcd_db"] -= np.where(table.loc[converted, "pair"] == table["pair"].max(), 3.5, 2.5)
    EVALUATION.write(folder, table)
    _reverse(second.files("data/evaluation"), sorted(set(table.loc[converted, "condition"])))
    return [first, second]


def _reverse(shards: Path, conditions: list[str]) -> None:
    made = ShardReader(shards)
    audio = {pair: {condition: made.get(pair, condition)[::-1] for condition in conditions} for pair in made}
    shutil.rmtree(shards)
    with ShardWriter(shards) as writer:
        for pair, arrays in audio.items():
            writer.add(pair, **arrays)
