"""Rows and summaries. The pretrained models are stood in for here; tests/test_listening.py hears them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from koe.audio.samples import to_int16
from koe.evaluation import measure as module
from koe.evaluation.cepstrum import PitchRange
from koe.evaluation.measure import (
    EVALUATION,
    METRICS,
    Reference,
    aggregate,
    headline,
    measure,
    summarize,
    summarize_directions,
)
from koe.evaluation.params import EvaluationParams
from koe.files import write_json

ALL = EvaluationParams(headline="griffin_lim", pairs=9, pairs_per_direction=None, mcd_order=24, mcd_silence_db=-40,
                       wer=True, mos=True, speaker=True)
TARGET_VOICE, SOURCE_VOICE = np.eye(2, 256, dtype=np.float32)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything sounds like the target, says "hello there" and is worth 3.5."""
    monkeypatch.setattr(module, "transcribe", lambda wave: "Hello, there.")
    monkeypatch.setattr(module, "estimate_mos", lambda wave: 3.5)
    monkeypatch.setattr(module, "embed", lambda wave: TARGET_VOICE + 0.1 if wave.any() else None)


@pytest.fixture()
def reference(voice: Any) -> Reference:
    target, _ = to_int16(voice(seconds=0.8, f0=110.0))
    return Reference("demo/s1/ann-bob", "Hello here.", "en", target, 22050, PitchRange("dio", 60.0, 400.0),
                     TARGET_VOICE, SOURCE_VOICE)


def test_the_target_measured_against_itself(reference: Reference) -> None:
    [row] = measure({"target": reference.target}, reference, ALL)
    assert list(row) == list(EVALUATION.columns)
    assert row["mcd_db"] == row["log_f0_rmse"] == row["vuv_error"] == 0
    assert row["f0_corr"] == pytest.approx(1)
    assert row["duration_ratio"] == 1
    assert row["seconds"] == pytest.approx(0.8)
    assert row["nearer_to_target"] == 1 and row["speaker_similarity"] > row["speaker_similarity_source"]
    assert (row["wer"], row["word_errors"], row["words"], row["transcript"]) == (0.5, 1, 2, "Hello, there.")
    assert row["missing"] == ""


