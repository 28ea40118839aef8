"""Extraction puts everything on one frame grid, loses nothing silently, and gives the same bytes every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filled_tables import write_filled

from koe.audio.grid import mel_contract
from koe.audio.mel import mel_and_energy
from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import extract_f0
from koe.audio.samples import to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.extraction import Features, extract_corpus, extract_features
from koe.corpus.quarantine import read_quarantine
from koe.corpus.tables.cuts import CUTS
from koe.errors import AudioError, KoeError, StoreError
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import Params


def write_trimmed(data: Path, waves: dict[str, np.ndarray], corpus: str = "toy") -> None:
    """What `resample` and `trim` leave: int16 shards and cut points, 100 samples cut off at the head."""
    with ShardWriter(data / "resampled" / corpus, {"sample_rate": 22050}) as writer:
        for name, wave in waves.items():
            writer.add(name, audio=to_int16(np.concatenate([np.zeros(100), wave]))[0])
    cuts = pd.DataFrame([{"utterance": name, "start": 100, "end": 100 + len(wave)} for name, wave in waves.items()])
    write_filled(CUTS, data / "trim" / corpus, cuts)


@pytest.fixture()
def waves(voice: Callable[..., np.ndarray]) -> dict[str, np.ndarray]:
    lengths = {"a": 0.5, "b": 0.71, "c": 0.6, "d": 0.43}
    return {f"toy/ann/{name}": voice(seconds, 140.0, seed=index)
            for index, (name, seconds) in enumerate(lengths.items())}


@pytest.fixture()
def dataset(tmp_path: Path, waves: dict[str, np.ndarray], params: Params) -> Dataset:
    write_trimmed(tmp_path, waves)
    return Dataset(["toy"], params.mel, tmp_path)


def extract(dataset: Dataset, params: Params, threads: int = 2, name: str = "features") -> pd.DataFrame:
    return extract_corpus(dataset, dataset.data / name / "toy", params.speaker_pitch, threads)[0]


def test_lesson_06_and_24_everything_stored_lies_on_one_frame_grid(dataset: Dataset, params: Params) -> None:
    table = extract(dataset, params)
    assert list(table["utterance"]) == list(dataset.cuts["utterance"])
    for row in table.itertuples():
        frames = dataset.samples(row.utterance) // params.mel.hop_length
        assert len(dataset.wave(row.utterance)) == frames * params.mel.hop_length
        assert dataset.mel(row.utterance).shape == (frames, params.mel.n_mels)
        assert dataset.f0(row.utterance).shape == dataset.energy(row.utterance).shape == (frames,)
        assert row.frames == frames
        assert row.voiced > 0.8
        assert row.f0_median == pytest.approx(140, rel=0.05)
        assert 120 < row.f0_low < row.f0_median < row.f0_high < 160
        assert row.f0_pressed == 0.0


def test_stored_features_are_those_of_the_single_path(dataset: Dataset, params: Params) -> None:
    extract(dataset, params)
    name = "toy/ann/b"
    features = extract_features(dataset.wave(name), params.mel, params.speaker_pitch, "ann")
    assert np.array_equal(dataset.f0(name), features.f0)
    assert np.allclose(dataset.mel(name), features.mel, atol=1e-5)
    assert np.allclose(dataset.energy(name), features.energy, atol=1e-5)


def test_shards_carry_the_mel_contract_and_the_pitch_settings(dataset: Dataset, params: Params) -> None:
    extract(dataset, params)
    store = ShardReader(dataset.data / "features" / "toy").require(mel_contract(params.mel))
    assert store.metadata["pitch"]["method"] == "dio"
    assert store.get("toy/ann/a", "mel").dtype == np.float32


def test_bytes_depend_neither_on_the_run_nor_on_the_threads(dataset: Dataset, params: Params) -> None:
    files = ("00000.safetensors", "table.csv", "quarantine.csv")
    runs = []
    for number, threads in enumerate((1, 1, 3)):
        extract(dataset, params, threads, f"run{number}")
        runs.append([(dataset.data / f"run{number}" / "toy" / file).read_bytes() for file in files])
    assert runs[0] == runs[1] == runs[2]


def test_lesson_23_what_is_left_out_has_a_row_with_its_reason(
    tmp_path: Path, waves: dict[str, np.ndarray], params: Params
) -> None:
    noise = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    waves |= {"toy/ann/short": waves["toy/ann/a"][: 3 * 256 - 1], "toy/ann/mute": 1e-4 * noise}
    write_trimmed(tmp_path, waves)
    dataset = Dataset(["toy"], params.mel, tmp_path)
    folder = tmp_path / "features" / "toy"
    table, quarantine = extract_corpus(dataset, folder, params.speaker_pitch, 1)
    assert sorted(table["utterance"]) == ["toy/ann/a", "toy/ann/b", "toy/ann/c", "toy/ann/d"]
    assert ShardReader(folder).utterances() == sorted(table["utterance"])
    rows = read_quarantine([folder]).set_index("utterance")
    assert rows["reason"].to_dict() == {"toy/ann/short": "too_short", "toy/ann/mute": "unvoiced_throughout"}
    assert set(rows["stage"]) == {"extract"}
    assert len(quarantine) == 2


@pytest.mark.parametrize("frames, reason", [(5, "too_short"), (6, "unvoiced_throughout")])
def test_one_reduced_step_is_long_enough(params: Params, frames: int, reason: str) -> None:
    with pytest.raises(AudioError) as raised:
        extract_features(np.zeros(frames * 256, dtype=np.float32), params.mel, params.speaker_pitch, "ann")
    assert raised.value.reason == reason


def test_nothing_left_stops_with_the_reason(tmp_path: Path, params: Params) -> None:
    write_trimmed(tmp_path, {"toy/ann/mute": np.zeros(9000, dtype=np.float32)})
    dataset = Dataset(["toy"], params.mel, tmp_path)
    with pytest.raises(KoeError, match="unvoiced_throughout"):
        extract_corpus(dataset, tmp_path / "features" / "toy", params.speaker_pitch, 1)


def test_a_speaker_is_heard_in_its_own_range(tmp_path: Path, voice: Callable[..., np.ndarray], params: Params) -> None:
    wave = voice(0.6, 140.0)
    pitch = params.speaker_pitch.model_copy(update={"ranges": {"ann": (300.0, 600.0)}})
    assert np.median(extract_features(wave, params.mel, params.speaker_pitch, "ann").f0) == pytest.approx(140, rel=0.05)
    try:
        f0 = extract_features(wave, params.mel, pitch, "ann").f0
    except AudioError as error:
        assert error.reason == "unvoiced_throughout"
    else:
        assert f0[f0 > 0].min() >= 300


def test_f0_at_the_ends_of_its_range_is_counted(
    tmp_path: Path, voice: Callable[..., np.ndarray], params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    pitch = SpeakerPitch(method="dio", floor=50.0, ceiling=400.0, ranges={"toy/bob": (100.0, 200.0)})
    f0 = np.array([0, 0, 50, 51, 52, 100, 102, 104, 195, 380, 390, 400], np.float32)
    features = Features(np.zeros((12, 80)), f0, np.zeros(12))
    monkeypatch.setattr("koe.corpus.extraction.extract_features", lambda *_: features)
    write_trimmed(tmp_path, {"toy/ann/a": voice(0.5), "toy/bob/a": voice(0.5)})
    dataset = Dataset(["toy"], params.mel, tmp_path)
    table = extract_corpus(dataset, tmp_path / "features" / "toy", pitch, 1)[0].set_index("utterance")
    row = table.loc["toy/ann/a"]
    assert row["f0_pressed"] == pytest.approx(4 / 10)  # 50, 51; 390, 400
    assert row["f0_median"] == 103
    assert (row["f0_low"], row["f0_high"]) == pytest.approx(tuple(np.quantile(f0[f0 > 0], [0.05, 0.95])))
    assert table.loc["toy/bob/a", "f0_pressed"] == pytest.approx(9 / 10)  # all but 104


@settings(max_examples=20, deadline=None)
@given(extra=st.integers(0, 9000), hop=st.sampled_from([200, 256, 300]))
def test_lesson_24_mel_f0_and_energy_have_the_same_frames_for_any_length(extra: int, hop: int) -> None:
    mel = MelParams(sample_rate=22050, n_fft=1024, hop_length=hop, win_length=1024, n_mels=20, fmin=0.0, fmax=8000.0,
                    floor=1e-5)
    pitch = SpeakerPitch(method="dio", floor=60.0, ceiling=400.0, ranges={})
    samples = 8000 + extra  # long enough for DIO to call a tone voiced; shorter ones are in test_mel and test_pitch
    wave = (0.3 * np.sign(np.sin(2 * np.pi * 150 * np.arange(samples) / 22050))).astype(np.float32)
    features = extract_features(wave, mel, pitch, "ann")
    frames = samples // hop
    assert features.mel.shape == (frames, 20)
    assert features.f0.shape == features.energy.shape == (frames,)


@pytest.mark.parametrize("field", ["f0", "energy"])
def test_lesson_06_a_frame_too_many_is_refused_on_read(tmp_path: Path, params: Params, field: str) -> None:
    arrays = {"f0": np.zeros(5, np.float32), "energy": np.zeros(5, np.float32)}
    arrays[field] = np.zeros(6, np.float32)
    with ShardWriter(tmp_path / "features" / "toy", {"mel": mel_contract(params.mel)}) as writer:
        writer.add("toy/ann/a", mel=np.zeros((5, params.mel.n_mels), np.float32), **arrays)
    dataset = Dataset(["toy"], params.mel, tmp_path)
    with pytest.raises(StoreError, match=f"toy/ann/a.*{field} has shape .6,., its mel 5 frames"):
        getattr(dataset, field)("toy/ann/a")


@pytest.mark.parametrize("field", ["mel", "f0", "energy"])
def test_lesson_06_a_frame_too_many_is_refused_on_write(
    voice: Callable[..., np.ndarray], params: Params, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer(array: Any, wanted: bool) -> Any:
        return np.concatenate([array, array[-1:]]) if wanted else array

    def tracked(*arguments: Any) -> np.ndarray:
        return longer(extract_f0(*arguments), field == "f0")

    def measured(*arguments: Any) -> list[torch.Tensor]:
        return [torch.from_numpy(longer(part.numpy(), field == name))
                for name, part in zip(("mel", "energy"), mel_and_energy(*arguments), strict=True)]

    monkeypatch.setattr("koe.corpus.extraction.extract_f0", tracked)
    monkeypatch.setattr("koe.corpus.extraction.mel_and_energy", measured)
    with pytest.raises(StoreError, match=f"^{field} has shape"):
        extract_features(voice(0.5), params.mel, params.speaker_pitch, "ann")
