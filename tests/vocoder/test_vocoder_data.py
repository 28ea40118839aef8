from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koe.audio.grid import mel_contract
from koe.audio.mel import log_mel
from koe.corpus.dataset import Dataset
from koe.errors import ContractError, KoeError, StoreError
from koe.names import sentence_of
from koe.store import ShardReader, ShardWriter
from koe.vocoder.data import MelAudio, SegmentSampler, hold_out
from koe.vocoder.params import VocoderParams, VocoderTraining


def training(small: VocoderParams, **changes: Any) -> VocoderTraining:
    return small.training.model_copy(update=changes)


def sampler_of(data: MelAudio, settings: VocoderTraining, seed: int = 1, takes_f0: bool = False) -> SegmentSampler:
    return SegmentSampler(data, settings, seed, takes_f0)


def test_mel_and_wave_of_a_segment_belong_together(corpus: Any, small: VocoderParams) -> None:
    dataset, items, _ = corpus
    batch = sampler_of(MelAudio(dataset, items), training(small, batch_size=5)).batch_at(0)
    assert batch.mel.shape == (5, 32, 80)
    assert batch.wave.shape == (5, 32 * 256)
    assert batch.source is None
    assert bool((batch.present == 1).all())
    inside = slice(2, -2)  # the edge frames of a segment reflect it; in the utterance they go on
    assert (log_mel(batch.wave, dataset.mel_params) - batch.mel)[:, inside].abs().max() < 1e-3


