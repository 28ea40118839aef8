import math

import pytest
import torch

from koe.vocoder.discriminators import Judgement
from koe.vocoder.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    gradient_penalty,
    mel_loss,
    stft_loss,
)


def judgement(score: float, *features: float) -> Judgement:
    return Judgement(torch.full((2, 3), score), [torch.full((2, 4), value) for value in features])


def test_least_squares() -> None:
    real, generated = [judgement(0.8), judgement(1.0)], [judgement(0.5), judgement(0.0)]
    assert float(discriminator_loss(real, generated)) == pytest.approx(0.2**2 + 0.5**2)
    assert float(adversarial_loss(generated)) == pytest.approx(0.5**2 + 1)


def test_feature_matching_sums_layers_and_discriminators() -> None:
    real, generated = [judgement(0, 1.0, 2.0), judgement(0, 5.0)], [judgement(0, 1.5, 2.0), judgement(0, 3.0)]
    assert float(feature_matching_loss(real, generated)) == pytest.approx(2.5)


def test_feature_matching_leaves_the_real_side_alone() -> None:
    real, generated = judgement(0, 1.0), judgement(0, 2.0)
    for item in (real, generated):
        item.features[0].requires_grad_()
    feature_matching_loss([real], [generated]).backward()
    assert real.features[0].grad is None
    assert generated.features[0].grad is not None


def test_mel_loss_is_the_mean_difference() -> None:
    assert float(mel_loss(torch.zeros(2, 5, 8), torch.full((2, 5, 8), -0.25))) == pytest.approx(0.25)


def test_stft_loss_is_convergence_and_log_difference_by_hand() -> None:
    generator = torch.Generator().manual_seed(1)
    real, generated = torch.randn(2, 2, 2048, generator=generator)
    expected = []
    for size in (512, 128):
        window = torch.hann_window(size)
        true, made = (torch.stft(wave, size, size // 4, window=window, return_complex=True).abs()
                      for wave in (real, generated))
        expected.append((true - made).norm() / true.norm() + (true.log() - made.log()).abs().mean())
    assert float(stft_loss(real, generated, [512, 128])) == pytest.approx(float(sum(expected)) / 2, rel=1e-3)


def test_stft_loss_of_half_as_loud_a_waveform() -> None:
    wave = torch.randn(1, 4096, generator=torch.Generator().manual_seed(2))
    assert float(stft_loss(wave, wave, [256])) == 0
    assert float(stft_loss(wave, wave / 2, [256])) == pytest.approx(0.5 + math.log(2), rel=1e-3)


def test_stft_loss_has_a_gradient_at_silence() -> None:
    generated = torch.zeros(1, 1024, requires_grad=True)
    stft_loss(torch.randn(1, 1024, generator=torch.Generator().manual_seed(3)), generated, [256]).backward()
    assert generated.grad is not None and bool(generated.grad.isfinite().all())
    assert float(stft_loss(torch.zeros(1, 1024), torch.zeros(1, 1024), [256])) == 0


def test_gradient_penalty_of_a_linear_judge_is_its_squared_weights() -> None:
    wave = torch.randn(3, 8, requires_grad=True, generator=torch.Generator().manual_seed(4))
    weight = torch.arange(8.0, requires_grad=True)
    penalty = gradient_penalty(wave, [Judgement((wave * weight).sum(dim=1, keepdim=True), [])])
    assert float(penalty.detach()) == pytest.approx(sum(value**2 for value in range(8)))
    penalty.backward()
    assert weight.grad is not None and torch.allclose(weight.grad, 2 * torch.arange(8.0))
