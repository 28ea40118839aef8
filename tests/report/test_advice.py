"""Warnings: each is given for what it is about, and not for less."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from koe.files import read_json
from koe.report.advice import advice, pitch_warning


@pytest.fixture()
def healthy(project: Path) -> dict[str, Any]:
    """The small project's counts, with everything mended that is wrong with it."""
    counts = copy.deepcopy(read_json(project / "metrics/data.json"))
    counts |= {"trim_suspects": 0, "alignment_suspects": 0, "duplicates": {"utterances": 0, "groups": 0, "largest": []}}
    counts["directions"]["demo/ann → demo/bob"]["outliers"] = {"count": 0, "worst": {}}
    demo = counts["corpora"]["demo"]
    demo |= {"upsampled": 0, "clipped": {"count": 0, "share": 0.0}, "channels": {"average": 2, "mono": 9}, "notes": {}}
    demo["speakers"]["bob"]["loudness_lufs"]["std"] = 1.0
    demo["speakers"]["bob"]["f0"]["warning"] = None
    return counts


def test_a_healthy_corpus_has_no_warnings(healthy: dict[str, Any]) -> None:
    assert advice(healthy) == []


@pytest.mark.parametrize("change, start", [
    ({"unaccounted": 3}, "unaccounted for: 3 utterances or pairs"),
    ({"trim_suspects": 1}, "trims: 1 of 11"),
    ({"alignment_suspects": 1}, "alignments: 1 of 5"),
    ({"duplicates": {"utterances": 2, "groups": 1, "largest": [["a", "b"]]}}, "duplicates: 2 utterances .* a = b"),
])
def test_totals_are_warned_of(healthy: dict[str, Any], change: dict[str, Any], start: str) -> None:
    [warning] = advice({**healthy, **change})
    assert re.match(start, warning)


@pytest.mark.parametrize("change, text", [
    ({"upsampled": 5}, "demo: 5 of 12 recordings were made at less than mel.sample_rate"),
    ({"clipped": {"count": 1, "share": 0.02}}, "demo: 1 of 12 recordings clip"),
    ({"channels": {"left": 2, "mono": 8, "right inverted": 1}}, "demo: the channels of 3 of 12 recordings are not "
     "equals, so not all were averaged as they are (left 2, right inverted 1)"),
    ({"quieter": 2}, "demo: 2 of 12 recordings are far quieter than the loudest of their channels"),
    ({"notes": {"it ends inside a frame": 1}}, "demo: 1 of 12 recordings: it ends inside a frame"),
    ({"utterances": {"imported": 12, "kept": 9}}, "demo: 3 of 12 recordings were excluded"),
])
def test_a_corpus_is_warned_of(healthy: dict[str, Any], change: dict[str, Any], text: str) -> None:
    healthy["corpora"]["demo"] |= change
    [warning] = advice(healthy)
    assert warning.startswith(text)


def test_a_speaker_is_warned_of(healthy: dict[str, Any]) -> None:
    ann = healthy["corpora"]["demo"]["speakers"]["ann"]
    ann["noise_db"], ann["loudness_lufs"]["std"] = -38.0, 3.5
    assert [warning.partition(";")[0] for warning in advice(healthy)] == [
        "demo/ann: loudness varies by 3.5 LU (standard deviation)",
        "demo/ann: the noise floor is at -38 dB of full scale"]
    ann["noise_db"] = ann["loudness_lufs"]["std"] = None  # nothing of hers was kept
    assert advice(healthy) == []


def test_pitch_is_warned_of_where_it_presses() -> None:
    assert pitch_warning("demo/ann", None, 55, 600) is pitch_warning("demo/ann", 0.02, 55, 600) is None
    assert "demo/ann: 2.1% of its voiced frames are at an end of 55 to 600 Hz" in str(
        pitch_warning("demo/ann", 0.021, 55, 600))
