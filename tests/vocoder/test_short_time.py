"""STFT and inverse on the project's frame grid."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from koe.vocoder.short_time import ShortTime


@given(frames=st.integers(1, 40), sizes=st.sampled_from([(512, 128), (1024, 256), (256, 64), (1200, 300)]))
def test_unchanged_spectra_give_the_waveform_back(frames: int, sizes: tuple[int, int]) -> None:
    fft_size, hop_length = sizes
    short_time = ShortTime(fft_size, hop_length)
    wave = torch.randn(2, frames * hop_length, generator=torch.Generator().manual_seed(frames))
    spectra = short_time(wave)
    assert spectra.shape == (2, frames, fft_size // 2 + 1)
    assert torch.allclose(short_time.inverse(spectra), wave, atol=1e-4)


def test_a_window_shorter_than_the_fft_gives_the_waveform_back_too() -> None:
    short_time = ShortTime(2048, 300, 1200)
    wave = torch.randn(1, 30 * 300, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(short_time.inverse(short_time(wave)), wave, atol=1e-4)


@pytest.mark.parametrize("position", [2000, 4096])
def test_a_sample_changes_nothing_beyond_reach(position: int) -> None:
    short_time = ShortTime(512, 128)
    wave, factor = torch.zeros(1, 64 * 128), torch.rand(1, 64, 257)
    before = short_time.inverse(short_time(wave) * factor)
    wave[0, position] = 1
    changed = (short_time.inverse(short_time(wave) * factor) - before)[0].abs()
    outside = torch.ones_like(changed, dtype=torch.bool)
    outside[position - short_time.reach : position + short_time.reach + 1] = False
    assert changed[outside].max() == 0
    assert changed[~outside].max() > 0.01
