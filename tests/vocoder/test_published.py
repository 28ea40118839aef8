"""Public checkpoints: what the authors' code and ours make of the same file is the same.

The authors' networks are written here anew, as plainly as their paper and config say, with the old `weight_norm` and
`spectral_norm` whose names their files have.
"""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm
from typer.testing import CliRunner

import koe.cli
from koe.errors import KoeError, StoreError
from koe.experiments.named import compose, read_experiment
from koe.tasks.conversion.schema import check_params
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.networks import make_network
from koe.vocoder.parallel_wavegan import import_parallel_wavegan
from koe.vocoder.params import DiscriminatorParams, HiFiGANParams, VocoderParams
from koe.vocoder.published import PUBLISHED, caveats, export_hifigan, import_hifigan, published_state

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")

V1: dict[str, Any] = {
    "resblock": "1", "batch_size": 16, "learning_rate": 0.0002, "adam_b1": 0.8, "adam_b2": 0.99, "lr_decay": 0.999,
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4], "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "segment_size": 8192, "num_mels": 80, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 22050,
    "fmin": 0, "fmax": 8000, "fmax_for_loss": None,
}
V2 = V1 | {"upsample_initial_channel": 128}
V3 = V1 | {
    "resblock": "2", "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8], "upsample_initial_channel": 256,
    "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
}
SMALL = V1 | {"upsample_initial_channel": 16}


def same(channels: int, kernel: int, dilation: int = 1) -> nn.Conv1d:
    padding = (kernel - 1) * dilation // 2
    return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))


class OfficialBlock(nn.Module):
    def __init__(self, kind: str, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        dilated = nn.ModuleList(same(channels, kernel, dilation) for dilation in dilations)
        if kind == "1":
            self.convs1, self.convs2 = dilated, nn.ModuleList(same(channels, kernel) for _ in dilations)
        else:
            self.convs = dilated

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.convs1 if hasattr(self, "convs1") else self.convs):
            y = layer(F.leaky_relu(x, 0.1))
            if hasattr(self, "convs2"):
                y = self.convs2[index](F.leaky_relu(y, 0.1))
            x = x + y
        return x


class OfficialGenerator(nn.Module):
    """Mel (batch, bands, frames) to waveform (batch, 1, samples)."""

    def __init__(self, h: dict[str, Any]) -> None:
        super().__init__()
        width = h["upsample_initial_channel"]
        self.conv_pre = weight_norm(nn.Conv1d(h["num_mels"], width, 7, padding=3))
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(h["upsample_rates"], h["upsample_kernel_sizes"], strict=True):
            padding = (kernel - rate) // 2
            self.ups.append(weight_norm(nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=padding)))
            width //= 2
            for size, dilations in zip(h["resblock_kernel_sizes"], h["resblock_dilation_sizes"], strict=True):
                self.resblocks.append(OfficialBlock(h["resblock"], width, size, dilations))
        self.conv_post = weight_norm(nn.Conv1d(width, 1, 7, padding=3))
        self.parallel = len(h["resblock_kernel_sizes"])

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_pre(x)
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(self.resblocks[index * self.parallel + j](x) for j in range(self.parallel)) / self.parallel
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


class OfficialPeriod(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [1, 32, 128, 512, 1024, 1024]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(widths[i], widths[i + 1], (5, 1), (3 if i < 4 else 1, 1), padding=(2, 0)))
            for i in range(5))
        self.conv_post = weight_norm(nn.Conv2d(1024, 1, (3, 1), padding=(1, 0)))


class OfficialScale(nn.Module):
    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.convs = nn.ModuleList([
            norm(nn.Conv1d(1, 128, 15, 1, padding=7)), norm(nn.Conv1d(128, 128, 41, 2, groups=4, padding=20)),
            norm(nn.Conv1d(128, 256, 41, 2, groups=16, padding=20)),
            norm(nn.Conv1d(256, 512, 41, 4, groups=16, padding=20)),
            norm(nn.Conv1d(512, 1024, 41, 4, groups=16, padding=20)),
            norm(nn.Conv1d(1024, 1024, 41, 1, groups=16, padding=20)), norm(nn.Conv1d(1024, 1024, 5, 1, padding=2))])
        self.conv_post = norm(nn.Conv1d(1024, 1, 3, 1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.1)
        return self.conv_post(x).flatten(1)


class Several(nn.Module):
    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(modules)


def official_discriminators() -> tuple[Several, Several]:
    return (Several(*(OfficialPeriod() for _ in range(5))),
            Several(OfficialScale(spectral_norm), OfficialScale(weight_norm), OfficialScale(weight_norm)))


def official(h: dict[str, Any]) -> OfficialGenerator:
    """With random weights that are loud enough to tell differences."""
    torch.manual_seed(0)
    network = OfficialGenerator(h).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.5)
    return network


