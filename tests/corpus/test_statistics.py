"""Statistics are those of the training part, counted once, and what they do to features is undone exactly."""

import json
import random
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.params import StatsParams
from koe.corpus.statistics import Statistics, measure_pairs, read_statistics, statistics_of, within_fences
from koe.errors import ContractError, KoeError
from koe.statistics import STD_FLOOR, Moments
from koe.store import ShardWriter
from koe.tasks.conversion.schema import Params


@pytest.fixture()
def dataset(tmp_path: Path, params: Params) -> Dataset:
    generator = np.random.default_rng(1)
    with ShardWriter(tmp_path / "features" / "toy", {"mel": mel_contract(params.mel)}) as writer:
        for speaker, level in (("ann", -4.0), ("bob", -7.0)):
            for sentence, frames in (("1", 40), ("2", 70), ("3", 50), ("4", 60)):
                f0 = generator.uniform(100, 200, frames).astype(np.float32)
                f0[:10] = 0
                writer.add(
                    f"toy/{speaker}/{sentence}", f0=f0,
                    mel=generator.normal(level, 1.5, (frames, params.mel.n_mels)).astype(np.float32),
                    energy=generator.normal(level, 0.5, frames).astype(np.float32),
                )
        for number in range(6):
            writer.add(f"toy/mute/{number}", f0=np.zeros(9, np.float32), energy=np.zeros(9, np.float32),
                       mel=np.zeros((9, params.mel.n_mels), np.float32))
    return Dataset(["toy"], params.mel, tmp_path)


def pairs_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame([{"source": f"toy/ann/{source}", "target": f"toy/bob/{target}", "split": split}
                         for source, target, split in rows])


PAIRS = pairs_of(("1", "1", "train"), ("2", "2", "train"), ("2", "3", "train"), ("3", "4", "validation"),
                 ("4", "4", "test"))
BY_SIDE = StatsParams(mel="side", pitch="side", energy="side", outliers=None)


def everything(dataset: Dataset, names: list[str]) -> dict[str, np.ndarray]:
    """All frames of some utterances, float64; F0 as logarithms of what is voiced."""
    f0 = np.concatenate([dataset.f0(f"toy/{name}") for name in names]).astype(np.float64)
    return {
        "mel": np.concatenate([dataset.mel(f"toy/{name}") for name in names]).astype(np.float64),
        "energy": np.concatenate([dataset.energy(f"toy/{name}") for name in names]).astype(np.float64),
        "log_f0": np.log(f0[f0 > 0]),
    }


def check(found: Statistics, frames: dict[str, np.ndarray]) -> None:
    for feature, values in frames.items():
        moments = getattr(found, feature)
        assert moments.count == len(values)
        assert moments.mean == pytest.approx(values.mean(axis=0), rel=1e-6)
        assert moments.std == pytest.approx(values.std(axis=0), rel=1e-5)


def test_each_training_utterance_counts_once_in_each_group(dataset: Dataset, tmp_path: Path) -> None:
    found = measure_pairs(dataset, PAIRS, BY_SIDE, tmp_path / "stats")
    ann, bob = ["ann/1", "ann/2"], ["bob/1", "bob/2", "bob/3"]
    check(found.source, everything(dataset, ann))
    check(found.target, everything(dataset, bob))
    check(found.overall, everything(dataset, ann + bob))
    check(found.speakers["toy/ann"], everything(dataset, ann))


def test_each_feature_is_normalised_by_the_group_that_is_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    both = pd.concat([PAIRS, PAIRS.rename(columns={"source": "target", "target": "source"})], ignore_index=True)
    levels = StatsParams(mel="global", pitch="speaker", energy="side", outliers=None)
    found = measure_pairs(dataset, both, levels, tmp_path / "stats")
    ann, bob = found.of_source("toy/ann"), found.of_source("toy/bob")
    assert ann.mel is bob.mel is found.overall.mel
    assert ann.log_f0 is found.speakers["toy/ann"].log_f0 and ann.log_f0 is not bob.log_f0
    assert ann.energy is bob.energy is found.source.energy
    with pytest.raises(KoeError, match=r"no statistics of speaker toy/eve.*toy/ann, toy/bob"):
        found.of_target("toy/eve")


def test_someone_new_needs_statistics_only_where_they_are_by_speaker(dataset: Dataset, tmp_path: Path) -> None:
    found = measure_pairs(dataset, PAIRS, BY_SIDE, tmp_path / "stats")
    assert found.of_target("toy/eve").mel is found.target.mel
    known = found.with_speaker("toy/eve", found.source)
    assert "toy/eve" in known.speakers and "toy/eve" not in found.speakers


