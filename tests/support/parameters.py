"""The project's own parameters, and trees of parameters with values changed by their dotted names.

`vocoder` and `align` hold only the part that is chosen (`koe.params.section.Choice`), so a test that needs another part
chooses it in the tree, before the tree is checked.
"""

import shutil
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from koe.pipeline.declaration import load_pipeline
from koe.tasks.conversion.schema import Params, check_params

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = load_pipeline(ROOT)  # the root's, voice conversion


def make_pipeline_folder(folder: Path) -> None:
    """Gives a folder the declaration and the parameters of the root's pipeline."""
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    for name in ("stages/pipeline.py", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)


def project_values() -> dict[str, Any]:
    """The project's params.yaml as a plain tree, a copy of its own for everyone, so that it may be changed."""
    return deepcopy(_read_once())


@cache
def _read_once() -> dict[str, Any]:  # parsing takes a hundred times as long as copying
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def change(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Sets values of a tree, which is changed, by their dotted names: `{"vocoder.model": "hifigan"}`."""
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[last] = value
    return values


def changed_params(changes: Mapping[str, Any]) -> Params:
    """The project's parameters with other values. Raises ParameterError where they contradict each other."""
    return check_params(change(project_values(), changes))