def written(folder: Path, h: dict[str, Any], state: dict[str, Tensor]) -> tuple[Path, Path]:
    """As the authors' training leaves them."""
    torch.save({"generator": state}, folder / "g_02500000")
    (folder / "config.json").write_text(json.dumps(h))
    return folder / "g_02500000", folder / "config.json"


def speech(frames: int = 23, bands: int = 80) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(-5, 2, (2, frames, bands)).astype(np.float32))


@torch.no_grad()
def distance(theirs: nn.Module, ours: nn.Module, mel: Tensor) -> float:
    """The largest difference of samples, which are not all small."""
    expected, found = theirs(mel.transpose(1, 2)).squeeze(1), ours(mel)
    assert expected.shape == found.shape and float(expected.abs().max()) > 0.05
    return float((expected - found).abs().max())


@pytest.mark.parametrize("h", [V1, V2, V3], ids=["V1", "V2", "V3"])
def test_the_authors_generator_and_ours_agree(h: dict[str, Any], tmp_path: Path) -> None:
    theirs = official(h)
    save_vocoder(tmp_path / "koe", import_hifigan(*written(tmp_path, h, theirs.state_dict())))
    model = read_vocoder(tmp_path / "koe")
    assert model.steps == 2500000
    assert distance(theirs, model.generator, speech()) < 1e-5
    generator, config = export_hifigan(model, tmp_path / "out")
    again = official(json.loads(config.read_text()))
    again.load_state_dict(torch.load(generator, weights_only=True)["generator"])
    assert distance(again, model.generator, speech()) < 1e-5
    assert not caveats(model)


@pytest.mark.parametrize("h, millions", [(V1, 13.92), (V2, 0.92), (V3, 1.46)], ids=["V1", "V2", "V3"])
def test_sizes_and_names_are_the_published_ones(values: dict[str, Any], h: dict[str, Any], millions: float) -> None:
    name = {512: "hifigan_v1", 128: "hifigan_v2", 256: "hifigan_v3"}[h["upsample_initial_channel"]]
    params = VocoderParams.model_validate(compose(values, read_experiment(name))["vocoder"])
    ours, theirs = Generator(params.part(HiFiGANParams), 80), OfficialGenerator(h)
    assert {name: tensor.shape for name, tensor in published_state(ours).items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()}
    folded = sum(parameter.numel() for parameter in ours.fold_weight_norm().parameters())
    assert math.floor(folded / 1e4) / 100 == millions  # table 1 of the paper


@pytest.mark.parametrize("name, steps", [("g_00000012", 12), ("g_00000012.pth", 12), ("generator_v1", 0), ("v3_7", 0)])
def test_steps_are_in_the_names_of_the_authors_files_alone(tmp_path: Path, name: str, steps: int) -> None:
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    assert import_hifigan(generator.rename(tmp_path / name), config).steps == steps


@pytest.mark.parametrize("fmax", [None, 8000])
def test_the_bands_of_the_loss_are_exported_as_they_came(tmp_path: Path, fmax: int | None) -> None:
    model = import_hifigan(*written(tmp_path, SMALL | {"fmax_for_loss": fmax}, official(SMALL).state_dict()))
    assert json.loads(export_hifigan(model, tmp_path / "out")[1].read_text())["fmax_for_loss"] == fmax


def test_weights_without_their_norm_are_taken_too(tmp_path: Path) -> None:
    theirs = official(SMALL)
    for module in theirs.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)
    assert "conv_pre.weight" in theirs.state_dict()
    model = import_hifigan(*written(tmp_path, SMALL, theirs.state_dict()))
    assert distance(theirs, model.generator, speech()) < 1e-5


