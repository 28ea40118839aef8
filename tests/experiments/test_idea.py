"""What of an experiment is taken over to another one's size."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from support.parameters import PIPELINE

from koe.errors import KoeError, ParameterError
from koe.experiments.idea import on
from koe.experiments.named import Difference, Experiment, compose, experiment_names, read_experiment
from koe.tasks.conversion.schema import check_params

ROOT = Path(__file__).resolve().parents[2]
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())
NAMES = experiment_names(ROOT / "experiments")


@cache
def on_demo(name: str) -> tuple[Experiment, list[Difference]]:
    return on(read_experiment(name, ROOT / "experiments"), read_experiment("demo", ROOT / "experiments"), VALUES,
              PIPELINE.idea)


def behind(name: str) -> set[str]:
    return {difference.parameter for difference in on_demo(name)[1]}


def test_what_a_run_of_the_log_does_differently_is_on_the_demo() -> None:
    made, _ = on_demo("log/nars2s_05_jsut_2_jsss_4")
    assert made.run_name == "log-nars2s_05_jsut_2_jsss_4-on-demo"
    assert made.parameters["acoustic.pitch.layers"] == 2 and made.parameters["acoustic.energy.layers"] == 8
    assert "acoustic.encoder.layers" not in made.parameters  # the log's, not the run's
    assert {"acoustic.training.checkpoint_every", "acoustic.training.batch_size"} <= behind(
        "log/nars2s_05_jsut_2_jsss_4")
    composed = compose(VALUES, made)
    assert composed["corpora"] == VALUES["corpora"] and composed["acoustic"]["training"] == (
        VALUES["acoustic"]["training"])


def test_corpora_and_models_to_start_from_stay_behind() -> None:
    assert {"corpora.jsut.source", "acoustic.init.from", "acoustic.init.keep_optimizer"} <= behind(
        "log/nars2s_13_jsss_2_jsut_continued")


def test_what_is_chosen_by_name_comes_along_with_its_settings() -> None:
    made, _ = on_demo("hifigan_16k")  # whose base says that it is HiFi-GAN
    assert made.parameters["vocoder.model"] == "hifigan" and made.parameters["mel.sample_rate"] == 16000


def test_a_vocoder_that_no_longer_fits_is_not_started_from() -> None:
    assert VALUES["vocoder"]["init"]["from"] is not None
    assert on_demo("hifigan_16k")[0].parameters["vocoder.init.from"] is None
    assert "vocoder.init.from" not in on_demo("many_to_many")[0].parameters


def test_an_experiment_without_a_base_is_its_own_idea() -> None:
    made, _ = on_demo("many_to_many")
    assert made.parameters["corpora.demo.speakers"] == ["heart", "joe", "heart_slow", "joe_fast"]
    assert "pair.test" in behind("many_to_many")


def test_an_idea_of_which_nothing_is_left_is_told() -> None:
    longer = Experiment(name="longer", purpose="…", parameters={"acoustic.training.steps": 50000})
    demo = read_experiment("demo", ROOT / "experiments")
    with pytest.raises(KoeError, match=r"longer: nothing of it .* demo \(acoustic.training.steps: \d+ → 50000\)"):
        on(longer, demo, VALUES, PIPELINE.idea)


@pytest.mark.parametrize("name", NAMES)
def test_every_idea_is_valid_on_the_demo(name: str) -> None:
    try:
        made, _ = on_demo(name)
    except KoeError as error:
        assert "nothing of it can be taken over" in str(error)
        return
    refused = read_experiment(name, ROOT / "experiments").refused
    if refused is None:
        check_params(compose(VALUES, made))
    else:
        with pytest.raises(ParameterError, match=refused):
            check_params(compose(VALUES, made))
