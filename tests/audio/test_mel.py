"""The mel agrees with an independent computation, with stored numbers, and with what its callers rely on."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.audio.grid import frame_count
from koe.audio.mel import log_mel, magnitude_frames, mel_and_energy, mel_filterbank, minimum_samples
from koe.audio.params import MelParams
from koe.errors import AudioError

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "mel_golden.npz"
HOP_256 = MelParams(
    sample_rate=22050, n_fft=1024, hop_length=256, win_length=1024, n_mels=80, fmin=0.0, fmax=8000.0, floor=1e-5
)
HOP_300 = MelParams(
    sample_rate=24000, n_fft=2048, hop_length=300, win_length=1200, n_mels=80, fmin=80.0, fmax=7600.0, floor=1e-5
)
SETTINGS = {"hop_256": HOP_256, "hop_300": HOP_300}


def chirp(params: MelParams, seconds: float = 1.0) -> np.ndarray:
    """A rising tone with its third harmonic, a click and a quiet end, over a noise 26 dB below full scale.

    The noise is of integer arithmetic, the same everywhere; it keeps every band clear of float32's rounding.
    """
    count = np.arange(int(seconds * params.sample_rate), dtype=np.int64)
    time = count / params.sample_rate
    noise = count * count * 2654435761 % 2**32 / 2**31 - 1
    phase = 2 * np.pi * (100 * time + 1500 * time**2)
    wave = 0.5 * np.sin(phase) + 0.2 * np.sin(3 * phase)
    wave[len(wave) // 3] += 0.3
    wave[-len(wave) // 8 :] = 0
    return (wave + 0.05 * noise).astype(np.float32)


def reference_log_mel(wave: np.ndarray, params: MelParams) -> np.ndarray:
    """The same definition, written in float64 numpy one frame at a time, with librosa's filterbank."""
    padded = np.pad(wave.astype(np.float64), (params.n_fft - params.hop_length) // 2, mode="reflect")
    window = np.zeros(params.n_fft)
    left = (params.n_fft - params.win_length) // 2
    window[left : left + params.win_length] = 0.5 - 0.5 * np.cos(
        2 * np.pi * np.arange(params.win_length) / params.win_length
    )
    filterbank = librosa.filters.mel(
        sr=params.sample_rate, n_fft=params.n_fft, n_mels=params.n_mels, fmin=params.fmin, fmax=params.fmax,
        dtype=np.float64,
    )
    rows = []
    for start in range(0, len(padded) - params.n_fft + 1, params.hop_length):
        spectrum = np.fft.rfft(padded[start : start + params.n_fft] * window)
        magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        rows.append(np.log(np.maximum(filterbank @ magnitude, params.floor)))
    return np.array(rows)


@pytest.mark.parametrize("name", SETTINGS)
def test_lesson_17_mel_is_pinned_to_an_independent_computation(name: str) -> None:
    params = SETTINGS[name]
    wave = chirp(params)
    mel = log_mel(torch.from_numpy(wave), params).numpy()
    assert np.abs(mel - reference_log_mel(wave, params)).max() < 1e-4


@pytest.mark.parametrize("name", SETTINGS)
def test_lesson_17_mel_is_pinned_to_stored_numbers(name: str) -> None:
    params = SETTINGS[name]
    mel = log_mel(torch.from_numpy(chirp(params)), params).numpy()
    golden = np.load(GOLDEN)[name]
    assert mel.shape == golden.shape
    assert np.abs(mel - golden).max() < 1e-4


@pytest.mark.parametrize(
    "params", [HOP_256, HOP_300, HOP_256.model_copy(update={"fmin": 1500.0, "n_mels": 20}),
               HOP_256.model_copy(update={"fmax": 11025.0, "n_mels": 128})],
)
def test_filterbank_is_librosas(params: MelParams) -> None:
    expected = librosa.filters.mel(
        sr=params.sample_rate, n_fft=params.n_fft, n_mels=params.n_mels, fmin=params.fmin, fmax=params.fmax
    )
    assert np.abs(mel_filterbank(params).numpy() - expected).max() < 1e-7


@pytest.mark.parametrize("change", [
    {"sample_rate": 24000}, {"n_fft": 2048}, {"n_mels": 40}, {"fmin": 80.0}, {"fmax": 7600.0},
])
def test_lesson_07_filterbank_is_kept_per_full_setting(change: dict[str, float]) -> None:
    other = HOP_256.model_copy(update=change)
    assert mel_filterbank(HOP_256, "cpu") is mel_filterbank(HOP_256.model_copy(), "cpu")
    one, two = mel_filterbank(HOP_256, "cpu"), mel_filterbank(other, "cpu")
    assert one.shape != two.shape or not torch.equal(one, two)
    assert mel_filterbank(HOP_256, "cpu", torch.float64).dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_lesson_07_mel_is_computed_where_its_input_is() -> None:
    wave = torch.from_numpy(chirp(HOP_256))
    mel = log_mel(wave.cuda(), HOP_256)
    assert mel.is_cuda
    assert torch.allclose(mel.cpu(), log_mel(wave, HOP_256), atol=1e-4)


def test_a_filterbank_first_used_in_inference_serves_a_loss_later() -> None:
    params = HOP_256.model_copy(update={"n_mels": 33})
    with torch.inference_mode():
        log_mel(torch.zeros(4096), params)
    wave = torch.from_numpy(chirp(params)).requires_grad_()
    log_mel(wave, params).sum().backward()
    assert wave.grad is not None and torch.isfinite(wave.grad).all() and wave.grad.abs().max() > 0


def test_gradient_is_finite_at_digital_silence() -> None:
    wave = torch.zeros(4096, requires_grad=True)
    log_mel(wave, HOP_256).sum().backward()
    assert wave.grad is not None and torch.isfinite(wave.grad).all()


def test_gradient_agrees_with_finite_differences() -> None:
    wave = torch.from_numpy(chirp(HOP_256)[8000:8768].astype(np.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: log_mel(w, HOP_256)[:, ::20], wave, atol=1e-4, fast_mode=True)


def test_batch_and_leading_dimensions_do_not_change_the_mel() -> None:
    wave = torch.from_numpy(chirp(HOP_256))
    other = torch.flip(wave, (0,))
    together = log_mel(torch.stack([wave, other]).reshape(2, 1, -1), HOP_256)
    assert together.shape == (2, 1, frame_count(len(wave), HOP_256), 80)
    assert torch.allclose(together[0, 0], log_mel(wave, HOP_256), atol=1e-5)
    assert torch.allclose(together[1, 0], log_mel(other, HOP_256), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(extra=st.integers(0, 5000), name=st.sampled_from(sorted(SETTINGS)))
def test_frames_are_samples_over_hop_for_any_length(extra: int, name: str) -> None:
    params = SETTINGS[name]
    samples = minimum_samples(params) + extra
    mel, energy = mel_and_energy(torch.full((samples,), 0.1), params)
    assert mel.shape == (samples // params.hop_length, params.n_mels)
    assert energy.shape == (samples // params.hop_length,)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_waveform_too_short_is_refused_by_name(name: str) -> None:
    params = SETTINGS[name]
    with pytest.raises(AudioError) as raised:
        log_mel(torch.zeros(minimum_samples(params) - 1), params)
    assert raised.value.reason == "too_short"


def test_lesson_15_nothing_is_clipped_or_rescaled() -> None:
    wave = torch.from_numpy(chirp(HOP_256))
    louder = log_mel(wave * 10, HOP_256) - log_mel(wave, HOP_256)
    assert louder.max() > np.log(10) - 0.01  # beyond full scale it still grows as the wave does
    assert log_mel(torch.zeros(4096), HOP_256).unique().tolist() == pytest.approx([np.log(1e-5)])
    with pytest.raises(TypeError, match="int16"):
        log_mel(torch.zeros(4096, dtype=torch.int16), HOP_256)


def test_energy_is_the_log_norm_of_the_magnitude_frame() -> None:
    wave = torch.from_numpy(chirp(HOP_256))
    mel, energy = mel_and_energy(wave, HOP_256)
    magnitude = magnitude_frames(wave, HOP_256).numpy()
    assert np.allclose(energy.numpy(), 0.5 * np.log((magnitude**2).sum(axis=1)), atol=1e-4)
    assert torch.equal(mel, log_mel(wave, HOP_256))


def test_half_precision_input_is_computed_in_float32() -> None:
    wave = torch.from_numpy(chirp(HOP_256)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mel = log_mel(wave, HOP_256)
    assert mel.dtype == torch.float32
    assert torch.allclose(mel, log_mel(wave.float(), HOP_256), atol=1e-5)