def test_the_card_carries_the_mel_and_the_training(tmp_path: Path) -> None:
    changes = {"fmax": None, "learning_rate": 1e-4, "segment_size": 4096}
    model = import_hifigan(*written(tmp_path, SMALL | changes, official(SMALL).state_dict()))
    assert (model.mel.sample_rate, model.mel.fmin, model.mel.fmax, model.mel.floor) == (22050, 0, 11025, 1e-5)
    assert (model.mel.n_fft, model.mel.hop_length, model.mel.win_length, model.mel.n_mels) == (1024, 256, 1024, 80)
    training = model.params.training
    assert (training.schedule.learning_rate, training.segment_size, training.schedule.name) == (
        1e-4, 4096, "exponential_per_epoch")
    assert model.provenance["imported"]["file"] == "g_02500000"
    assert model.provenance["imported"]["config"]["resblock"] == "1"


def test_what_is_called_published_is_the_preset(values: dict[str, Any]) -> None:
    preset = compose(values, read_experiment("hifigan_v1"))["vocoder"]
    without_effect: Any = {"training": {"schedule": {"final_learning_rate"}, "blur": {"frames", "bands"}},
                           "discriminators": {"spectrum_channels"}}
    preset, published = (VocoderParams.model_validate(value).model_dump(exclude=without_effect)
                         for value in (preset, PUBLISHED))
    assert preset == published


@pytest.mark.slow  # 70 million weights, twice
def test_discriminators_come_and_go(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mpd, msd = official_discriminators()
    torch.save({"mpd": mpd.state_dict(), "msd": msd.state_dict(), "optim_g": {}, "optim_d": {}, "steps": 1234,
                "epoch": 7}, tmp_path / "do_00001234")
    files = written(tmp_path, SMALL, official(SMALL).state_dict())
    model = import_hifigan(*files, tmp_path / "do_00001234")
    assert model.steps == 1234 and model.discriminators is not None
    wave = torch.randn(2, 2048)
    with torch.no_grad():
        for ours, theirs in zip(model.discriminators.msd.discriminators.eval(), msd.discriminators.eval(), strict=True):
            assert torch.allclose(ours(wave).score, theirs(wave[:, None]), atol=1e-5)
    paths = export_hifigan(model, tmp_path / "out")
    assert [path.name for path in paths] == ["g_00001234", "config.json", "do_00001234"]
    saved, (other_mpd, other_msd) = torch.load(paths[2], weights_only=True), official_discriminators()
    other_mpd.load_state_dict(saved["mpd"])
    other_msd.load_state_dict(saved["msd"])
    assert all(torch.equal(tensor, mpd.state_dict()[name]) for name, tensor in other_mpd.state_dict().items())
    for state, modules in (("optim_g", [OfficialGenerator(SMALL)]), ("optim_d", [other_msd, other_mpd])):
        optimizer = torch.optim.AdamW([parameter for module in modules for parameter in module.parameters()], 1.0)
        optimizer.load_state_dict(saved[state])
        torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999, last_epoch=saved["epoch"])  # as their train.py goes on
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-4, rel=2e-3)  # once decayed or not, by PyTorch's age


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    state = official(SMALL).state_dict()
    state["extra.bias"] = state.pop("conv_post.bias")
    with pytest.raises(StoreError) as raised:
        import_hifigan(*written(tmp_path, SMALL | {"upsample_kernel_sizes": [16, 16, 4, 6]}, state))
    message = str(raised.value)
    assert "g_02500000 does not fit" in message and "3 tensors differ" in message
    assert "ups.3.weight_v: (2, 1, 4) in the file, (2, 1, 6) by the sizes" in message
    assert "conv_post.bias: missing" in message and "extra.bias: unknown" in message


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"generator": Malice()}, tmp_path / "g_1")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    with pytest.raises(StoreError, match=r"g_1 cannot be read: .* more than tensors"):
        import_hifigan(tmp_path / "g_1", tmp_path / "config.json")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content, message", [
    ("{", "config.json is not JSON"), ("[]", "config.json holds a list"), ("{}", "config.json has no 'upsample_rates'"),
    (json.dumps(SMALL | {"n_fft": "x"}), "config.json: n_fft"),
    (json.dumps(SMALL | {"hop_size": 300}), r"config.json.*upsample_rates: \[8, 8, 2, 2\] multiply.*\[5, 5, 4, 3\]"),
])
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, content: str, message: str) -> None:
    generator, config = written(tmp_path, SMALL, {})
    config.write_text(content)
    with pytest.raises(StoreError, match=re.compile(message, re.DOTALL)):
        import_hifigan(generator, config)


