"""koe estimate: every stage has a time, and those of training runs are of their own steps."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from support.filled_tables import write_filled
from support.small_parameters import shrink_acoustic
from support.small_vocoder import small_params

from koe.corpus.tables.utterances import UTTERANCES
from koe.pipeline.declaration import load_pipeline
from koe.pipeline.estimate import Machine, in_words, outdated, timetable
from koe.tasks.conversion import estimate
from koe.tasks.conversion.schema import Params

MACHINE = Machine(start=3.0, slowness=2.0)


@pytest.fixture()
def small(values: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(root)
    values["corpora"]["demo"]["utterances"] = 10
    values["pair"] |= {"validation": 2, "test": 3}
    shrink_acoustic(values["acoustic"], 16, steps=40, warmup_steps=2, batch_size=2, validate_every=15)
    return small_params(values)


def test_every_stage_has_a_time(small: Params, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = estimate.stage_seconds(small, MACHINE)
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    names = {f"{name}@demo" if "foreach" in entry else name for name, entry in stages.items()}
    assert seconds.keys() == names
    assert all(value > 0 for value in seconds.values())
    pipeline = load_pipeline()
    monkeypatch.setattr("koe.pipeline.estimate.measure_machine", lambda: MACHINE)
    lines = [*timetable(pipeline, small)]
    assert [line.split()[0] for line in lines] == ["stage", *outdated(pipeline, small.corpora), "all"]


def test_a_training_run_takes_its_steps_and_validations(small: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "seconds_of_steps", lambda task, steps: 2.0)
    monkeypatch.setattr(estimate, "seconds_of_validation", lambda task: 10.0)
    seconds = estimate.stage_seconds(small, MACHINE)
    validations = 3 * 10 * 2 / estimate.VALIDATED  # at steps 15, 30 and 40, of two pairs
    assert seconds["train_acoustic"] == 3 + 40 * 2 + validations


def test_how_much_there_is_is_read_where_it_is_known(
    small: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = estimate.amounts_of(small)
    assert before.speech == {"demo": 20 * estimate.SENTENCE_SECONDS} and before.pairs == 10 and before.test == 3
    names = [f"demo/{speaker}/{number}" for speaker in ("heart", "joe") for number in range(4)]
    write_filled(UTTERANCES, tmp_path / "demo", pd.DataFrame({"utterance": names, "seconds": 2.0}))
    monkeypatch.setattr(estimate, "TABLES", tmp_path)
    after = estimate.amounts_of(small)
    assert after.speech == {"demo": 16.0} and after.pairs == 4


def test_times_are_short_in_words() -> None:
    assert [in_words(seconds) for seconds in (0.4, 99, 100, 5940, 6000, 36000)] == [
        "0 s", "99 s", "2 min", "99 min", "1 h 40", "10 h 00"]
