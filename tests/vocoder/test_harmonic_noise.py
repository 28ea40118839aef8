"""The harmonic-plus-noise vocoder: what it makes before and after it learned."""

from pathlib import Path

import numpy as np
import pytest
import torch

from koe.audio.mel import log_mel
from koe.audio.params import MelParams
from koe.tasks.conversion.schema import load_params
from koe.vocoder.excitation import source_of
from koe.vocoder.harmonic_noise import HarmonicNoise, MelCorrection, bands_to_bins
from koe.vocoder.params import HarmonicNoiseParams

MEL = load_params(Path(__file__).parents[2] / "params.yaml").mel
SMALL = HarmonicNoiseParams(
    layers=2, hidden=16, feed_forward=32, kernel=3, n_fft=512, filters_per_frame=2, corrections=2)


def network(**changes: int) -> HarmonicNoise:
    torch.manual_seed(1)
    return HarmonicNoise(SMALL.model_copy(update=changes), MEL).eval()


def vowel(frames: int, f0: float = 150.0) -> tuple[torch.Tensor, np.ndarray]:
    """Harmonics of falling strength, and their F0."""
    time = np.arange(frames * MEL.hop_length) / MEL.sample_rate
    wave = sum(0.3 / k * np.sin(2 * np.pi * k * f0 * time) for k in range(1, 20))
    return torch.from_numpy(np.asarray(wave, np.float32)), np.full(frames, f0, np.float32)


def source(f0: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(source_of(f0, MEL, np.random.default_rng(0)))[None]


@pytest.mark.parametrize("frames", [1, 2, 17, 40])
def test_the_waveform_is_as_long_as_the_mel_says(frames: int) -> None:
    f0 = np.full(frames, 120.0, np.float32)
    assert network()(torch.zeros(1, frames, MEL.n_mels), source(f0)).shape == (1, frames * MEL.hop_length)


def test_corrections_bring_the_output_to_the_mel() -> None:
    wave, f0 = vowel(40)
    mel = log_mel(wave[None], MEL)
    inner = slice(4, -4)  # at the ends the analysis of the mel reflects, the synthesis does not

    def distance(corrections: int) -> float:
        with torch.no_grad():
            made = network(corrections=corrections)(mel, source(f0))
        return float((log_mel(made, MEL) - mel)[:, inner].abs().mean())

    assert distance(4) < 0.5 * distance(0)
    assert distance(4) < 0.35


@pytest.mark.parametrize(("n_fft", "win_length"), [(1024, 1024), (1024, 512), (2048, 1200)])
def test_a_recording_is_at_its_own_mel_already(n_fft: int, win_length: int) -> None:
    mel = MEL.model_copy(update={"n_fft": n_fft, "win_length": win_length})
    wave = vowel(40)[0][None]
    corrected = MelCorrection(mel)(wave, log_mel(wave, mel))
    inner = slice(8 * mel.hop_length, -8 * mel.hop_length)
    assert float((corrected - wave)[:, inner].abs().max()) < 0.02 * float(wave.abs().max())


def test_an_untrained_network_already_speaks_at_the_given_pitch() -> None:
    wave, f0 = vowel(40, 200.0)
    with torch.no_grad():
        made = network()(log_mel(wave[None], MEL), source(f0))[0]
    spectrum = torch.fft.rfft(made * torch.hann_window(len(made))).abs()
    hertz = torch.fft.rfftfreq(len(made), 1 / MEL.sample_rate)
    low = (hertz > 60) & (hertz < 300)
    assert abs(float(hertz[low][spectrum[low].argmax()]) - 200.0) < 5.0


def test_no_frame_depends_on_frames_beyond_the_context() -> None:
    model = network()
    frames, at = 4 * model.context_frames() + 1, 2 * model.context_frames()
    f0 = np.full(frames, 110.0, np.float32)
    mel, given = torch.full((1, frames, MEL.n_mels), -4.0), source(f0)
    with torch.no_grad():
        before = model(mel, given)
        mel[:, at] += 1
        given[:, at * MEL.hop_length : (at + 1) * MEL.hop_length] *= 0.5
        changed = (model(mel, given) - before)[0].abs().unflatten(0, (frames, -1)).amax(dim=1)
    touched = changed.nonzero().flatten()
    assert changed[at] > 1e-3
    assert touched.min() >= at - model.context_frames()
    assert touched.max() <= at + model.context_frames()


def test_it_says_that_it_needs_a_source() -> None:
    with pytest.raises(TypeError, match="source_of"):
        network()(torch.zeros(1, 4, MEL.n_mels))


def test_bands_are_interpolated_between_their_centres() -> None:
    matrix = bands_to_bins(MEL, 512)
    assert matrix.shape == (MEL.n_mels, 257)
    assert torch.allclose(matrix.sum(dim=0), torch.ones(257))
    assert (matrix >= 0).all()


def test_other_rates_work() -> None:
    mel = MelParams(**(MEL.model_dump() | {"sample_rate": 24000, "hop_length": 300, "n_fft": 1200, "win_length": 1200,
                                           "fmax": 12000.0}))
    model = HarmonicNoise(SMALL.model_copy(update={"n_fft": 600}), mel)
    given = torch.from_numpy(source_of(np.full(9, 130.0, np.float32), mel, np.random.default_rng(0)))[None]
    assert model(torch.full((1, 9, mel.n_mels), -4.0), given).shape == (1, 2700)
