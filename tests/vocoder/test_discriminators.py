from typing import Any

import pytest
import torch

from koe.vocoder.discriminators import Discriminators
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import DiscriminatorParams

PUBLISHED = DiscriminatorParams(periods=[2, 3, 5, 7, 11], period_channels=32, scales=3, scale_channels=128, spectra=[],
                                spectrum_channels=16)


def small(**changes: Any) -> DiscriminatorParams:
    sizes = {"periods": [2, 3], "period_channels": 2, "scales": 2, "scale_channels": 3, "spectra": [256],
             "spectrum_channels": 2}
    return DiscriminatorParams.model_validate(sizes | changes)


SHAPES = {
    "mpd.discriminators.0.convs.0.weight_v": (32, 1, 5, 1),
    "mpd.discriminators.4.convs.3.weight_v": (1024, 512, 5, 1),
    "mpd.discriminators.4.conv_post.weight_g": (1, 1, 1, 1),
    "msd.discriminators.0.convs.0.weight_orig": (128, 1, 15),
    "msd.discriminators.0.convs.1.weight_orig": (128, 32, 41),
    "msd.discriminators.0.convs.1.weight_u": (128,),
    "msd.discriminators.0.convs.1.weight_v": (32 * 41,),
    "msd.discriminators.1.convs.4.weight_v": (1024, 32, 41),
    "msd.discriminators.2.convs.6.weight_v": (1024, 1024, 5),
    "msd.discriminators.2.conv_post.weight_v": (1, 1024, 3),
}


def test_published_widths_give_the_published_shapes() -> None:
    model = Discriminators(PUBLISHED)
    state = published_names(model.state_dict())
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert {name.partition(".")[0] for name in state} == {"mpd", "msd"}
    assert internal_names(state).keys() == model.state_dict().keys()
    assert round(sum(parameter.numel() for parameter in model.mpd.parameters()) / 1e6, 1) == 41.1
    assert round(sum(parameter.numel() for parameter in model.msd.parameters()) / 1e6, 1) == 29.6


@pytest.mark.parametrize("samples", [1024, 8192, 8191])
@pytest.mark.parametrize("periods", [[2], [3, 7, 13]])
def test_every_discriminator_judges_every_waveform(samples: int, periods: list[int]) -> None:
    model = Discriminators(small(periods=periods, spectra=[256, 128]))
    judgements = model(torch.randn(3, samples))
    assert len(judgements) == len(periods) + 2 + 2
    for judgement in judgements:
        assert judgement.score.shape[0] == 3
        assert torch.equal(judgement.features[-1].flatten(1), judgement.score)


@pytest.mark.parametrize("none, left", [
    ({"periods": []}, 3), ({"scales": 0}, 3), ({"spectra": []}, 4), ({"periods": [], "scales": 0, "spectra": []}, 0)])
def test_any_kind_may_have_none(none: dict[str, Any], left: int) -> None:
    assert len(Discriminators(small(**none))(torch.randn(1, 1024))) == left


def test_one_pass_over_both_is_two_passes() -> None:
    model = Discriminators(small(scale_channels=4)).eval()
    real, generated = torch.randn(2, 2048), torch.randn(2, 2048)
    for together, alone in zip(model.compare(real, generated), (model(real), model(generated)), strict=True):
        for judgement, expected in zip(together, alone, strict=True):
            assert torch.allclose(judgement.score, expected.score, atol=1e-6)
