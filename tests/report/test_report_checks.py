"""metrics/data.json: known counts of a small project, and nothing that leaves without being counted."""

import shutil
from pathlib import Path

import pytest

from koe.corpus.dataset import Dataset
from koe.files import read_json, read_table, write_table
from koe.params import Params
from koe.report.checks import count_data


@pytest.fixture()
def copied(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project / "data", tmp_path / "data"))


def _count(data: Path, params: Params) -> dict:
    return count_data(Dataset(["demo"], params.mel, data))


def test_counts_of_the_small_project(project: Path) -> None:
    counts = read_json(project / "metrics/data.json")
    assert counts["utterances"] == {"imported": 12, "kept": 11}
    assert counts["quarantined"] == {
        "total": 4, "import": {"unreadable": 2}, "resample": {"too_short": 1}, "pair": {"partner_missing": 1}}
    assert counts["pairs"] == {"train": 2, "validation": 1, "test": 2}
    assert counts["trim_suspects"] == counts["alignment_suspects"] == counts["clipped"] == 1
    assert counts["upsampled"] == 5  # all of ann, 16 kHz, that were resampled
    ann, bob = counts["speakers"]["demo/ann"], counts["speakers"]["demo/bob"]
    assert (ann["imported"], ann["kept"], ann["quarantined"], ann["upsampled"]) == (6, 5, 2, 5)
    assert (bob["imported"], bob["kept"], bob["quarantined"], bob["trim_suspects"]) == (6, 6, 2, 1)


def test_seconds_are_those_of_the_recordings_and_of_the_frames_kept(project: Path, report_params: Params) -> None:
    counts, mel = read_json(project / "metrics/data.json"), report_params.mel
    frames = read_table(project / "data/features/demo/table.csv")["frames"].sum()
    imported = read_table(project / "data/corpus/demo/table.csv")["seconds"].sum()
    assert counts["seconds"]["kept"] == pytest.approx(frames * mel.hop_length / mel.sample_rate, abs=0.05)
    assert counts["seconds"]["imported"] == pytest.approx(imported, abs=0.05)
    assert counts["seconds"]["kept"] < counts["seconds"]["imported"]


def test_duration_ratio_is_target_over_source(project: Path) -> None:
    table = read_table(project / "data/alignment/alignment.csv")
    expected = (table["target_frames"] / table["source_frames"]).mean()
    assert read_json(project / "metrics/data.json")["duration_ratio"] == pytest.approx(expected, abs=1e-4)


def test_lesson_23_everything_excluded_is_counted(project: Path) -> None:
    counts = read_json(project / "metrics/data.json")
    quarantined = counts["quarantined"]
    by_stage = [sum(reasons.values()) for stage, reasons in quarantined.items() if stage != "total"]
    assert quarantined["total"] == sum(by_stage)
    paired = 2 * sum(counts["pairs"].values())
    lost_after_import = quarantined["total"] - quarantined["import"]["unreadable"]
    assert counts["utterances"]["imported"] == paired + lost_after_import
    assert counts["unaccounted"] == 0


@pytest.mark.parametrize("table", ["resampled/demo/quarantine.csv", "pairs/quarantine.csv", "alignment/alignment.csv"])
def test_lesson_23_a_row_that_vanishes_is_noticed(copied: Path, report_params: Params, table: str) -> None:
    path = copied / table
    write_table(path, read_table(path).iloc[1:])
    assert _count(copied, report_params)["unaccounted"] == 1


def test_lesson_23_both_sides_of_an_excluded_pair_are_accounted_for(copied: Path, report_params: Params) -> None:
    pairs = read_table(copied / "pairs/pairs.csv")
    write_table(copied / "pairs/pairs.csv", pairs.iloc[1:])
    assert _count(copied, report_params)["unaccounted"] == 2
    quarantine = read_table(copied / "pairs/quarantine.csv")
    quarantine.loc[len(quarantine)] = [pairs["pair"][0], "pair", "duration_ratio", "3.1"]
    write_table(copied / "pairs/quarantine.csv", quarantine)
    assert _count(copied, report_params)["unaccounted"] == 0


def test_without_pairs_the_ratio_is_missing_and_the_rest_counted(copied: Path, report_params: Params) -> None:
    for table in ("pairs/pairs.csv", "alignment/alignment.csv"):
        write_table(copied / table, read_table(copied / table).iloc[:0])
    counts = _count(copied, report_params)
    assert counts["duration_ratio"] is None
    assert counts["pairs"] == {"train": 0, "validation": 0, "test": 0}
    assert counts["unaccounted"] == 10
