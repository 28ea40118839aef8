from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koe.audio.mel import log_mel
from koe.errors import ContractError, StoreError
from koe.params import VocoderParams, VocoderTraining
from koe.store import ShardReader, ShardWriter
from koe.vocoder.data import MelAudio, SegmentSampler


def training(small: VocoderParams, **changes: Any) -> VocoderTraining:
    return small.training.model_copy(update=changes)


def test_mel_and_wave_of_a_segment_belong_together(corpus: Any, small: VocoderParams) -> None:
    dataset, pairs, _ = corpus
    batch = SegmentSampler(MelAudio(dataset, pairs, None), training(small, batch_size=5), 1).batch_at(0)
    assert batch.mel.shape == (5, 32, 80)
    assert batch.wave.shape == (5, 32 * 256)
    assert bool((batch.present == 1).all())
    inside = slice(2, -2)  # the edge frames of a segment reflect it; in the utterance they go on
    assert (log_mel(batch.wave, dataset.mel_params) - batch.mel)[:, inside].abs().max() < 1e-3


def test_generated_mels_are_read_where_there_are_some(corpus: Any, small: VocoderParams) -> None:
    dataset, pairs, generated = corpus
    one, other = (SegmentSampler(MelAudio(dataset, pairs, mels), small.training, 1).batch_at(3)
                  for mels in (generated, None))
    assert torch.equal(one.wave, other.wave)
    assert torch.allclose(one.mel, other.mel + 0.01, atol=1e-5)


def test_a_batch_depends_on_the_seed_and_the_step_alone(corpus: Any, small: VocoderParams) -> None:
    dataset, pairs, generated = corpus

    def sampler(seed: int) -> SegmentSampler:
        return SegmentSampler(MelAudio(dataset, pairs, generated), small.training, seed)

    first = sampler(1)
    in_order = [first.batch_at(step).wave for step in range(8)]
    assert torch.equal(sampler(1).batch_at(7).wave, in_order[7])
    assert in_order[0].shape != in_order[3].shape or not torch.equal(in_order[0], in_order[3])  # another epoch
    assert not torch.equal(sampler(2).batch_at(0).wave, in_order[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 12])
def test_lesson_36_any_batch_size_and_every_pair_once_an_epoch(
    corpus: Any, small: VocoderParams, batch_size: int
) -> None:
    dataset, pairs, generated = corpus
    sampler = SegmentSampler(MelAudio(dataset, pairs, generated), training(small, batch_size=batch_size), 1)
    steps = range(sampler.batching.batches_per_epoch)
    assert sorted(index for step in steps for index in sampler.batching.batch_at(step)) == list(range(len(pairs)))
    assert sum(len(sampler.batch_at(step).mel) for step in steps) == len(pairs)


def test_an_utterance_shorter_than_a_segment_is_padded_and_marked(corpus: Any, small: VocoderParams) -> None:
    dataset, pairs, _ = corpus
    short = MelAudio(dataset, [pairs[4]], None)  # 33 frames
    batch = SegmentSampler(short, training(small, segment_size=40 * 256), 1).batch_at(0)
    assert float(batch.present.sum()) == 33 * 256
    assert bool((batch.wave[:, 33 * 256 :] == 0).all())
    assert np.allclose(batch.mel[0, 33:], np.log(dataset.mel_params.floor))
    assert np.array_equal(batch.wave[0, : 33 * 256].numpy(), dataset.wave(pairs[4][2]))


@pytest.mark.parametrize("extra", [-1, 1])
def test_lesson_06_a_mel_of_another_length_than_its_wave_is_refused(corpus: Any, tmp_path: Path, extra: int) -> None:
    dataset, pairs, generated = corpus
    name = pairs[0][0]
    with ShardWriter(tmp_path / "generated", generated.metadata) as writer:
        writer.add(name, mel=np.zeros((70 + extra, 80), dtype=np.float32))
    with pytest.raises(StoreError, match=rf"{name}.*{70 + extra} frames.*17920"):
        MelAudio(dataset, pairs[:1], ShardReader(tmp_path / "generated"))


def test_lesson_13_generated_mels_of_other_settings_are_refused(corpus: Any, tmp_path: Path) -> None:
    dataset, pairs, _ = corpus
    with ShardWriter(tmp_path / "generated", {"mel": {**dataset.mel_params.contract(), "fmax": 11025.0}}) as writer:
        writer.add(pairs[0][0], mel=np.zeros((70, 80), dtype=np.float32))
    with pytest.raises(ContractError, match=r"fmax: 11025\.0 .*8000\.0"):
        MelAudio(dataset, pairs[:1], ShardReader(tmp_path / "generated"))
