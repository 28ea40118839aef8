"""The experiments that the project ships, each read once: the root's, and the log's runs of pipelines/universal."""

from functools import cache
from typing import Any

import yaml

from koe.experiments.named import Experiment, compose, experiment_names, read_experiment
from koe.tasks.conversion.schema import Params, check_params
from support.parameters import ROOT, project_values

FOLDER = ROOT / "experiments"
UNIVERSAL = ROOT / "pipelines/universal"
NAMES = experiment_names(FOLDER)
OF_UNIVERSAL = [name for name in experiment_names(UNIVERSAL / "experiments") if name.startswith("log/")]
RUNS = sorted([*(name for name in NAMES if name.startswith("log/")), *OF_UNIVERSAL])
VALUES = project_values()


@cache
def shipped(name: str) -> Experiment:
    return read_experiment(name, UNIVERSAL / "experiments" if name in OF_UNIVERSAL else FOLDER)


def composed(name: str) -> dict[str, Any]:
    """The root's parameters with the experiment's; those of pipelines/universal have the other sections of the root,
    with a rule that needs neither source nor target.
    """
    if name not in OF_UNIVERSAL:
        return compose(VALUES, shipped(name))
    values = project_values() | compose(yaml.safe_load((UNIVERSAL / "params.yaml").read_text()), shipped(name))
    values["pair"]["rule"], values["acoustic"]["conditioning"]["by"] = "all", "learned"
    return values


def params_of(name: str) -> Params:
    return check_params(composed(name))