def test_files_that_are_something_else_say_what_they_are(tmp_path: Path) -> None:
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    with pytest.raises(StoreError, match=r"g_02500000 has no 'mpd', but generator; expected .* do_XXXXXXXX"):
        import_hifigan(generator, config, generator)
    with pytest.raises(StoreError, match="gone does not exist"):
        import_hifigan(tmp_path / "gone", config)
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(StoreError, match="text cannot be read"):
        import_hifigan(tmp_path / "text", config)


@pytest.mark.parametrize("prefix, bare", [("module.", False), ("", True), ("module.", True)])
def test_a_state_dict_of_parallel_training_or_by_itself_is_read(tmp_path: Path, prefix: str, bare: bool) -> None:
    network = official(SMALL)
    generator, config = written(tmp_path, SMALL, {})
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save(state if bare else {"generator": state}, generator)
    assert distance(network, import_hifigan(generator, config).generator, speech()) < 1e-5


def test_a_long_list_of_parts_is_cut(tmp_path: Path) -> None:
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    torch.save({f"layer.{number}": torch.zeros(1) for number in range(234)}, tmp_path / "do_1")
    with pytest.raises(StoreError, match=r"has no 'mpd', but layer\.0, layer\.1, layer\.2, layer\.3, and 230 more"):
        import_hifigan(generator, config, tmp_path / "do_1")


def repeated(count: int) -> Tensor:
    return torch.zeros(1).expand(count)


@pytest.mark.parametrize("change, message", [
    ({"conv_post.bias": torch.tensor([torch.nan])}, "conv_post.bias of 2[0-9]+ tensors hold NaN or infinity"),
    ({"conv_post.bias": torch.tensor([1j])}, r"conv_post.bias \(torch.complex64\): expected tensors of plain numbers"),
    ({"conv_post.bias": repeated(10**12)}, "much larger than the file"),
    ({"conv_post.bias": 1.0}, "g_02500000 has no 'generator'"), ({1: torch.zeros(1)}, "g_02500000 has no 'generator'"),
])
def test_tensors_that_cannot_be_weights_are_named(tmp_path: Path, change: dict[Any, Any], message: str) -> None:
    generator, config = written(tmp_path, SMALL, {})
    torch.save({"generator": official(SMALL).state_dict() | change}, generator)
    with pytest.raises(StoreError, match=message):
        import_hifigan(generator, config)


@pytest.mark.parametrize("name, value", [
    *((name, value) for name in ("upsample_initial_channel", "num_mels", "n_fft", "hop_size", "win_size",
                                 "sampling_rate", "fmin", "fmax", "segment_size", "learning_rate", "adam_b1")
      for value in (10**9, -1, "8", [], {}, True)),
    *((name, value) for name in ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes",
                                 "resblock_dilation_sizes", "discriminator_periods")
      for value in ([], [0] * 4, [-2] * 4, [10**9] * 4, ["8"] * 4, [[1]] * 4, [2] * 10**4, 7, None, {"a": 1}, True)),
])
def test_a_config_may_say_anything(tmp_path: Path, name: str, value: Any) -> None:
    """Sizes that are read and are not the checkpoint's are told before they take memory."""
    generator, config = written(tmp_path, SMALL | {name: value}, official(SMALL).state_dict())
    try:
        import_hifigan(generator, config)
    except StoreError as error:
        assert "config.json" in str(error) and len(str(error)) < 3000
    else:
        assert name in ("fmin", "fmax", "segment_size", "learning_rate", "adam_b1", "win_size", "n_fft",
                        "discriminator_periods"), value


@pytest.mark.parametrize("content", [
    b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x80\x02" + b"(" * 3000, b"\x80\x02.", b"0" * 99, b"\x80\x02]a.",
    b"\x80\x02}s.", b"\x80\x02K\x01R.", b"\x80\x02X\xff\xff\xff\x7fa.", b"(" * 99 + b"t.", b"\x80\x02h\x01.",
    b"\xff" * 500,
])
def test_bytes_that_are_no_checkpoint_are_named(tmp_path: Path, content: bytes) -> None:
    generator, config = written(tmp_path, SMALL, {})
    generator.write_bytes(content)
    with pytest.raises(StoreError, match="g_02500000"):
        import_hifigan(generator, config)


def test_every_cut_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    whole = generator.read_bytes()
    for share in np.linspace(0, 0.99, 12):
        generator.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(StoreError, match="g_02500000 cannot be read"):
            import_hifigan(generator, config)


