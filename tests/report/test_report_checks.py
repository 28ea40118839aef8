"""metrics/data.json: known counts of a small project, and nothing that leaves without being counted."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from koe.align.tables import ALIGNMENT
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import PAIRS
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.tables.features import FEATURES
from koe.corpus.tables.resampled import RESAMPLED
from koe.corpus.tables.utterances import UTTERANCES
from koe.files import read_json
from koe.report.checks import LISTED, count_data
from koe.tables import Table
from koe.tasks.conversion.schema import Params


@pytest.fixture()
def copied(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project / "data", tmp_path / "data"))


@pytest.fixture()
def counts(project: Path) -> dict[str, Any]:
    return read_json(project / "metrics/data.json")


def _count(data: Path, params: Params) -> dict:
    return count_data(Dataset(["demo"], params.mel, data), params.speaker_pitch)


def test_counts_of_the_small_project(counts: dict[str, Any]) -> None:
    assert counts["utterances"] == {"imported": 12, "kept": 11}
    assert counts["quarantined"] == {
        "total": 4, "import": {"unreadable": 2}, "resample": {"too_short": 1}, "pair": {"partner_missing": 1}}
    assert counts["pairs"] == {"train": 2, "validation": 1, "test": 2}
    assert counts["trim_suspects"] == counts["alignment_suspects"] == counts["clipped"] == 1
    assert counts["upsampled"] == 5  # all of ann, 16 kHz, that were resampled


def test_counts_of_a_corpus_are_those_of_its_speakers(counts: dict[str, Any]) -> None:
    demo = counts["corpora"]["demo"]
    assert (demo["importer"], demo["licence"], demo["language"]) == ("folders", "CC0, <ours>", "en")
    assert demo["sample_rates"] == {"16000": 6, "44100": 6}
    assert demo["formats"] == {"WAV/PCM_16": 12}
    assert (demo["channels"], demo["quieter"], demo["notes"]) == ({"mono": 10, "right inverted": 1}, 0, {"cut": 1})
    ann, bob = demo["speakers"]["ann"], demo["speakers"]["bob"]
    for name in ("imported", "kept"):
        assert ann["utterances"][name] + bob["utterances"][name] == demo["utterances"][name]
        assert ann["hours"][name] + bob["hours"][name] == pytest.approx(demo["hours"][name], abs=1e-4)
    assert ann["quarantined"] == {"total": 2, "import": {"unreadable": 1}, "resample": {"too_short": 1}}
    assert bob["quarantined"] == {"total": 2, "import": {"unreadable": 1}, "pair": {"partner_missing": 1}}
    assert (ann["upsampled"], bob["upsampled"]) == (5, 0)
    assert (ann["trim_suspects"], bob["trim_suspects"]) == (0, 1)


def test_a_speaker_is_described_by_its_recordings(counts: dict[str, Any]) -> None:
    bob = counts["corpora"]["demo"]["speakers"]["bob"]
    assert bob["loudness_lufs"] == {"mean": -25.67, "std": 4.62, "lowest": -36.0, "highest": -23.4,
                                    "quietest": "demo/bob/s1", "loudest": "demo/bob/s6"}
    assert bob["clipped"] == {"count": 1, "share": 0.1667}
    assert bob["noise_db"] == -66.5
    pitch = {name: bob["f0"][name] for name in ("low", "median", "high", "pressed", "floor", "ceiling")}
    assert pitch == {"low": 108.0, "median": 120.0, "high": 144.0, "pressed": 0.25, "floor": 55.0, "ceiling": 600.0}
    assert bob["f0"]["warning"].startswith("demo/bob: 25.0% of its voiced frames are at an end of 55 to 600 Hz")
    assert counts["corpora"]["demo"]["speakers"]["ann"]["f0"]["warning"] is None


def test_hours_are_those_of_the_recordings_and_of_the_frames_kept(
    counts: dict[str, Any], project: Path, report_params: Params
) -> None:
    mel = report_params.mel
    frames = FEATURES.read(project / "data/features/demo")["frames"].sum()
    imported = UTTERANCES.read(project / "data/corpus/demo")["seconds"].sum()
    assert counts["hours"]["kept"] == pytest.approx(frames * mel.hop_length / mel.sample_rate / 3600, abs=1e-5)
    assert counts["hours"]["imported"] == pytest.approx(imported / 3600, abs=1e-5)
    assert counts["hours"]["kept"] < counts["hours"]["imported"]


def test_speaking_rate_counts_letters_of_what_was_kept(project: Path, counts: dict[str, Any]) -> None:
    table = FEATURES.read(project / "data/features/demo").set_index("utterance")
    frames = table["frames"].loc[[name for name in table.index if name.startswith("demo/ann/")]]
    letters = 4 * len("Thisissentencenumber1") + len("Isscriptalert1scriptreadsaidaloud")
    expected = letters / (frames.sum() * 256 / 22050)
    assert counts["corpora"]["demo"]["speakers"]["ann"]["letters_per_second"] == pytest.approx(expected, abs=0.01)


def test_what_nothing_was_measured_for_is_null(copied: Path, report_params: Params) -> None:
    imported = UTTERANCES.read(copied / "corpus/demo")
    UTTERANCES.write(copied / "corpus/demo", imported.assign(text="", role="", gender=""))
    for folder, table in (("resampled/demo", RESAMPLED), ("features/demo", FEATURES)):
        rows = table.read(copied / folder)
        table.write(copied / folder, rows[~rows["utterance"].str.contains("/ann/")])
    PAIRS.write(copied / "pairs", PAIRS.empty())
    ann = _count(copied, report_params)["corpora"]["demo"]["speakers"]["ann"]
    assert ann["letters_per_second"] is ann["noise_db"] is ann["f0"]["median"] is ann["f0"]["pressed"] is None
    assert ann["loudness_lufs"] == dict.fromkeys(("mean", "std", "lowest", "highest"))
    assert ann["hours"]["kept"] == ann["utterances"]["kept"] == 0


def test_pressed_counts_frames_not_recordings(copied: Path, report_params: Params) -> None:
    table = FEATURES.read(copied / "features/demo").assign(frames=100, voiced=0.5, f0_pressed=0.0)
    first = table["utterance"] == "demo/bob/s1"
    table.loc[first, ["frames", "voiced", "f0_pressed"]] = [300, 1.0, 0.5]
    FEATURES.write(copied / "features/demo", table)
    bob = _count(copied, report_params)["corpora"]["demo"]["speakers"]["bob"]
    assert bob["f0"]["pressed"] == pytest.approx(150 / (300 + 5 * 50), abs=1e-4)


def test_directions_have_their_ratios_and_outliers(project: Path, counts: dict[str, Any]) -> None:
    table = ALIGNMENT.read(project / "data/alignment")
    ratios = table["target_frames"] / table["source_frames"]
    assert list(counts["directions"]) == ["demo/ann → demo/bob"]
    direction = counts["directions"]["demo/ann → demo/bob"]
    assert direction["count"] == 5
    assert direction["mean"] == pytest.approx(ratios.mean(), abs=1e-4)
    assert direction["std"] == pytest.approx(ratios.std(ddof=0), abs=1e-4)
    assert direction["outliers"]["count"] == 1
    assert direction["outliers"]["worst"] == {"demo/s3/ann-bob": pytest.approx(ratios[2], abs=1e-3)}


def test_duplicates_are_found_across_names(counts: dict[str, Any], copied: Path, report_params: Params) -> None:
    assert counts["duplicates"] == {"utterances": 2, "groups": 1, "largest": [["demo/bob/s5", "demo/bob/s6"]]}
    table = RESAMPLED.read(copied / "resampled/demo")
    table.loc[table["utterance"].isin(["demo/ann/s1", "demo/ann/s2", "demo/bob/s1"]), "digest"] = "00000000000000ff"
    RESAMPLED.write(copied / "resampled/demo", table)
    assert _count(copied, report_params)["duplicates"] == {"utterances": 5, "groups": 2, "largest": [
        ["demo/ann/s1", "demo/ann/s2", "demo/bob/s1"], ["demo/bob/s5", "demo/bob/s6"]]}


SENTENCES = 300


def _with_more_sentences(data: Path) -> None:
    """Writes SENTENCES more pairs into the tables that the stages left, each like s1: x000, x001 and so on.

    Of bob's, the first 30 hold the same samples, and the next 90 every three of them. The last 100 last ever longer.
    """
    numbers = range(SENTENCES)
    digests = {f"demo/bob/x{n:03d}": "a" * 16 if n < 30 else f"b{n // 3:015x}" for n in range(120)}
    frames = {f"demo/bob/x{n:03d}": str(400 + 10 * n) for n in numbers[-100:]}
    for path in ("corpus/demo/table.csv", "resampled/demo/table.csv", "trim/demo/trim.csv", "features/demo/table.csv",
                 "pairs/pairs.csv"):
        table = pd.read_csv(data / path, dtype=str, keep_default_na=False)
        first = table[table.iloc[:, 0].isin(["demo/ann/s1", "demo/bob/s1", "demo/s1/ann-bob"])]
        more = pd.concat([first.replace(r"\bs1\b", f"x{n:03d}", regex=True) for n in numbers])
        if "digest" in more:
            more["digest"] = more["utterance"].map(digests).fillna("c" + more["utterance"].str[5:])
        if "frames" in more:
            more["frames"] = more["utterance"].map(frames).fillna("100")
        pd.concat([table, more]).to_csv(data / path, index=False)


def test_lists_of_names_have_an_end(copied: Path, report_params: Params) -> None:
    _with_more_sentences(copied)
    counts = _count(copied, report_params)
    duplicates = counts["duplicates"]
    assert (duplicates["utterances"], duplicates["groups"]) == (2 + 30 + 90, 1 + 1 + 30)  # s5 and s6 are equal already
    assert len(duplicates["largest"]) == LISTED
    assert duplicates["largest"][0] == [f"demo/bob/x{number:03d}" for number in range(LISTED)]
    outliers = counts["directions"]["demo/ann → demo/bob"]["outliers"]
    assert 100 <= outliers["count"] <= 105
    assert list(outliers["worst"]) == [f"demo/x{SENTENCES - 1 - place:03d}/ann-bob" for place in range(LISTED)]


def test_numbers_stay_numbers_for_metrics_diff(counts: dict[str, Any]) -> None:
    assert json.loads(json.dumps(counts, allow_nan=False)) == counts
    for name, value in _leaves(counts):
        assert value is None or isinstance(value, int | float) or any(
            part in name for part in ("warning", "quietest", "loudest", "largest", "licence", "importer", "language"))


def _leaves(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for name, value in items for leaf in _leaves(value, f"{prefix}{name}.")]
    return [(prefix, tree)]


def test_lesson_23_everything_excluded_is_counted(counts: dict[str, Any]) -> None:
    quarantined = counts["quarantined"]
    by_stage = [sum(reasons.values()) for stage, reasons in quarantined.items() if stage != "total"]
    assert quarantined["total"] == sum(by_stage)
    paired = 2 * sum(counts["pairs"].values())
    lost_after_import = quarantined["total"] - quarantined["import"]["unreadable"]
    assert counts["utterances"]["imported"] == paired + lost_after_import
    assert counts["unaccounted"] == 0


@pytest.mark.parametrize(("folder", "table"), [
    ("resampled/demo", QUARANTINE), ("pairs", QUARANTINE), ("alignment", ALIGNMENT),
], ids=["resampled", "pairs", "alignment"])
def test_lesson_23_a_row_that_vanishes_is_noticed(
    copied: Path, report_params: Params, folder: str, table: Table
) -> None:
    table.write(copied / folder, table.read(copied / folder).iloc[1:])
    assert _count(copied, report_params)["unaccounted"] == 1


def test_lesson_23_both_sides_of_a_lost_pair_are_noticed(copied: Path, report_params: Params) -> None:
    pairs = PAIRS.read(copied / "pairs")
    PAIRS.write(copied / "pairs", pairs.iloc[1:])
    counts = _count(copied, report_params)
    assert counts["unaccounted"] == 2
    assert counts["warnings"][0].startswith("unaccounted for: 2 utterances or pairs")
    quarantine = QUARANTINE.read(copied / "pairs")
    for side in ("source", "target"):
        quarantine.loc[len(quarantine)] = [pairs[side][0], "pair", "in_no_pair", "its pair was excluded"]
    quarantine.loc[len(quarantine)] = [pairs["pair"][0], "pair", "duration_ratio", "3.1"]
    QUARANTINE.write(copied / "pairs", quarantine)
    counts = _count(copied, report_params)
    assert counts["unaccounted"] == 0
    assert counts["corpora"]["demo"]["quarantined"]["pair"] == {
        "partner_missing": 1, "in_no_pair": 2, "duration_ratio": 1}
    bob = counts["corpora"]["demo"]["speakers"]["bob"]["quarantined"]
    assert bob["pair"] == {"partner_missing": 1, "in_no_pair": 1}


def test_without_pairs_directions_are_missing_and_the_rest_counted(copied: Path, report_params: Params) -> None:
    PAIRS.write(copied / "pairs", PAIRS.empty())
    ALIGNMENT.write(copied / "alignment", ALIGNMENT.empty())
    counts = _count(copied, report_params)
    assert counts["directions"] == {}
    assert counts["pairs"] == {"train": 0, "validation": 0, "test": 0}
    assert counts["unaccounted"] == 10


def test_a_corpus_of_which_everything_is_kept(copied: Path, report_params: Params) -> None:
    for path in copied.rglob("quarantine.csv"):
        QUARANTINE.write(path.parent, QUARANTINE.empty())
    assert _count(copied, report_params)["corpora"]["demo"]["quarantined"] == {"total": 0}