def test_generated_mels_are_read_where_there_are_some(corpus: Any, small: VocoderParams) -> None:
    dataset, items, generated = corpus
    one, other = (sampler_of(MelAudio(dataset, items, mels), small.training).batch_at(3) for mels in (generated, None))
    assert torch.equal(one.wave, other.wave)
    assert torch.allclose(one.mel, other.mel + 0.01, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_segments_has_the_recordings_own_mel(corpus: Any, small: VocoderParams, share: float) -> None:
    dataset, items, generated = corpus
    settings = training(small, batch_size=5, true_mels=share)
    mixed = sampler_of(MelAudio(dataset, items, generated), settings)
    true = sampler_of(MelAudio(dataset, items), settings)
    own = [(mixed.batch_at(step).mel == true.batch_at(step).mel).all(dim=(1, 2)) for step in range(40)]
    assert float(torch.cat(own).float().mean()) == pytest.approx(share, abs=0.1 if 0 < share < 1 else 0)


def test_networks_that_take_f0_get_the_source_of_the_segment(corpus: Any, small: VocoderParams) -> None:
    dataset, items, generated = corpus
    data = MelAudio(dataset, items[:1], generated)
    sampler = sampler_of(data, training(small, segment_size=80 * 256), takes_f0=True)  # it is read whole
    batch = sampler.batch_at(7)
    assert batch.source is not None and batch.source.shape == (1, 80 * 256, 2)
    pulses, noise = batch.source[0].unbind(-1)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert bool((pulses[: 4 * 256] == 0).all()) and bool((pulses[71 * 256 :] == 0).all())  # unvoiced, and not there
    f0 = dataset.f0(items[0][1])
    periods = np.diff(np.flatnonzero(pulses > 0.5 * pulses.max()))
    between = dataset.mel_params.sample_rate / f0[f0 > 0].mean()
    assert np.median(periods[periods > 1]) == pytest.approx(between, abs=1)
    other = sampler.batch_at(8).source
    assert other is not None and not torch.equal(other, batch.source)


def test_nothing_but_the_segments_is_read_and_f0_where_it_is_needed(
    corpus: Any, small: VocoderParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, items, generated = corpus
    shapes: list[tuple[int, ...]] = []

    def watched(method: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def read(*arguments: Any) -> np.ndarray:
            array = method(*arguments)
            shapes.append(array.shape)
            return array
        return read

    for name in ("get", "slice"):
        monkeypatch.setattr(ShardReader, name, watched(getattr(ShardReader, name)))
    data = MelAudio(dataset, items, generated)
    assert data.hours > 0 and not shapes
    for mels in (data, MelAudio(dataset, items)):
        for takes_f0 in (False, True):
            sampler_of(mels, training(small, batch_size=1), takes_f0=takes_f0).batch_at(0)
            assert shapes == [(32, 80)] + [(32,)] * takes_f0 + [(32 * 256,)]
            shapes.clear()


def test_a_batch_depends_on_the_seed_and_the_step_alone(corpus: Any, small: VocoderParams) -> None:
    dataset, items, generated = corpus

    def sampler(seed: int) -> SegmentSampler:
        settings = training(small, true_mels=0.5)
        return sampler_of(MelAudio(dataset, items, generated), settings, seed, takes_f0=True)

    first = sampler(1)
    in_order = [first.batch_at(step) for step in range(8)]
    again = sampler(1).batch_at(7)
    assert all(torch.equal(getattr(again, name), getattr(in_order[7], name)) for name in ("mel", "wave", "source"))
    waves = [batch.wave for batch in in_order]
    assert waves[0].shape != waves[3].shape or not torch.equal(waves[0], waves[3])  # another epoch
    assert not torch.equal(sampler(2).batch_at(0).wave, waves[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 12])
def test_lesson_36_any_batch_size_and_every_item_once_an_epoch(
    corpus: Any, small: VocoderParams, batch_size: int
) -> None:
    dataset, items, generated = corpus
    sampler = sampler_of(MelAudio(dataset, items, generated), training(small, batch_size=batch_size))
    steps = range(sampler.batching.batches_per_epoch)
    assert sorted(index for step in steps for index in sampler.batching.batch_at(step)) == list(range(len(items)))
    assert sum(len(sampler.batch_at(step).mel) for step in steps) == len(items)


def test_an_utterance_shorter_than_a_segment_is_padded_and_marked(corpus: Any, small: VocoderParams) -> None:
    dataset, items, _ = corpus
    short = MelAudio(dataset, [items[4]])  # 33 frames
    batch = sampler_of(short, training(small, segment_size=40 * 256)).batch_at(0)
    assert float(batch.present.sum()) == 33 * 256
    assert bool((batch.wave[:, 33 * 256 :] == 0).all())
    assert np.allclose(batch.mel[0, 33:], np.log(dataset.mel_params.floor))
    assert np.array_equal(batch.wave[0, : 33 * 256].numpy(), dataset.wave(items[4][1]))


@pytest.mark.parametrize("extra", [-1, 1])
def test_lesson_06_a_generated_mel_of_another_length_than_its_wave_is_refused(
    corpus: Any, tmp_path: Path, extra: int
) -> None:
    dataset, items, generated = corpus
    name = items[0][0]
    with ShardWriter(tmp_path / "generated", generated.metadata) as writer:
        writer.add(name, mel=np.zeros((70 + extra, 80), dtype=np.float32))
    with pytest.raises(StoreError, match=rf"{name}.*generated mel has {70 + extra} frames.*17920"):
        MelAudio(dataset, items[:1], ShardReader(tmp_path / "generated"))


@pytest.mark.parametrize(("mel", "f0", "told"), [(69, 69, "its mel has 69 frames"), (70, 71, "f0 has shape")])
def test_lesson_06_features_of_another_length_than_their_wave_are_refused(
    corpus: Any, tmp_path: Path, mel: int, f0: int, told: str
) -> None:
    dataset, items, generated = corpus
    for stage in ("resampled", "trim"):
        (tmp_path / stage).symlink_to(dataset.data / stage)
    with ShardWriter(tmp_path / "features" / "toy", generated.metadata) as writer:
        writer.add(items[0][1], mel=np.zeros((mel, 80), np.float32), f0=np.zeros(f0, np.float32))
    with pytest.raises(StoreError, match=told):
        MelAudio(Dataset(["toy"], dataset.mel_params, tmp_path), items[:1])


def test_lesson_13_generated_mels_of_other_settings_are_refused(corpus: Any, tmp_path: Path) -> None:
    dataset, items, _ = corpus
    with ShardWriter(tmp_path / "generated", {"mel": {**mel_contract(dataset.mel_params), "fmax": 11025.0}}) as writer:
        writer.add(items[0][0], mel=np.zeros((70, 80), dtype=np.float32))
    with pytest.raises(ContractError, match=r"fmax: 11025\.0 .*8000\.0"):
        MelAudio(dataset, items[:1], ShardReader(tmp_path / "generated"))


def test_held_out_utterances_are_of_many_speakers_and_their_sentences_are_trained_on_of_nobody() -> None:
    names = [f"{corpus}/{speaker}/{sentence:03d}" for corpus, speaker in (("a", "x"), ("a", "y"), ("b", "x_fast"))
             for sentence in range(20)]
    train, validation = hold_out(names, 6, 1)
    assert sorted(name.split("/")[1] for name in validation) == ["x", "x", "x_fast", "x_fast", "y", "y"]
    held_out = {name.split("/")[2] for name in validation}
    assert len(held_out) == 2  # shared, so that little is lost
    assert sorted(train) == sorted(name for name in names if name.split("/")[2] not in held_out)
    assert hold_out(reversed(names), 6, 1) == (train, validation)
    assert hold_out(names, 6, 2)[1] != validation


def test_a_sentence_held_out_is_trained_on_in_no_style() -> None:
    names = [f"a/x/{sentence:03d}{style}" for sentence in range(20) for style in ("", "/whisper")]
    train, validation = hold_out(names, 3, 1)
    assert len(validation) == 3
    assert not {sentence_of(name) for name in train} & {sentence_of(name) for name in validation}


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(KoeError, match=r"vocoder\.training\.validation\.utterances: 2 of 2"):
        hold_out(["a/x/1", "a/x/2"], 2, 1)


def test_recordings_own_mels_are_blurred_and_generated_ones_are_not(corpus: Any, small: VocoderParams) -> None:
    dataset, items, generated = corpus

    def roughness(share: float, mels: ShardReader | None) -> float:
        blur = small.training.blur.model_copy(update={"share": share})
        sampler = sampler_of(MelAudio(dataset, items, mels), training(small, blur=blur))
        return float(torch.cat([sampler.batch_at(step).mel for step in range(8)]).diff(dim=-1).abs().mean())

    assert roughness(1.0, None) < 0.8 * roughness(0.0, None)
    assert roughness(1.0, generated) == pytest.approx(roughness(0.0, generated), rel=1e-3)