def test_odd_rates_are_exported_with_a_word_about_them(tmp_path: Path) -> None:
    h = SMALL | {"upsample_rates": [5, 5, 4, 3], "upsample_kernel_sizes": [10, 10, 8, 6], "hop_size": 300,
                 "discriminator_periods": [3, 5]}
    model = import_hifigan(*written(tmp_path, h, official(h).state_dict()))
    assert model.params.discriminators.periods == [3, 5]
    assert len(caveats(model)) == 1 and "parity" in caveats(model)[0]
    again = import_hifigan(*export_hifigan(model, tmp_path / "out")[:2])
    assert again.params == model.params and again.mel == model.mel


# ParallelWaveGAN -----------------------------------------------------------------------------------------------------

PWG: dict[str, Any] = {
    "sampling_rate": 24000, "fft_size": 2048, "hop_size": 300, "win_length": 1200, "window": "hann", "num_mels": 80,
    "fmin": 80, "fmax": 7600, "batch_max_steps": 8400, "generator_type": "HiFiGANGenerator",
    "generator_params": {
        "in_channels": 80, "out_channels": 1, "channels": 32, "kernel_size": 7, "upsample_scales": [5, 5, 4, 3],
        "upsample_kernal_sizes": [10, 10, 8, 6], "resblock_kernel_sizes": [3, 7],
        "resblock_dilations": [[1, 3], [1, 3]], "use_additional_convs": True, "bias": True,
        "nonlinear_activation": "LeakyReLU",
        "nonlinear_activation_params": {"negative_slope": 0.1}, "use_weight_norm": True,
    },
}


class TheirBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: list[int], additional: bool) -> None:
        super().__init__()

        def layer(dilation: int) -> nn.Sequential:
            return nn.Sequential(nn.LeakyReLU(0.1), same(channels, kernel, dilation))

        self.convs1 = nn.ModuleList(layer(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(layer(1) if additional else nn.Identity() for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(first(x))
        return x


class TheirGenerator(nn.Module):
    """Normalised log10 mel (batch, bands, frames) to waveform (batch, 1, samples)."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        width = sizes["channels"]
        self.input_conv = weight_norm(nn.Conv1d(sizes["in_channels"], width, 7, padding=3))
        self.upsamples, self.blocks = nn.ModuleList(), nn.ModuleList()
        for scale, kernel in zip(sizes["upsample_scales"], sizes["upsample_kernal_sizes"], strict=True):
            self.upsamples.append(nn.Sequential(nn.LeakyReLU(0.1), weight_norm(nn.ConvTranspose1d(
                width, width // 2, kernel, scale, padding=scale // 2 + scale % 2, output_padding=scale % 2))))
            width //= 2
            self.blocks.extend(
                TheirBlock(width, size, dilations, sizes["use_additional_convs"])
                for size, dilations in zip(sizes["resblock_kernel_sizes"], sizes["resblock_dilations"], strict=True))
        self.output_conv = nn.Sequential(nn.LeakyReLU(), weight_norm(nn.Conv1d(width, 1, 7, padding=3)), nn.Tanh())
        self.parallel = len(sizes["resblock_kernel_sizes"])

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_conv(x)
        for index, up in enumerate(self.upsamples):
            x = up(x)
            x = sum(self.blocks[index * self.parallel + j](x) for j in range(self.parallel)) / self.parallel
        return self.output_conv(x)


class Normalised(nn.Module):
    """What ParallelWaveGAN does with a natural log-mel: to log10, then by its statistics, then the generator."""

    def __init__(self, generator: nn.Module, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.generator = generator
        self.mean, self.scale = torch.from_numpy(mean)[:, None], torch.from_numpy(scale)[:, None]

    def forward(self, mel: Tensor) -> Tensor:
        return self.generator(((mel.double() / math.log(10) - self.mean) / self.scale).float())


def parallel_wavegan(folder: Path, **sizes: Any) -> tuple[Normalised, Path, Path, Path]:
    config = PWG | {"generator_params": PWG["generator_params"] | sizes}
    torch.manual_seed(0)
    generator = TheirGenerator(config["generator_params"]).eval()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.5)
    draw = np.random.default_rng(2)
    mean, scale = draw.normal(-2.5, 0.5, 80), draw.uniform(0.4, 0.8, 80)
    torch.save({"model": {"generator": generator.state_dict(), "discriminator": {}}, "optimizer": {}, "scheduler": {},
                "steps": 400000, "epochs": 3}, folder / "checkpoint-400000steps.pkl")
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    np.save(folder / "stats.npy", np.stack([mean, scale]).astype(np.float32))
    mean, scale = np.load(folder / "stats.npy").astype(np.float64)
    return (Normalised(generator, mean, scale), folder / "checkpoint-400000steps.pkl", folder / "config.yml",
            folder / "stats.npy")


@pytest.mark.parametrize("additional", [True, False])
def test_parallel_wavegans_generator_and_ours_agree_up_to_the_edges(tmp_path: Path, additional: bool) -> None:
    theirs, *files = parallel_wavegan(tmp_path, use_additional_convs=additional)
    save_vocoder(tmp_path / "koe", import_parallel_wavegan(*files))
    model = read_vocoder(tmp_path / "koe")
    assert distance(theirs, model.generator, speech()) < 1e-5
    assert distance(theirs, model.generator, speech(frames=2)) < 1e-5  # nothing but edges
    assert (model.mel.floor, model.mel.fmax, model.mel.win_length, model.steps) == (1e-10, 7600, 1200, 400000)


def test_its_normalisation_is_folded_on_export_all_but_the_edges(tmp_path: Path) -> None:
    theirs, *files = parallel_wavegan(tmp_path)
    model = import_parallel_wavegan(*files)
    again = import_hifigan(*export_hifigan(model, tmp_path / "out")[:2])
    for text in ("normalisation was folded", "at 1e-05; this model was trained on mels clipped at 1e-10"):
        assert any(text in caveat for caveat in caveats(model)), text
    mel, edge = speech(frames=60), again.generator.context_frames() * 300
    with torch.no_grad():
        expected, found = theirs(mel.transpose(1, 2)).squeeze(1), again.generator(mel)
    assert torch.allclose(expected[:, edge:-edge], found[:, edge:-edge], atol=1e-5)
    assert not torch.allclose(expected[:, :edge], found[:, :edge], atol=1e-3)


@pytest.mark.parametrize("changes, message", [
    ({"generator_type": "MelGANGenerator"}, "generator_type is MelGANGenerator; HiFiGANGenerator can be"),
    ({"window": "hamming"}, "window: hamming"), ({"sampling_rate_for_feats": 16000}, "sampling_rate_for_feats"),
    ({"generator_params": PWG["generator_params"] | {"kernel_size": 5, "use_causal_conv": True}},
     r"kernel_size: 5, only 7.*use_causal_conv: True"),
    ({"num_mels": 64}, "generator_params.in_channels: 80, only 64"),
])
def test_other_models_of_parallel_wavegan_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    _, checkpoint, config, statistics = parallel_wavegan(tmp_path)
    config.write_text(yaml.safe_dump(PWG | changes))
    with pytest.raises(StoreError, match=re.compile(message, re.DOTALL)):
        import_parallel_wavegan(checkpoint, config, statistics)


def test_statistics_must_be_of_these_bands(tmp_path: Path) -> None:
    _, checkpoint, config, statistics = parallel_wavegan(tmp_path)
    np.save(statistics, np.ones((2, 40)))
    with pytest.raises(StoreError, match=r"stats.npy: expected mean and scale of 80 bands, shape \(2, 80\).*\(2, 40\)"):
        import_parallel_wavegan(checkpoint, config, statistics)


def test_hdf5_statistics_need_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, checkpoint, config, statistics = parallel_wavegan(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(KoeError, match=r"stats.h5: reading HDF5 takes h5py.*numpy.save"):
        import_parallel_wavegan(checkpoint, config, tmp_path / "stats.h5")

    class File(dict[str, np.ndarray]):
        def __init__(self, path: Path, mode: str) -> None:
            super().__init__(zip(("mean", "scale"), np.load(statistics), strict=True))

        def __enter__(self) -> "File":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    (tmp_path / "stats.h5").touch()
    fake = ModuleType("h5py")
    fake.File = File  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "h5py", fake)
    ours, expected = (import_parallel_wavegan(checkpoint, config, path) for path in (tmp_path / "stats.h5", statistics))
    assert torch.equal(ours.generator.mel_mean, expected.generator.mel_mean)


# The command line ----------------------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(koe.cli.app, [str(argument) for argument in arguments])


@pytest.fixture()
def imported(tmp_path: Path) -> Path:
    """A small vocoder's folder, made by the command."""
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    result = run("vocoder", "import", generator, config, tmp_path / "koe")
    assert result.exit_code == 0 and "2500000 steps" in result.output, result.output
    return tmp_path / "koe"


def test_koe_vocode_speaks_a_mel(imported: Path, tmp_path: Path) -> None:
    from koe.audio.files import read_audio

    mel = speech()[0].numpy()
    np.save(tmp_path / "mel.npy", mel)
    result = run("vocode", tmp_path / "mel.npy", tmp_path / "out.wav", "--vocoder", imported, "--device", "cpu")
    assert result.exit_code == 0, result.output
    wave, rate = read_audio(tmp_path / "out.wav")
    assert rate == 22050 and wave.shape == (len(mel) * 256,)
    with torch.no_grad():
        expected = read_vocoder(imported).generator(torch.from_numpy(mel)[None])[0].numpy()
    error = np.abs(wave - expected).max()  # to the last sample
    assert error < 0.5 / 32768 + 1e-6  # half a step of 16 bits, and rounding in float32


@pytest.mark.parametrize("array, message", [
    (np.zeros((80, 30), np.float32), r"mel.npy: shape \(80, 30\); .* \(frames, 80\); it is transposed"),
    (np.zeros((30, 64), np.float32), r"mel.npy: shape \(30, 64\); this vocoder takes \(frames, 80\)$"),
    (np.zeros((1, 30, 80), np.float32), r"shape \(1, 30, 80\)"), (np.zeros((0, 80), np.float32), r"shape \(0, 80\)"),
    (np.zeros((30, 80), np.int32), "floating-point"), (np.full((30, 80), np.nan, np.float32), "NaN or infinity"),
])
def test_koe_vocode_says_what_is_wrong_with_an_array(
    imported: Path, tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "mel.npy", array)
    result = run("vocode", tmp_path / "mel.npy", tmp_path / "out.wav", "--vocoder", imported)
    assert isinstance(result.exception, KoeError) and re.search(message, str(result.exception)), result.exception
    assert not (tmp_path / "out.wav").exists()


def test_koe_vocode_says_what_is_wrong_with_f0(imported: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", speech()[0].numpy())
    for f0, message in ((np.full(7, 100.0), r"\(23,\) is expected"), (np.full(23, -4.0), "logarithm")):
        np.save(tmp_path / "f0.npy", f0)
        result = run("vocode", tmp_path / "mel.npy", tmp_path / "out.wav", "--vocoder", imported, "--f0",
                     tmp_path / "f0.npy")
        assert isinstance(result.exception, KoeError) and re.search(message, str(result.exception))


def test_koe_vocode_asks_for_f0_where_the_vocoder_needs_it(values: dict[str, Any], tmp_path: Path) -> None:
    values["vocoder"]["model"] = "harmonic_noise"
    values["vocoder"]["harmonic_noise"] |= {"layers": 1, "hidden": 8, "feed_forward": 16}
    params = check_params(values)
    network = make_network(params.vocoder, params.mel)
    save_vocoder(tmp_path / "koe", VocoderModel(network, None, params.vocoder, params.mel, 0))
    np.save(tmp_path / "mel.npy", speech()[0].numpy())
    np.save(tmp_path / "f0.npy", np.full(23, 120.0))
    command = ("vocode", tmp_path / "mel.npy", tmp_path / "out.wav", "--vocoder", tmp_path / "koe")
    assert "give --f0" in str(run(*command).exception)
    result = run(*command, "--f0", tmp_path / "f0.npy")
    assert result.exit_code == 0 and (tmp_path / "out.wav").exists(), result.output


def test_koe_vocoder_export_and_import_give_it_back(imported: Path, tmp_path: Path) -> None:
    result = run("vocoder", "export", imported, tmp_path / "public")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "public").iterdir()) == ["config.json", "g_02500000"]
    public = tmp_path / "public"
    run("vocoder", "import", public / "g_02500000", public / "config.json", tmp_path / "again")
    first, second = read_vocoder(imported), read_vocoder(tmp_path / "again")
    assert first.params == second.params and first.mel == second.mel
    theirs = second.generator.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in first.generator.state_dict().items())


@pytest.mark.parametrize("kinds, files, note", [
    ({}, 2, "no do_XXXXXXXX was written"), ({"periods": [2, 3]}, 2, "no do_XXXXXXXX was written"),
    ({"periods": [2, 3], "scales": 1}, 3, "of spectra were left out"),
    ({"periods": [2, 3], "scales": 1, "spectra": []}, 3, "have fixed sizes"),
], ids=["default", "periods", "all", "public"])
def test_whatever_discriminators_a_hifigan_was_trained_with_it_is_exported(
    imported: Path, values: dict[str, Any], tmp_path: Path, kinds: dict[str, Any], files: int, note: str
) -> None:
    model = read_vocoder(imported)
    discriminators = DiscriminatorParams.model_validate(values["vocoder"]["discriminators"] | kinds)
    params = model.params.model_copy(update={"discriminators": discriminators})
    trained = replace(model, params=params, discriminators=Discriminators(discriminators))
    paths = export_hifigan(trained, tmp_path / "out")
    assert len(paths) == files == len(list((tmp_path / "out").iterdir()))
    assert all(path.is_file() for path in paths) and any(note in caveat for caveat in caveats(trained))
    assert import_hifigan(*paths[:2]).mel == model.mel
    if files == 3:
        checkpoint = torch.load(paths[2], weights_only=True)
        assert checkpoint["mpd"] and checkpoint["msd"]


def test_an_export_that_fails_leaves_nothing(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_vocoder(imported)
    export_hifigan(model, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(KoeError, match="g_02500000 exists already"):
        export_hifigan(model, tmp_path / "out")

    def fail(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr("koe.vocoder.published.write_json", fail)
    for folder in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(OSError, match="gone"):
            export_hifigan(model, folder, overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_commands_about_vocoders_destroy_neither_inputs_nor_what_exists(imported: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.wav", speech()[0].numpy())  # an array under the name of a recording
    (tmp_path / "mel.wav.npy").rename(tmp_path / "mel.wav")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for *command, message in (
        ("vocode", tmp_path / "mel.wav", tmp_path / "mel.wav", "--vocoder", imported, "--overwrite", "is an input"),
        ("vocode", tmp_path / "mel.wav", tmp_path / "out.mp3", "--vocoder", imported, "as .wav or .flac"),
        ("pack", imported, imported, "--overwrite", "is an input"),
        ("vocoder", "import", tmp_path / "g_02500000", tmp_path / "config.json", imported, "exists already"),
        ("export-onnx", tmp_path, "--models", tmp_path, "--vocoder", imported, "model.json|does not exist"),
    ):
        result = run(*command)
        assert isinstance(result.exception, KoeError) and re.search(message, str(result.exception)), result.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_koe_vocoder_import_tells_the_two_kinds_apart_by_the_config(tmp_path: Path) -> None:
    _, checkpoint, config, statistics = parallel_wavegan(tmp_path)
    result = run("vocoder", "import", checkpoint, config, tmp_path / "koe")
    assert isinstance(result.exception, KoeError) and "--statistics" in str(result.exception)
    assert run("vocoder", "import", checkpoint, config, tmp_path / "koe", "--statistics", statistics).exit_code == 0
    assert read_vocoder(tmp_path / "koe").provenance["imported"]["format"] == "parallel_wavegan"
    generator, config = written(tmp_path, SMALL, official(SMALL).state_dict())
    result = run("vocoder", "import", generator, config, tmp_path / "koe", "--statistics", statistics)
    assert "is for ParallelWaveGAN" in str(result.exception)


def test_another_kind_of_model_cannot_be_exported(imported: Path, tmp_path: Path) -> None:
    class Other(nn.Module):
        takes_f0 = True

    model = read_vocoder(imported)
    other = VocoderModel(Other(), None, model.params, model.mel, 0)  # type: ignore[arg-type]
    with pytest.raises(KoeError, match="the public implementation has hifigan alone"):
        export_hifigan(other, tmp_path / "out")


def test_koe_pack_halves_the_weights(imported: Path, tmp_path: Path) -> None:
    run("pack", imported, tmp_path / "small")
    size, before = ((folder / "generator.safetensors").stat().st_size for folder in (tmp_path / "small", imported))
    assert size < 0.6 * before
    given, packed = (read_vocoder(folder).generator.state_dict() for folder in (imported, tmp_path / "small"))
    assert all(torch.allclose(given[name], packed[name], atol=1e-3, rtol=1e-3) for name in given)
