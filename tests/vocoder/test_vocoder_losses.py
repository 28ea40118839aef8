import pytest
import torch

from koe.vocoder.discriminators import Judgement
from koe.vocoder.losses import adversarial_loss, discriminator_loss, feature_matching_loss, mel_loss


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