def test_validation_and_test_have_no_say(dataset: Dataset, tmp_path: Path) -> None:
    measure_pairs(dataset, PAIRS, BY_SIDE, tmp_path / "all")
    measure_pairs(dataset, PAIRS[PAIRS["split"] == "train"], BY_SIDE, tmp_path / "train")
    assert (tmp_path / "all" / "stats.json").read_bytes() == (tmp_path / "train" / "stats.json").read_bytes()


def test_the_outlier_rule_leaves_out_octave_errors(dataset: Dataset) -> None:
    f0 = np.full(100, 120.0, np.float32) * np.exp(np.linspace(-0.1, 0.1, 100, dtype=np.float32))
    f0[40:44] *= 2
    mel, energy = np.zeros((100, 2), np.float32), np.zeros(100, np.float32)
    kept, fenced = (statistics_of(mel, f0, energy, reach).log_f0 for reach in (None, 1.5))
    assert (kept.count, fenced.count) == (100, 96)
    assert fenced.std < 0.07 < kept.std
    assert not len(within_fences(np.zeros(0), 1.5))


def test_statistics_come_back_from_their_file(dataset: Dataset, tmp_path: Path, params: Params) -> None:
    written = measure_pairs(dataset, PAIRS, params.stats, tmp_path / "stats")
    read = read_statistics(tmp_path / "stats", params.mel)
    assert read.to_json() == written.to_json()
    assert read.levels == params.stats
    value = json.loads((tmp_path / "stats" / "stats.json").read_text())
    assert set(value) == {"mel", "levels", "source", "target", "overall", "speakers"}
    assert len(value["source"]["mel"]["mean"]) == params.mel.n_mels
    assert isinstance(value["target"]["log_f0"]["std"], float)


def test_lesson_13_statistics_of_other_mel_settings_are_refused(
    dataset: Dataset, tmp_path: Path, params: Params
) -> None:
    measure_pairs(dataset, PAIRS, BY_SIDE, tmp_path / "stats")
    with pytest.raises(ContractError, match=r"fmax: 8000.0 in .*stats.json, 7600.0 in the parameters"):
        read_statistics(tmp_path / "stats", params.mel.model_copy(update={"fmax": 7600.0}))


def test_missing_statistics_and_missing_pairs_say_what_to_do(
    dataset: Dataset, tmp_path: Path, params: Params
) -> None:
    with pytest.raises(KoeError, match="dvc repro stats"):
        read_statistics(tmp_path / "nowhere", params.mel)
    silent = PAIRS.assign(source=[f"toy/mute/{number}" for number in range(5)], target="toy/mute/5")
    with pytest.raises(KoeError, match=r"pairs\.csv"):
        measure_pairs(dataset, silent, BY_SIDE, tmp_path / "stats")


@settings(max_examples=50, deadline=None)
@given(
    pieces=st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 1e6]), order=st.randoms(use_true_random=False),
)
def test_merged_moments_are_those_of_everything_at_once(
    pieces: list[list[float]], offset: float, order: random.Random
) -> None:
    whole = np.concatenate([np.array(piece) for piece in pieces]) + offset
    order.shuffle(pieces)
    merged = reduce(Moments.merge, [Moments.of(np.array(piece) + offset) for piece in pieces])
    assert merged.count == len(whole)
    if len(whole):
        assert float(merged.mean) == pytest.approx(whole.mean(), rel=1e-9, abs=1e-9)
        assert float(merged.std) == pytest.approx(whole.std(), rel=1e-6, abs=1e-6)


def made_up(n_mels: int) -> Statistics:
    generator = np.random.default_rng(0)
    mel = Moments(9, generator.normal(-5, 1, n_mels), generator.uniform(0.5, 2, n_mels))
    return Statistics(mel, Moments(9, np.array(5.0), np.array(0.2)), Moments(9, np.array(-1.0), np.array(0.7)))


@pytest.mark.parametrize("feature, shape", [("mel", (7, 12)), ("log_f0", (7,)), ("energy", (2, 7))])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_denormalize_undoes_normalize_and_keeps_the_type(kind: str, feature: str, shape: tuple[int, ...]) -> None:
    statistics = made_up(12)
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
    moments = Moments.of(np.full((50, 3), -11.5))
    assert not moments.std.any()
    normal = moments.normalize(np.full((2, 3), -11.5 + STD_FLOOR, dtype=np.float32))
    assert np.allclose(normal, 1, atol=1e-3)
