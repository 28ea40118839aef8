"""Named experiments: sets of parameter overrides in `experiments/*.yaml`, with what they are for.

    purpose: one line
    parameters:
      acoustic.conditioning.by: learned
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from koe.errors import KoeError, ParameterError

FOLDER = Path("experiments")


@dataclass(frozen=True)
class Experiment:
    """Overrides of params.yaml, by dotted name."""

    name: str
    purpose: str
    parameters: Mapping[str, Any]

    def arguments(self) -> list[str]:
        """As `dvc exp run` takes them: -S name=value …"""
        settings = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.parameters.items())
        return [argument for setting in settings for argument in ("-S", setting)]


def read_experiment(name: str, folder: str | Path = FOLDER) -> Experiment:
    """Reads `folder/name.yaml`. Raises KoeError naming the file, and what there is, if it is not there or not one."""
    path = Path(folder) / f"{name}.yaml"
    if not path.is_file():
        raise KoeError(f"{path} does not exist; there are {', '.join(experiment_names(folder)) or 'none'}")
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict) or set(value) != {"purpose", "parameters"} or not value["parameters"]:
        raise KoeError(f"{path}: expected purpose: a line, and parameters: dotted names with values")
    return Experiment(name, value["purpose"], value["parameters"])


def experiment_names(folder: str | Path = FOLDER) -> list[str]:
    """All experiments in a folder, sorted."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def compose(values: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """A tree of parameters with the experiment's overrides. Raises ParameterError for a name that is not in it."""
    composed = deepcopy(dict(values))
    for name, value in experiment.parameters.items():
        *sections, last = name.split(".")
        section = composed
        for part in sections:
            section = section.get(part, {}) if isinstance(section, dict) else {}
        if not isinstance(section, dict) or last not in section:
            raise ParameterError(f"experiment {experiment.name}: params.yaml has no {name}")
        section[last] = value
    return composed
