"""The alignment stage: what it writes, and what it refuses to read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koe.align.aligner import FramePath, Side, dtw_aligner
from koe.align.durations import path_along
from koe.align.pairs import align_pairs, read_durations, suspicions
from koe.align.tables import ALIGNMENT, COMPARISON
from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.quarantine import read_quarantine
from koe.errors import StoreError
from koe.steps import steps_of
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import Params

LENGTHS = {"a": (40, 55), "b": (61, 60), "c": (30, 31)}
PAIRS = pd.DataFrame(
    [(f"demo/{name}/x-y", name, f"demo/x/{name}", f"demo/y/{name}", "train") for name in LENGTHS],
    columns=["pair", "sentence", "source", "target", "split"],
)


@pytest.fixture()
def dataset(tmp_path: Path, params: Params) -> Dataset:
    generator = np.random.default_rng(0)
    with ShardWriter(tmp_path / "features/demo", {"mel": mel_contract(params.mel)}) as writer:
        for name, lengths in LENGTHS.items():
            for speaker, frames in zip("xy", lengths, strict=True):
                mel = generator.normal(-4, 1, (frames, 80)).astype(np.float32)
                writer.add(f"demo/{speaker}/{name}", mel=mel)
    return Dataset(["demo"], params.mel, tmp_path)


@pytest.mark.parametrize("factor", [1, 3])
def test_every_pair_has_durations_and_diagnostics(
    tmp_path: Path, dataset: Dataset, params: Params, factor: int
) -> None:
    folder = tmp_path / "alignment"
    table = align_pairs(dataset, PAIRS, params.align, factor, folder)
    assert list(table.columns) == list(ALIGNMENT.columns)
    assert list(table["pair"]) == list(PAIRS["pair"])
    durations = read_durations(folder, dataset, PAIRS, factor)
    for name, (source, target) in LENGTHS.items():
        found = durations[f"demo/{name}/x-y"]
        assert found.dtype == np.int32 and found.shape == (steps_of(source, factor),)
        assert found.sum() == steps_of(target, factor)
    read = ALIGNMENT.read(folder)
    assert list(read["source_frames"]) == [40, 61, 30]
    assert set(read["suspect"]) <= {0, 1}
    assert list(read["suspect"]) == list((read["why"] != "").astype(int))
    assert len(read_quarantine([folder])) == 0


def test_a_second_method_is_measured_on_the_same_pairs(tmp_path: Path, dataset: Dataset, params: Params) -> None:
    def straight(source: Side, target: Side) -> FramePath:
        positions = np.linspace(0, len(source.mel) - 1, len(target.mel))
        return FramePath(path_along(positions, len(source.mel)), positions, focus=0.5)

    align = params.align.model_copy(update={"compare": "learned"})
    folder = tmp_path / "alignment"
    table = align_pairs(dataset, PAIRS, align, 3, folder, comparison=(straight, tmp_path / "other"))
    comparison = COMPARISON.read(tmp_path / "other")
    assert list(comparison["pair"]) == list(table["pair"])
    np.testing.assert_allclose(comparison["dtw.cost"], table["cost"], rtol=1e-4)
    assert (comparison["learned.cost"] > comparison["dtw.cost"]).all()  # the mels are noise: DTW finds what fits
    assert (comparison["learned.focus"] == 0.5).all() and comparison["dtw.focus"].isna().all()
    assert (comparison["distance_ms"] > 4).all()
    other = read_durations(tmp_path / "other", dataset, PAIRS, 3)
    assert other["demo/b/x-y"].tolist() == [1] * 20 + [0]  # 61 frames to 60
    again = dtw_aligner(params.mel, align), tmp_path / "same"
    same = align_pairs(dataset, PAIRS, align, 3, tmp_path / "again", comparison=again)
    assert list(same["cost"]) == list(table["cost"])
    assert (COMPARISON.read(tmp_path / "same")["distance_ms"] == 0).all()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, dataset: Dataset, params: Params) -> None:
    written = []
    for name in ("first", "second"):
        align_pairs(dataset, PAIRS, params.align, 3, tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]


def test_durations_of_another_reduction_factor_are_refused(
    tmp_path: Path, dataset: Dataset, params: Params
) -> None:
    align_pairs(dataset, PAIRS, params.align, 3, tmp_path / "alignment")
    with pytest.raises(StoreError, match=r"reduction_factor is 3 .* and 2 in acoustic.reduction.factor"):
        read_durations(tmp_path / "alignment", dataset, PAIRS, 2)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda durations: np.concatenate([durations[:-1], durations[-1:] + 1]), "sum to"),
        (lambda durations: durations[:-1], "have shape"),
        (lambda durations: np.concatenate([[-1, durations[0] + 1 + durations[1]], durations[2:]]), "go down to -1"),
    ],
)
def test_lesson_06_damaged_durations_are_refused_on_read(
    tmp_path: Path, dataset: Dataset, params: Params, change: object, message: str
) -> None:
    align_pairs(dataset, PAIRS, params.align, 3, tmp_path / "alignment")
    whole = ShardReader(tmp_path / "alignment")
    with ShardWriter(tmp_path / "damaged", whole.metadata) as writer:
        for pair in whole:
            durations = whole.get(pair, "durations")
            writer.add(pair, durations=change(durations) if pair == "demo/b/x-y" else durations)
    with pytest.raises(StoreError, match=f"demo/b/x-y: durations {message}"):
        read_durations(tmp_path / "damaged", dataset, PAIRS, 3)


def test_lesson_06_wrong_durations_are_refused_on_write(tmp_path: Path, dataset: Dataset, params: Params) -> None:
    def short_of_the_end(source: Side, target: Side) -> FramePath:
        positions = np.linspace(0, len(source.mel) - 1, len(target.mel) - 3)
        return FramePath(path_along(positions, len(source.mel)), positions)

    with pytest.raises(StoreError, match=r"demo/a/x-y: durations sum to 18, the target has 19 steps"):
        align_pairs(dataset, PAIRS, params.align, 3, tmp_path / "alignment", aligner=short_of_the_end)


def test_lesson_08_suspects_are_marked_with_the_reason(params: Params) -> None:
    align = params.align.model_copy(update={"suspect_cost": 1.5, "suspect_run_seconds": 0.4})
    table = pd.DataFrame({"cost": [1.0, 1.0, 1.6, 1.0], "longest_run": [0.1, 0.5, 0.5, 0.4]})
    fine, run, both, border = suspicions(table, align)
    assert fine == border == ""
    assert "0.50 s" in run and "cost" not in run
    assert "1.60 times the median" in both and "0.50 s" in both