def test_another_voice_is_further_away(reference: Reference, voice: Any) -> None:
    higher = to_int16(voice(seconds=1.2, f0=220.0))[0]
    quieter = (reference.target // 4).astype(np.int16)
    rows = {row["condition"]: row for row in measure({"higher": higher, "quieter": quieter}, reference, ALL)}
    assert rows["higher"]["log_f0_rmse"] == pytest.approx(np.log(2), abs=0.1)
    assert rows["higher"]["duration_ratio"] == pytest.approx(1.5)
    assert rows["quieter"]["mcd_db"] < 0.25 * rows["higher"]["mcd_db"]


def test_japanese_has_no_word_error_rate(reference: Reference) -> None:
    japanese = replace(reference, language="ja", text="こんにちは")
    rows = pd.DataFrame(measure({"target": reference.target}, japanese, ALL))
    assert rows["wer"].isna().all() and rows["transcript"].eq("").all()
    summary = aggregate(rows)
    assert summary["wer"] is None and summary["cer"] is None and summary["mos"] == 3.5
    assert summary["missing"] == {name: "1: the recogniser does not know the language ja" for name in ("wer", "cer")}


@pytest.mark.parametrize(("change", "reason"), [
    ({"text": "…"}, "no text"),
    ({"text": ""}, "no text"),
])
def test_text_is_needed(reference: Reference, change: dict[str, str], reason: str) -> None:
    [row] = measure({"target": reference.target}, replace(reference, **change), ALL)
    assert row["wer"] is None and reason in row["missing"]


def test_what_is_switched_off_is_null(reference: Reference) -> None:
    nothing = ALL.model_copy(update={"wer": False, "mos": False, "speaker": False})
    [row] = measure({"target": reference.target}, reference, nothing)
    off = ["speaker_similarity", "speaker_similarity_source", "nearer_to_target", "wer", "cer", "mos"]
    assert [name for name in METRICS if row[name] is None] == off
    for section in ("evaluation.wer", "evaluation.mos", "evaluation.speaker"):
        assert f"{section} is false" in row["missing"]


@pytest.mark.parametrize("samples", [0, 100, 20000])
def test_lesson_23_a_failed_conversion_is_measured_as_one(reference: Reference, samples: int, tmp_path: Any) -> None:
    rows = pd.DataFrame(measure({"a.converted": np.zeros(samples, np.int16)}, reference, ALL))
    assert rows.at[0, "duration_ratio"] == pytest.approx(samples / len(reference.target))
    assert rows.at[0, "transcript"] == ("" if samples < 2205 else "Hello, there.")
    assert rows.at[0, "speaker_similarity"] is None and "speaker_similarity: " in rows.at[0, "missing"]
    assert (rows.at[0, "mcd_db"] is None) == (samples < 2205)
    write_json(tmp_path / "evaluation.json", summarize(rows))  # refuses NaN


def test_summary_pools_errors_and_skips_what_is_missing() -> None:
    rows = pd.DataFrame([dict.fromkeys(EVALUATION.columns, 0.0) | values for values in (
        {"pair": "p1", "condition": "hifigan.converted", "mcd_db": 4.0, "f0_corr": None, "wer": 1.0, "word_errors": 1,
         "words": 1, "characters": 4, "nearer_to_target": 1, "missing": "f0_corr: monotone"},
        {"pair": "p2", "condition": "hifigan.converted", "mcd_db": 6.0, "f0_corr": 0.5, "wer": 0.0, "word_errors": 0,
         "words": 9, "characters": 40, "nearer_to_target": 0, "missing": ""},
    )])
    summary = summarize(rows)
    converted = summary["hifigan"]["converted"]
    assert summary["utterances"] == 2
    assert list(converted) == [*METRICS, "utterances", "missing"]
    assert converted["mcd_db"] == 5
    assert converted["wer"] == pytest.approx(0.1)
    assert converted["f0_corr"] == 0.5
    assert converted["nearer_to_target"] == 0.5
    assert converted["missing"] == {"f0_corr": "1: monotone"}


def test_rows_survive_their_table(reference: Reference, tmp_path: Any) -> None:
    conditions = {"source": reference.target // 2, "griffin_lim.ceiling": np.zeros(9000, np.int16)}
    rows = pd.DataFrame(measure(conditions, reference, ALL), columns=list(EVALUATION.columns))
    EVALUATION.write(tmp_path, rows)
    again = EVALUATION.read(tmp_path)
    left, right = summarize(rows), summarize(again)
    assert left.keys() == right.keys() == {"source", "griffin_lim", "utterances"}
    assert json.loads(json.dumps(right, allow_nan=False))["source"] == pytest.approx(left["source"], rel=1e-5)
    assert right["griffin_lim"]["ceiling"]["missing"] == left["griffin_lim"]["ceiling"]["missing"]


def test_headline_is_the_chosen_vocoders_converted_speech() -> None:
    def values(offset: float) -> dict[str, float]:
        return {name: offset + index for index, name in enumerate((*METRICS, "utterances"))}

    summary = {"source": values(0), "griffin_lim": {"converted": values(100), "ceiling": values(200)},
               "hifigan": {"converted": values(300), "ceiling": values(400)}, "utterances": 3}
    assert headline(summary, "hifigan")["mcd_db"] == 300
    assert set(headline(summary, "griffin_lim")) == {"mcd_db", "f0_corr", "speaker_similarity", "wer", "mos"}


def test_each_direction_is_summed_up_by_itself(reference: Reference, voice: Any) -> None:
    other = replace(reference, pair="demo/s1/bob-ann")
    waves = {"source": to_int16(voice(seconds=0.8, f0=220.0))[0], "target": reference.target}
    rows = pd.DataFrame([row for each in (reference, other) for row in measure(waves, each, ALL)])
    rows.loc[3, "mcd_db"] = 1.0
    pairs = pd.DataFrame([
        {"pair": reference.pair, "source": "demo/ann/s1", "target": "demo/bob/s1"},
        {"pair": other.pair, "source": "demo/bob/s1", "target": "demo/ann/s1"}])
    table = summarize_directions(rows, pairs).set_index(["source", "target", "condition"])
    assert len(table) == 4 and (table["utterances"] == 1).all()
    assert table.loc[("demo/ann", "demo/bob", "target"), "mcd_db"] == 0
    assert table.loc[("demo/bob", "demo/ann", "target"), "mcd_db"] == 1
