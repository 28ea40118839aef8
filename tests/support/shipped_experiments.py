"""The experiments that the project ships, each read once."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from koe.experiments.named import Experiment, compose, experiment_names, read_experiment
from koe.tasks.conversion.schema import Params, check_params

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments"
NAMES = experiment_names(FOLDER)
RUNS = [name for name in NAMES if name.startswith("log/")]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())


@cache
def shipped(name: str) -> Experiment:
    return read_experiment(name, FOLDER)


def composed(name: str) -> dict[str, Any]:
    return compose(VALUES, shipped(name))


def params_of(name: str) -> Params:
    return check_params(composed(name))
