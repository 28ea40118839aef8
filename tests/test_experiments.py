"""Every experiment that the project ships is a valid set of parameters, and DVC takes it as it is written."""

from pathlib import Path
from typing import Any

import pytest

from koe.errors import KoeError, ParameterError
from koe.experiments import Experiment, compose, experiment_names, read_experiment
from koe.params import check_params

FOLDER = Path(__file__).resolve().parents[1] / "experiments"


@pytest.mark.parametrize("name", experiment_names(FOLDER))
def test_every_experiment_composes_and_checks(values: dict[str, Any], name: str) -> None:
    experiment = read_experiment(name, FOLDER)
    composed = compose(values, experiment)
    assert check_params(composed) != check_params(values)
    assert experiment.purpose and "\n" not in experiment.purpose


def test_there_is_a_many_to_many_configuration(values: dict[str, Any]) -> None:
    params = check_params(compose(values, read_experiment("many_to_many", FOLDER)))
    assert len(params.corpora["demo"].speakers or []) == 4
    assert (params.pair.rule, params.acoustic.conditioning.by) == ("all", "learned")


def test_overrides_leave_the_rest_and_the_original_alone(values: dict[str, Any]) -> None:
    experiment = Experiment("x", "…", {"mel.fmax": 7600.0, "pair.chosen": [["a", "b"]]})
    composed = compose(values, experiment)
    assert (composed["mel"]["fmax"], values["mel"]["fmax"]) == (7600.0, 8000.0)
    assert experiment.arguments() == ["-S", "mel.fmax=7600.0", "-S", 'pair.chosen=[["a", "b"]]']


def test_unknown_names_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    for name in ("mel.f_max", "mell.fmax", "mel.fmax.more"):
        with pytest.raises(ParameterError, match=f"experiment x: params.yaml has no {name}"):
            compose(values, Experiment("x", "…", {name: 1}))
    with pytest.raises(KoeError, match="many_to_many"):
        read_experiment("none", FOLDER)
    (tmp_path / "odd.yaml").write_text("purpose: nothing else\n")
    with pytest.raises(KoeError, match="expected purpose"):
        read_experiment("odd", tmp_path)
