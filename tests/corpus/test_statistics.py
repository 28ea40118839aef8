"""Statistics are those of the training part, counted once, and what they do to features is undone exactly."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.corpus.dataset import Dataset
from koe.corpus.statistics import STD_FLOOR, Moments, RunningMoments, Statistics, measure_pairs, read_statistics
from koe.errors import ContractError, KoeError
from koe.params import Params
from koe.store import ShardWriter


@pytest.fixture()
def dataset(tmp_path: Path, params: Params) -> Dataset:
    generator = np.random.default_rng(1)
    with ShardWriter(tmp_path / "features" / "toy", {"mel": params.mel.contract()}) as writer:
        for speaker, level in (("ann", -4.0), ("bob", -7.0)):
            for sentence, frames in (("1", 40), ("2", 70), ("3", 50), ("4", 60)):
                f0 = generator.uniform(100, 200, frames).astype(np.float32)
                f0[:10] = 0
                writer.add(
                    f"toy/{speaker}/{sentence}", f0=f0,
                    mel=generator.normal(level, 1.5, (frames, params.mel.n_mels)).astype(np.float32),
                    energy=generator.normal(level, 0.5, frames).astype(np.float32),
                )
    return Dataset(["toy"], params.mel, tmp_path)


def pairs_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame([{"source": f"toy/ann/{source}", "target": f"toy/bob/{target}", "split": split}
                         for source, target, split in rows])


PAIRS = pairs_of(("1", "1", "train"), ("2", "2", "train"), ("2", "3", "train"), ("3", "4", "validation"),
                 ("4", "4", "test"))


def test_each_training_utterance_counts_once_per_side(dataset: Dataset, tmp_path: Path) -> None:
    source, target = measure_pairs(dataset, PAIRS, tmp_path / "stats")
    for side, names in ((source, ["ann/1", "ann/2"]), (target, ["bob/1", "bob/2", "bob/3"])):
        mel = np.concatenate([dataset.mel(f"toy/{name}") for name in names]).astype(np.float64)
        energy = np.concatenate([dataset.energy(f"toy/{name}") for name in names]).astype(np.float64)
        f0 = np.concatenate([dataset.f0(f"toy/{name}") for name in names]).astype(np.float64)
        assert side.mel.mean == pytest.approx(mel.mean(axis=0), rel=1e-6)
        assert side.mel.std == pytest.approx(mel.std(axis=0), rel=1e-6)
        assert float(side.energy.mean) == pytest.approx(energy.mean(), rel=1e-6)
        assert float(side.log_f0.mean) == pytest.approx(np.log(f0[f0 > 0]).mean(), rel=1e-6)
        assert float(side.log_f0.std) == pytest.approx(np.log(f0[f0 > 0]).std(), rel=1e-5)


def test_validation_and_test_have_no_say(dataset: Dataset, tmp_path: Path) -> None:
    measure_pairs(dataset, PAIRS, tmp_path / "all")
    measure_pairs(dataset, PAIRS[PAIRS["split"] == "train"], tmp_path / "train")
    assert (tmp_path / "all" / "stats.json").read_bytes() == (tmp_path / "train" / "stats.json").read_bytes()


def test_statistics_come_back_from_their_file(dataset: Dataset, tmp_path: Path, params: Params) -> None:
    written = measure_pairs(dataset, PAIRS, tmp_path / "stats")
    read = read_statistics(tmp_path / "stats", params.mel)
    assert [side.to_json() for side in read] == [side.to_json() for side in written]
    value = json.loads((tmp_path / "stats" / "stats.json").read_text())
    assert set(value) == {"mel", "source", "target"}
    assert len(value["source"]["mel"]["mean"]) == params.mel.n_mels
    assert isinstance(value["target"]["log_f0"]["std"], float)


def test_lesson_13_statistics_of_other_mel_settings_are_refused(
    dataset: Dataset, tmp_path: Path, params: Params
) -> None:
    measure_pairs(dataset, PAIRS, tmp_path / "stats")
    with pytest.raises(ContractError, match=r"fmax: 8000.0 in .*stats.json, 7600.0 in the parameters"):
        read_statistics(tmp_path / "stats", params.mel.model_copy(update={"fmax": 7600.0}))


def test_missing_statistics_and_missing_pairs_say_what_to_do(
    dataset: Dataset, tmp_path: Path, params: Params
) -> None:
    with pytest.raises(KoeError, match="dvc repro stats"):
        read_statistics(tmp_path / "nowhere", params.mel)
    with pytest.raises(KoeError, match=r"pairs\.csv"):
        measure_pairs(dataset, PAIRS[PAIRS["split"] == "test"], tmp_path / "stats")


@settings(max_examples=50, deadline=None)
@given(
    pieces=st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_running_moments_are_those_of_everything_at_once(pieces: list[list[float]], offset: float) -> None:
    running = RunningMoments()
    for piece in pieces:
        running.add(np.array(piece) + offset)
    everything = np.concatenate([np.array(piece) for piece in pieces]) + offset
    assert running.count == len(everything)
    if len(everything):
        assert float(running.mean) == pytest.approx(everything.mean(), rel=1e-9, abs=1e-9)
        assert float(running.std) == pytest.approx(everything.std(), rel=1e-6, abs=1e-6)


def statistics_of(n_mels: int) -> Statistics:
    generator = np.random.default_rng(0)
    mel = Moments(generator.normal(-5, 1, n_mels), generator.uniform(0.5, 2, n_mels))
    return Statistics(mel, Moments(np.array(5.0), np.array(0.2)), Moments(np.array(-1.0), np.array(0.7)))


@pytest.mark.parametrize("feature, shape", [("mel", (7, 12)), ("log_f0", (7,)), ("energy", (2, 7))])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_denormalize_undoes_normalize_and_keeps_the_type(kind: str, feature: str, shape: tuple[int, ...]) -> None:
    statistics = statistics_of(12)
    array = np.random.default_rng(3).normal(0, 2, shape).astype(np.float32)
    values = torch.from_numpy(array.copy()) if kind == "torch" else array.copy()
    normal = getattr(statistics, f"normalize_{feature}")(values)
    back = getattr(statistics, f"denormalize_{feature}")(normal)
    assert type(normal) is type(values) and normal.dtype == values.dtype
    assert np.allclose(np.asarray(back), array, atol=1e-5)
    assert np.array_equal(np.asarray(values), array)  # nothing is normalised in place
    moments = getattr(statistics, feature)
    assert np.allclose(np.asarray(normal), (array - moments.mean) / moments.std, atol=1e-5)


def test_a_band_that_never_changes_is_not_divided_by_nothing() -> None:
    running = RunningMoments()
    running.add(np.full((50, 3), -11.5))
    moments = Moments.of(running)
    assert (moments.std == STD_FLOOR).all()
    assert not moments.normalize(np.full((2, 3), -11.5, dtype=np.float32)).any()
