"""What was measured, side by side; and which duration ratios are outliers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fake_project import SPEAKERS

from koe.corpus.dataset import Dataset
from koe.report.recordings import ratios_table, recordings_table
from koe.tasks.conversion.schema import Params


def test_every_imported_utterance_has_a_row_and_nan_where_it_did_not_get_to(
    project: Path, report_params: Params
) -> None:
    table = recordings_table(Dataset(["demo"], report_params.mel, project / "data"))
    assert len(table) == 12
    assert set(table["speaker"]) == {f"demo/{speaker}" for speaker in SPEAKERS}
    lost = table.loc["demo/ann/s6"]
    assert not lost["kept"] and not lost["upsampled"]
    assert np.isnan([lost["lufs"], lost["frames"], lost["kept_seconds"]]).all()
    assert table["kept"].sum() == table["f0_median"].notna().sum() == 11
    assert table.loc["demo/bob/s6", "digest"] == "1234567890123456"  # not a number


def _ratios(frames: dict[str, tuple[list[int], list[int]]]) -> pd.DataFrame:
    """Ratios of pairs of c/a and a second speaker, by speaker: frames of the sources and of the targets."""
    rows, pairs = [], []
    for speaker, (sources, targets) in frames.items():
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            names = [f"c/a/{speaker}{number}", f"c/{speaker}/{number}"]
            rows += [(names[0], "c/a", source), (names[1], f"c/{speaker}", target)]
            pairs.append((f"c/{number}/a-{speaker}", *names))
    recordings = pd.DataFrame(rows, columns=["utterance", "speaker", "frames"]).set_index("utterance")
    return ratios_table(pd.DataFrame(pairs, columns=["pair", "source", "target"]), recordings)


def test_an_outlier_is_far_from_its_own_direction() -> None:
    table = _ratios({"b": ([100] * 9, [98, 99, 100, 101, 102, 100, 99, 101, 140]),
                     "d": ([100] * 9, [138, 139, 140, 141, 142, 140, 139, 141, 100])})
    assert table["pair"][table["outlier"]].tolist() == ["c/8/a-b", "c/8/a-d"]
    assert set(table["direction"]) == {"c/a → c/b", "c/a → c/d"}
    assert table["ratio"].iloc[8] == pytest.approx(1.4)
    assert table["distance"].iloc[8] == pytest.approx(0.4)


def test_outliers_are_three_robust_deviations_away() -> None:
    spread = [90, 95, 100, 105, 110]  # median absolute deviation 5, so 3 deviations are 22.2
    table = _ratios({"b": ([100] * 7, [*spread, 122, 100])})
    assert not table["outlier"].any()
    table = _ratios({"b": ([100] * 7, [*spread, 123, 100])})
    assert table["outlier"].sum() == 1


def test_where_all_are_equal_a_frame_more_is_no_outlier() -> None:
    assert not _ratios({"b": ([100] * 5, [100, 100, 100, 100, 102])})["outlier"].any()
    assert _ratios({"b": ([100] * 5, [100, 100, 100, 100, 110])})["outlier"].sum() == 1


def test_no_pairs_have_no_ratios() -> None:
    assert _ratios({}).empty
