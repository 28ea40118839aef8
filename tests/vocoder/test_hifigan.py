import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from koe.audio.mel import log_mel
from koe.tasks.conversion.schema import Params
from koe.vocoder.hifigan import Generator
from koe.vocoder.losses import mel_loss
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import HiFiGANParams

V1 = HiFiGANParams(
    upsample_rates=[8, 8, 2, 2], upsample_kernels=[16, 16, 4, 4], upsample_channels=512, resblock="1",
    resblock_kernels=[3, 7, 11], resblock_dilations=[[1, 3, 5]] * 3,
)
SHAPES = {  # a few of those in the published V1 checkpoints
    "conv_pre.weight_g": (512, 1, 1),
    "conv_pre.weight_v": (512, 80, 7),
    "conv_pre.bias": (512,),
    "ups.0.weight_g": (512, 1, 1),
    "ups.0.weight_v": (512, 256, 16),
    "ups.3.weight_v": (64, 32, 4),
    "resblocks.0.convs1.0.weight_v": (256, 256, 3),
    "resblocks.5.convs2.2.weight_v": (128, 128, 11),
    "resblocks.11.convs1.2.weight_g": (32, 1, 1),
    "conv_post.weight_v": (1, 32, 7),
    "conv_post.bias": (1,),
}


def generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    small = V1.model_copy(update={"upsample_channels": 16, **changes})
    return Generator(small, n_mels=80).eval()


def test_v1_has_the_published_names_and_shapes() -> None:
    model = Generator(V1, n_mels=80)
    state = published_names(model.state_dict())
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert len(state) == 3 * (1 + 4 + 12 * 6 + 1) + 1
    assert {name for name in state if name.rpartition(".")[2] not in {"weight_g", "weight_v", "bias"}} == {"mel_mean"}
    assert internal_names(state).keys() == model.state_dict().keys()


def test_a_published_state_dict_loads() -> None:
    first, second = generator(), generator()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.5)
    published = published_names(first.state_dict())
    del published["mel_mean"]  # which published ones have not
    second.load_state_dict(internal_names(published))
    mel = torch.randn(1, 20, 80)
    assert torch.equal(first(mel), second(mel))


@pytest.mark.parametrize("frames", [1, 7, 380])
@pytest.mark.parametrize(("rates", "kernels"), [
    ([8, 8, 2, 2], [16, 16, 4, 4]),     # 22.05 kHz, hop 256
    ([5, 5, 4, 2], [11, 11, 8, 4]),     # 16 kHz, hop 200
    ([5, 5, 4, 3], [5, 15, 8, 7]),      # 24 kHz, hop 300; odd rates
    ([8, 8, 4, 2], [16, 16, 8, 4]),     # 44.1 kHz, hop 512
    ([10, 6, 4, 2], [20, 12, 8, 4]),    # 48 kHz, hop 480
    ([5, 5, 4, 3], [10, 10, 8, 6]),     # 24 kHz, hop 300; odd rates, even kernels
    ([3, 2], [4, 5]),
    ([7, 3], [7, 9]),
])
@pytest.mark.parametrize("resblock", ["1", "2"])
def test_lesson_06_exactly_frames_times_hop(
    frames: int, rates: list[int], kernels: list[int], resblock: str
) -> None:
    model = generator(upsample_rates=rates, upsample_kernels=kernels, resblock=resblock, resblock_kernels=[3, 5],
                      resblock_dilations=[[1, 3], [2]])
    with torch.no_grad():
        assert model(torch.zeros(2, frames, 80)).shape == (2, frames * int(np.prod(rates)))


@pytest.mark.parametrize("kernels", [[11, 11, 8, 7], [10, 10, 8, 6]])
def test_odd_rates_are_trainable(params: Params, kernels: list[int]) -> None:
    mel = params.mel.model_copy(update={"hop_length": 300, "n_fft": 1200, "win_length": 1200})
    model = generator(upsample_rates=[5, 5, 4, 3], upsample_kernels=kernels)
    loss = mel_loss(torch.full((2, 8, 80), -3.0), log_mel(model(torch.randn(2, 8, 80)), mel))
    loss.backward()
    assert np.isfinite(loss.item())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_folding_weight_norm_changes_nothing() -> None:
    model = generator()
    mel = torch.randn(1, 12, 80)
    with torch.no_grad():
        before: Tensor = model(mel)
        folded = copy.deepcopy(model).fold_weight_norm()
        assert torch.allclose(before, folded(mel), atol=1e-6)
        assert torch.equal(before, model(mel))  # of which it is a copy
    assert "conv_pre.weight" in folded.state_dict()
    assert not any("parametrizations" in name for name in folded.state_dict())


@pytest.mark.parametrize("resblock", ["1", "2"])
def test_nothing_beyond_the_context_is_heard(resblock: str) -> None:
    model = generator(resblock=resblock)
    context, hop = model.context_frames(), 256
    mel = torch.randn(1, 2 * context + 21, 80)
    other = mel.clone()
    other[:, context + 10] += 10
    with torch.no_grad():
        changed = (model(mel) != model(other))[0].nonzero()[:, 0] // hop
    assert 10 <= int(changed.min()) < context + 10 < int(changed.max()) <= 2 * context + 10


def test_what_is_beyond_the_edges_is_the_mean() -> None:
    model = generator()
    model.mel_mean.copy_(torch.linspace(-6, -2, 80))
    mel, beyond = torch.randn(1, 4, 80), model.mel_mean.expand(1, 3, 80)
    with torch.no_grad():
        first = model.conv_pre((mel - model.mel_mean).transpose(1, 2))
        longer = model.conv_pre((torch.cat([beyond, mel, beyond], dim=1) - model.mel_mean).transpose(1, 2))
        assert torch.allclose(first, longer[..., 3:-3], atol=1e-5)
