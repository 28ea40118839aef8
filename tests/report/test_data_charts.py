"""Drawings of the data: of every speaker and direction, or of the least usual, and in words too."""

import re

import numpy as np
import pandas as pd
import pytest

from koe.pipeline.declaration import PipelineFolder
from koe.report.clips import dataset_of
from koe.report.data import Tables, load_tables
from koe.report.data_charts import MOST_ROWS, DataChart, data_charts


@pytest.fixture(scope="module")
def tables(folder: PipelineFolder) -> Tables:
    return load_tables(dataset_of(folder), folder.params.speaker_pitch)


def _charts(tables: Tables) -> dict[str, DataChart]:
    return {chart.title: chart for chart in data_charts(tables.recordings, tables.ratios, tables.f0_ranges)}


def test_the_small_project_is_drawn(tables: Tables) -> None:
    charts = _charts(tables)
    assert list(charts) == ["Duration", "Loudness", "F0", "Duration ratio", "Sample rates", "Formats"]
    assert charts["Duration"].note.startswith("11 trimmed recordings")
    assert 'aria-label="Loudness: ' in charts["Loudness"].svg
    assert ". ann -23.7, bob -23.6" in charts["Loudness"].svg
    assert charts["F0"].svg.count('class="limit"') == 2 * 2
    assert charts["Duration ratio"].svg.count('class="outlier"') == 1
    assert "ann → bob 1.1" in charts["Duration ratio"].svg
    assert "16000 Hz 6, 44100 Hz 6" in charts["Sample rates"].svg


def test_of_many_speakers_the_least_usual_are_drawn() -> None:
    speakers = [f"c/s{number:03d}" for number in range(100)]
    recordings = pd.DataFrame({
        "speaker": speakers, "kept": True, "kept_seconds": 2.0, "sample_rate": 22050, "format": "", "f0_median": 150.0,
        "f0_low": 120.0, "f0_high": 200.0, "f0_pressed": np.arange(100) / 1000, "lufs": -24.0 + np.arange(100) / 50})
    ratios = pd.DataFrame({"direction": [], "ratio": [], "outlier": np.zeros(0, bool)})
    charts = {chart.title: chart for chart in data_charts(recordings, ratios, dict.fromkeys(speakers, (60.0, 400.0)))}
    assert list(charts) == ["Duration", "Loudness", "F0", "Sample rates", "Formats"]
    for title, expected in {"Loudness": [*range(15), *range(85, 100)], "F0": [*range(70, 100)]}.items():
        assert f"{MOST_ROWS} of 100 speakers, the least usual" in charts[title].note
        assert [int(name) for name in re.findall(r"<title>s(\d+)</title>", charts[title].svg)] == expected
    assert "unknown" in charts["Formats"].svg


def test_of_nothing_nothing_is_drawn(tables: Tables) -> None:
    assert _charts(Tables(tables.recordings[:0], tables.ratios[:0], {})) == {}
    lost = tables.recordings.assign(kept=False, lufs=np.nan)
    assert list(_charts(Tables(lost, tables.ratios[:0], {}))) == ["Sample rates", "Formats"]


def test_names_keep_their_corpus_where_there_are_several(tables: Tables) -> None:
    two = tables.recordings.assign(speaker=tables.recordings["speaker"].str.replace("demo/bob", "other/bob"))
    assert "demo/ann -23.7, other/bob" in _charts(Tables(two, tables.ratios, {}))["Loudness"].svg
