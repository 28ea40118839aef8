from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.small_vocoder import as_loud_as_speech

from koe.audio.mel import log_mel
from koe.errors import KoeError
from koe.tasks.conversion.schema import Params
from koe.vocoder.grouping import BATCH_FRAMES, groups_by_length
from koe.vocoder.hifigan import Generator
from koe.vocoder.networks import make_network
from koe.vocoder.params import HiFiGANParams
from koe.vocoder.synthesis import NeuralVocoder

CPU = torch.device("cpu")
ROUNDING = 5e-6  # of the loudest: tens of float32 roundings by 6e-8, in another order (measured: 4e-7)
MODELS = pytest.mark.parametrize("model", ["hifigan", "harmonic_noise"])


def random_mels(*lengths: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(-4, 2, (length, 80)).astype(np.float32) for length in lengths]


def f0s_of(mels: list[np.ndarray]) -> list[np.ndarray]:
    return [np.where(np.arange(len(mel)) % 40 < 30, 150 + len(mel) / 10, 0).astype(np.float32) for mel in mels]


@pytest.fixture()
def vocoder(model: str, params: Params, with_params: Callable[..., Params]) -> NeuralVocoder:
    torch.manual_seed(1)
    network = make_network(with_params({"vocoder.model": model}).vocoder, params.mel)
    return NeuralVocoder(model, network, params.mel, CPU, "float32")


@MODELS
def test_lesson_31_others_in_the_batch_change_nothing(vocoder: NeuralVocoder, params: Params) -> None:
    mels = random_mels(50, 380, 61, 1)
    f0s = f0s_of(mels)
    for mel, f0, together in zip(mels, f0s, vocoder.synthesize(mels, f0s), strict=True):
        assert together.shape == (len(mel) * params.mel.hop_length,)  # 380 frames stay 380 (lesson 6)
        assert together.dtype == np.float32
        [alone] = vocoder.synthesize([mel], [f0])
        assert np.abs(alone - together).max() < ROUNDING * np.abs(alone).max()


@MODELS
def test_synthesis_is_deterministic(vocoder: NeuralVocoder) -> None:
    mels = random_mels(40)
    first, again = (vocoder.synthesize(mels, f0s_of(mels))[0] for _ in range(2))
    assert np.array_equal(first, again)


@MODELS
def test_a_long_utterance_is_made_in_pieces_that_fit(
    vocoder: NeuralVocoder, model: str, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    mels = random_mels(BATCH_FRAMES + 100)
    f0s = f0s_of(mels)
    [pieces] = vocoder.synthesize(mels, f0s)
    monkeypatch.setattr("koe.vocoder.synthesis.BATCH_FRAMES", len(mels[0]))
    [whole] = vocoder.synthesize(mels, f0s)
    assert pieces.shape == (len(mels[0]) * params.mel.hop_length,)
    assert np.abs(pieces - whole).max() < ROUNDING * np.abs(whole).max()


@pytest.mark.parametrize("model", ["harmonic_noise"])
def test_a_vocoder_that_takes_f0_says_when_there_is_none(vocoder: NeuralVocoder) -> None:
    with pytest.raises(KoeError, match="harmonic_noise takes mel and F0"):
        vocoder.synthesize(random_mels(20))


@pytest.mark.parametrize("model", ["harmonic_noise"])
def test_f0_of_another_length_than_its_mel_is_refused(vocoder: NeuralVocoder) -> None:
    with pytest.raises(KoeError, match="20 frames has F0 of 19"):
        vocoder.synthesize(random_mels(20), [np.zeros(19, np.float32)])


@pytest.fixture()
def hifigan() -> Generator:
    """Like V2, half as wide, and as loud as speech."""
    torch.manual_seed(1)
    generator = Generator(HiFiGANParams(
        upsample_rates=[8, 8, 2, 2], upsample_kernels=[16, 16, 4, 4], upsample_channels=64, resblock="1",
        resblock_kernels=[3, 7, 11], resblock_dilations=[[1, 3, 5]] * 3), 80)
    as_loud_as_speech(generator, random_mels(60)[0])
    return generator


def test_float32_synthesis_is_the_plain_network(hifigan: Generator, params: Params) -> None:
    [mel] = random_mels(60)
    silence = np.full((hifigan.context_frames(), 80), np.log(params.mel.floor), np.float32)
    with torch.no_grad():
        plain = hifigan(torch.from_numpy(np.concatenate([mel, silence]))[None])[0].numpy()
    [wave] = NeuralVocoder("hifigan", hifigan, params.mel, CPU, "float32").synthesize([mel])
    assert np.abs(wave - plain[: len(wave)]).max() < 1e-5


@pytest.mark.parametrize("frames", [1, 30, BATCH_FRAMES + 100])
def test_alone_a_mel_is_synthesised_as_by_the_network_to_its_last_sample(
    hifigan: Generator, params: Params, frames: int
) -> None:
    [mel] = random_mels(frames)
    with torch.no_grad():
        plain = hifigan(torch.from_numpy(mel)[None])[0].numpy()
    vocoder = NeuralVocoder("hifigan", hifigan, params.mel, CPU, "float32")
    alone = vocoder.synthesize_alone(mel)
    assert alone.shape == plain.shape and np.abs(alone - plain).max() < 1e-5
    end = hifigan.context_frames() * params.mel.hop_length
    if frames > 30:
        assert np.abs(alone - vocoder.synthesize([mel])[0])[:-end].max() < 1e-5


def test_bfloat16_changes_a_tenth_of_what_a_vocoder_gets_wrong(hifigan: Generator, params: Params) -> None:
    """Mels of V1's speech are 0.2 and more from those it is given: its mel loss, 45 times that, ends near 10."""
    [mel] = random_mels(60)
    exact, coarse = (NeuralVocoder("hifigan", hifigan, params.mel, CPU, precision).synthesize([mel])[0]
                     for precision in ("float32", "bfloat16"))
    assert not np.array_equal(exact, coarse)
    assert (coarse - exact).std() < 0.02 * exact.std()
    mels = [log_mel(torch.from_numpy(wave), params.mel) for wave in (coarse, exact)]
    assert float((mels[0] - mels[1]).abs().mean()) < 0.02


def test_groups_hold_every_utterance_once_and_keep_to_the_limit() -> None:
    lengths = [30, 10, 200, 12, 90, 11]
    groups = groups_by_length(lengths, most_frames=60)
    assert [[lengths[index] for index in group] for group in groups] == [[10, 11, 12], [30], [90], [200]]
    assert groups_by_length([]) == []
