"""The experiments that the project ships, each read once."""

from functools import cache
from typing import Any

from koe.experiments.named import Experiment, compose, experiment_names, read_experiment
from koe.tasks.conversion.schema import Params, check_params
from support.parameters import ROOT, project_values

FOLDER = ROOT / "experiments"
NAMES = experiment_names(FOLDER)
RUNS = [name for name in NAMES if name.startswith("log/")]
VALUES = project_values()


@cache
def shipped(name: str) -> Experiment:
    return read_experiment(name, FOLDER)


def composed(name: str) -> dict[str, Any]:
    return compose(VALUES, shipped(name))


def params_of(name: str) -> Params:
    return check_params(composed(name))
