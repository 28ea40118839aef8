import numpy as np
import pytest
import torch

from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.audio.pitch import extract_f0
from koe.tasks.conversion.schema import Params
from koe.vocoder.griffin_lim import GriffinLim


def mels_of(voice, mel: MelParams, seconds: tuple[float, ...]) -> list[np.ndarray]:
    waves = [voice(length, f0=110 + 15 * index, rate=mel.sample_rate) for index, length in enumerate(seconds)]
    return [log_mel(torch.from_numpy(wave), mel).numpy() for wave in waves]


def test_the_mel_comes_back(voice, params: Params) -> None:
    [mel] = mels_of(voice, params.mel, (1.2,))
    [wave] = GriffinLim(params.mel, params.griffin_lim, seed=1).synthesize([mel])
    assert wave.dtype == np.float32
    again = log_mel(torch.from_numpy(wave), params.mel).numpy()
    loud = mel > mel.max() - 7  # 60 dB under the loudest: what can be heard
    assert np.abs(again - mel)[loud].mean() < 0.08


def test_more_iterations_come_nearer(voice, params: Params) -> None:
    [mel] = mels_of(voice, params.mel, (0.8,))

    def error(iterations: int) -> float:
        vocoder = GriffinLim(params.mel, params.griffin_lim.model_copy(update={"iterations": iterations}), seed=1)
        return float(np.abs(log_mel(torch.from_numpy(vocoder.synthesize([mel])[0]), params.mel).numpy() - mel).mean())

    assert error(60) < error(15) < error(2)


def test_same_seed_same_wave(voice, params: Params) -> None:
    mels = mels_of(voice, params.mel, (0.5,))
    first, again, other = (GriffinLim(params.mel, params.griffin_lim, seed).synthesize(mels)[0] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_lesson_31_others_in_the_batch_change_nothing(voice, params: Params) -> None:
    mels = mels_of(voice, params.mel, (0.9, 0.5, 0.7))
    vocoder = GriffinLim(params.mel, params.griffin_lim, seed=1)
    for mel, together in zip(mels, vocoder.synthesize(mels), strict=True):
        assert together.shape == (len(mel) * params.mel.hop_length,)
        [alone] = vocoder.synthesize([mel])
        assert np.abs(alone - together).max() < 1e-5


@pytest.mark.parametrize("frames", [1, 2, 380])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "win_length"), [(1024, 256, 1024), (1200, 300, 1200), (2048, 270, 1000), (512, 512, 512)],
)
def test_lesson_06_exactly_frames_times_hop(
    params: Params, frames: int, n_fft: int, hop_length: int, win_length: int
) -> None:
    mel = params.mel.model_copy(update={"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length})
    vocoder = GriffinLim(mel, params.griffin_lim.model_copy(update={"iterations": 2}), seed=1)
    [wave] = vocoder.synthesize([np.full((frames, mel.n_mels), -3, dtype=np.float32)])
    assert wave.shape == (frames * hop_length,)
    assert np.isfinite(wave).all()


def test_silence_stays_silent(params: Params) -> None:
    floor = np.full((40, params.mel.n_mels), np.log(params.mel.floor), dtype=np.float32)
    [wave] = GriffinLim(params.mel, params.griffin_lim, seed=1).synthesize([floor])
    assert np.abs(wave).max() < 1e-3


def test_two_iterations_from_f0_keep_the_pitch(voice, params: Params) -> None:
    spoken = voice(1.0, f0=130, rate=params.mel.sample_rate)

    def pitch(wave: np.ndarray) -> np.ndarray:
        return extract_f0(wave, params.mel.sample_rate, params.mel.hop_length, "dio", 60.0, 400.0)

    mel, f0 = log_mel(torch.from_numpy(spoken), params.mel).numpy(), pitch(spoken)
    [wave] = GriffinLim(params.mel, params.griffin_lim, seed=1).synthesize([mel], [f0])
    found = pitch(wave)
    both = (found > 0) & (f0 > 0)
    assert both.sum() > 0.9 * (f0 > 0).sum()
    assert np.abs(np.log(found[both] / f0[both])).mean() < 0.02


def test_lesson_31_others_in_the_batch_change_nothing_with_f0_either(voice, params: Params) -> None:
    mels = mels_of(voice, params.mel, (0.9, 0.5))
    f0s = [np.full(len(mel), 120, dtype=np.float32) for mel in mels]
    vocoder = GriffinLim(params.mel, params.griffin_lim, seed=1)
    for mel, f0, together in zip(mels, f0s, vocoder.synthesize(mels, f0s), strict=True):
        [alone] = vocoder.synthesize([mel], [f0])
        assert np.abs(alone - together).max() < 1e-5
