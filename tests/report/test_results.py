"""How evaluation.json is put into rows, words and directions."""

import pytest
from support.fake_project import METRICS as EVALUATED
from support.parameters import PIPELINE

from koe.report.results import change, conditions

EVALUATION = PIPELINE.evaluation
BY_NAME = {metric.name: metric for metric in EVALUATION.metrics}


def test_rows_go_from_source_to_target_and_skip_what_is_not_there() -> None:
    griffin_lim = {"converted": {}, "ceiling": {}}
    evaluation = {"hifigan": {"ceiling": {}}, "target": {}, "griffin_lim": griffin_lim, "source": {}, "utterances": 3}
    assert list(conditions(evaluation, EVALUATION)) == [
        "source", "griffin_lim.converted", "griffin_lim.ceiling", "hifigan.ceiling", "target"]
    assert conditions({}, EVALUATION) == {}


def test_labels_name_the_vocoder() -> None:
    assert EVALUATION.label("griffin_lim.converted") == "converted, Griffin-Lim"
    assert EVALUATION.label("hifigan.converted") == "converted, HiFi-GAN"
    assert EVALUATION.label("harmonic_noise.ceiling") == "ceiling, harmonic + noise"
    assert EVALUATION.label("other.ceiling") == "ceiling, other"
    assert EVALUATION.label("source") == "source"


@pytest.mark.parametrize(("name", "value", "text"), [
    ("wer", 0.2449, "24.5"), ("mcd_db", 5.004, "5.00"), ("f0_corr", -0.25, "−0.25"), ("mos", None, "–")])
def test_text_is_in_the_unit_of_the_column(name: str, value: float | None, text: str) -> None:
    assert BY_NAME[name].text(value) == text


@pytest.mark.parametrize(("name", "condition", "better", "share"), [
    ("mcd_db", "griffin_lim.converted", True, (11.0 - 5.9) / (11.0 - 2.1)),
    ("speaker_similarity", "griffin_lim.converted", True, (0.84 - 0.51) / (0.93 - 0.51)),
    ("duration_ratio", "griffin_lim.converted", True, (0.18 - 0.01) / 0.18),  # 0.82 to 1.01: nearer to 1
    ("mcd_db", "harmonic_noise.converted", False, 0.0),
    ("wer", "griffin_lim.converted", False, None),  # the ceiling is not better than the source: there is no way to go
])
def test_change_against_the_source(name: str, condition: str, better: bool, share: float | None) -> None:
    found = change(BY_NAME[name], EVALUATED, condition, EVALUATION)
    assert found is not None
    assert found.better == better
    assert found.share == (None if share is None else pytest.approx(share))
    assert found.difference == pytest.approx(EVALUATED[condition][name] - EVALUATED["source"][name])


def test_no_change_for_references_or_without_a_value() -> None:
    assert change(BY_NAME["mcd_db"], EVALUATED, "griffin_lim.ceiling", EVALUATION) is None
    assert change(BY_NAME["mos"], EVALUATED, "harmonic_noise.converted", EVALUATION) is None
    alone = {"griffin_lim.converted": {"mcd_db": 3.0}}
    assert change(BY_NAME["mcd_db"], alone, "griffin_lim.converted", EVALUATION) is None
