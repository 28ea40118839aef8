"""Magnitudes and the discriminator of spectrograms."""

import numpy as np
import torch

from koe.vocoder.spectra import SpectrumDiscriminator, magnitudes


def test_a_sine_is_loudest_at_its_own_frequency() -> None:
    wave = torch.sin(2 * torch.pi * 0.125 * torch.arange(4096.0))[None]
    found = magnitudes(wave, 512)
    assert found.shape == (1, 4096 // 128 + 1, 257)
    assert set(found[0, 2:-2].argmax(dim=-1).tolist()) == {512 // 8}


def test_magnitudes_of_silence_have_a_gradient() -> None:
    wave = torch.zeros(1, 2048, requires_grad=True)
    magnitudes(wave, 256).sum().backward()
    assert wave.grad is not None
    assert torch.isfinite(wave.grad).all()


def test_the_discriminator_learns_to_tell_a_tone_from_noise() -> None:
    torch.manual_seed(1)
    judge = SpectrumDiscriminator(256, 4)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    time = torch.arange(4096.0)
    tones = torch.stack([torch.sin(time * frequency) for frequency in (0.1, 0.3, 0.7)])
    noise = torch.randn(3, 4096)
    for _ in range(40):
        real, generated = judge(tones)[0], judge(noise)[0]
        loss = (1 - real).square().mean() + generated.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert judge(tones)[0].mean() > judge(noise)[0].mean() + 0.5


def test_features_come_of_every_layer_and_the_score_is_the_last() -> None:
    score, features = SpectrumDiscriminator(256, 4)(torch.zeros(2, 2048))
    assert len(features) == 6
    assert np.array_equal(score.detach(), features[-1].flatten(1).detach())
