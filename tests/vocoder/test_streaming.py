"""A waveform in pieces is the waveform of the whole."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parameters import changed_params
from torch import Tensor

from koe.audio.params import MelParams
from koe.tasks.conversion.schema import Params
from koe.vocoder.grouping import BATCH_FRAMES
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.networks import make_network
from koe.vocoder.streaming import chunks_of, stream
from koe.vocoder.synthesis import NeuralVocoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mel() -> MelParams:
    return changed_params({}).mel


SMALL = {
    "vocoder.hifigan.upsample_channels": 16, "vocoder.hifigan.resblock_kernels": [3],
    "vocoder.hifigan.resblock_dilations": [[1, 3]], "vocoder.harmonic_noise.layers": 2,
    "vocoder.harmonic_noise.hidden": 16, "vocoder.harmonic_noise.feed_forward": 32,
}


def small_network(model: str, mel: MelParams) -> VocoderNetwork:
    """Random, but audible: with weights as they start, everything far away would be below rounding."""
    torch.manual_seed(0)
    network = make_network(changed_params({**SMALL, "vocoder.model": model}).vocoder, mel)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("original0") or "filters.weight" in name or "detail" in name:
                parameter.mul_(1.5).add_(0.02 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module", params=["hifigan", "harmonic_noise"])
def vocoder(request: Any, mel: MelParams) -> NeuralVocoder:
    return NeuralVocoder(request.param, small_network(request.param, mel), mel, CPU, precision="float32")


def an_utterance(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A mel and an F0 that comes and goes."""
    generator = np.random.default_rng(seed)
    mel = generator.normal(-5, 2, (frames, 80)).astype(np.float32)
    f0 = np.where(np.arange(frames) % 40 < 25, generator.uniform(80, 300, frames), 0)
    return mel, f0


def spoken(vocoder: NeuralVocoder, mel_params: MelParams, mel: np.ndarray, f0: np.ndarray, frames: int) -> np.ndarray:
    features, source = vocoder._input(mel, f0)
    chunks = chunks_of(features, source, mel_params.hop_length, frames)
    return np.concatenate(list(stream(vocoder._network, chunks, mel_params, CPU)))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(frames=st.integers(1, 130), chunk=st.integers(1, 150), seed=st.integers(0, 99))
def test_pieces_make_up_the_whole(
    vocoder: NeuralVocoder, mel: MelParams, frames: int, chunk: int, seed: int
) -> None:
    chunk = max(chunk, frames // 8)  # as few pieces as keep this quick
    features, f0 = an_utterance(frames, seed)
    [whole] = vocoder.synthesize([features], [f0])
    pieces = spoken(vocoder, mel, features, f0, chunk)
    assert pieces.shape == whole.shape == (frames * mel.hop_length,)
    assert np.abs(whole).max() > 1e-2
    assert np.abs(pieces - whole).max() < 1e-4


def test_a_context_too_short_would_be_heard(vocoder: NeuralVocoder, mel: MelParams, monkeypatch: Any) -> None:
    features, f0 = an_utterance(80, 0)
    [whole] = vocoder.synthesize([features], [f0])
    monkeypatch.setattr(vocoder._network, "context_frames", lambda: 1)
    assert np.abs(spoken(vocoder, mel, features, f0, 20) - whole).max() > 1e-3


def test_pieces_come_while_the_utterance_arrives(vocoder: NeuralVocoder, mel: MelParams) -> None:
    features, source = vocoder._input(*an_utterance(200, 1))
    arrived = 0

    def arriving() -> Iterator[Any]:
        nonlocal arrived
        for features_, source_ in chunks_of(features, source, mel.hop_length, 20):
            arrived += len(features_)
            yield features_, source_

    heard = 0
    for wave in stream(vocoder._network, arriving(), mel, CPU):
        heard += len(wave) // mel.hop_length
        assert heard >= arrived - vocoder._network.context_frames()
    assert heard == 200


class Counting(VocoderNetwork):
    """Says how much it is given at once; its samples are the means of their frames' mels."""

    def __init__(self, mel: MelParams) -> None:
        super().__init__()
        self.mel, self.most = mel, 0

    def context_frames(self) -> int:
        return 10

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        self.most = max(self.most, mel.shape[1])
        return mel.mean(dim=2).repeat_interleave(self.mel.hop_length, dim=1)


def test_a_long_recording_takes_no_more_memory_than_a_short_one(params: Params) -> None:
    network = Counting(params.mel)
    mel, _ = an_utterance(5 * BATCH_FRAMES, 0)
    [wave] = NeuralVocoder("counting", network, params.mel, CPU).synthesize([mel])
    assert network.most <= BATCH_FRAMES
    assert np.allclose(wave[:: params.mel.hop_length], mel.mean(axis=1), atol=1e-6)
