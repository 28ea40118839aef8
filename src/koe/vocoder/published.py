"""HiFi-GAN checkpoints of the public implementation (github.com/jik876/hifi-gan): import and export.

Files there: `g_XXXXXXXX` holds the generator, `do_XXXXXXXX` the discriminators and optimizers, `config.json` sizes and
mel settings; XXXXXXXX are steps. Tensors keep their names and values; weight norm may be folded or not. What that code
fixes and its config.json does not say (the mel's floor, losses, widths of the discriminators) is in `PUBLISHED`.
"""

import hashlib
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from koe.audio.params import MelParams
from koe.destinations import filling
from koe.errors import KoeError, StoreError
from koe.files import read_json, write_json
from koe.params.section import all_contradictions
from koe.training.transfer import Transfer
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import HiFiGANParams, VocoderParams

_FLOOR = 1e-5  # at which the public code clips mel magnitudes
_CONFIG = "config.json"
_MEAN = "mel_mean"  # the one tensor that published generators do not have

# V1 as published: the section vocoder of experiments/hifigan_v1.yaml.
PUBLISHED: dict[str, Any] = {
    "model": "hifigan",
    "hifigan": {
        "upsample_rates": [8, 8, 2, 2], "upsample_kernels": [16, 16, 4, 4], "upsample_channels": 512, "resblock": "1",
        "resblock_kernels": [3, 7, 11], "resblock_dilations": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    },
    "discriminators": {
        "periods": [2, 3, 5, 7, 11], "period_channels": 32, "scales": 3, "scale_channels": 128, "spectra": [],
        "spectrum_channels": 16,
    },
    "loss": {"weights": {"mel": 45.0, "stft": 0.0, "feature_matching": 2.0, "adversarial": 1.0},
             "stft_sizes": [2048, 1024, 512, 256, 128]},
    "training": {
        "steps": 2500000, "spectral_steps": 0, "batch_size": 16, "segment_size": 8192, "true_mels": 0.0,
        "blur": {"share": 0.0, "frames": 2.0, "bands": 1.5},
        "optimizer": {"name": "adamw", "betas": [0.8, 0.99], "epsilon": 1e-8, "weight_decay": 0.01},
        "schedule": {"name": "exponential_per_epoch", "learning_rate": 2e-4, "warmup_steps": 0,
                     "final_learning_rate": 0.0, "decay": 0.999, "anneal_steps": [], "anneal_rate": 1.0},
        "gradient_clip": None, "r1": {"weight": 0.0, "every": 16}, "ema": None, "precision": "float32",
        "log_every": 100, "validate_every": 1000,
        "validation": {"utterances": 8, "mos": True, "pesq": True, "players": 2},
        "checkpoint_every": 5000, "keep_every": None, "keep_best": False,
    },
    "init": {"from": None, "generator": "keep", "discriminators": "keep", "optimizer": "reset", "lr_scale": 1.0,
             "strict": True},
}


def import_hifigan(generator: Path, config: Path, discriminators: Path | None = None) -> VocoderModel:
    """Reads `g_XXXXXXXX` with its config.json, and `do_XXXXXXXX` if given.

    Raises StoreError naming the file if one cannot be read, and listing every tensor that is missing, unknown or of
    another shape than the config gives.
    """
    values = read_config(config)
    with explained(config):
        params, mel = _params_of(values), _mel_of(values)
    sizes = params.part(HiFiGANParams)
    require_agreement(sizes, mel, config)
    network = Generator(sizes, mel.n_mels)
    take_weights(network, part_of(read_checkpoint(generator), "generator", generator), generator, config)
    number = re.fullmatch(r"g_(\d+)(\.\w+)?", generator.name)
    steps, discriminator_network = int(number[1]) if number else 0, None
    if discriminators is not None:
        checkpoint = read_checkpoint(discriminators)
        steps = int(checkpoint.get("steps", steps))
        discriminator_network = Discriminators(params.discriminators)
        for name, module in (("mpd", discriminator_network.mpd), ("msd", discriminator_network.msd)):
            take_weights(module, part_of(checkpoint, name, discriminators), discriminators, config)
    return VocoderModel(network, discriminator_network, params, mel, steps, provenance("hifi-gan", generator, values))


def export_hifigan(model: VocoderModel, folder: Path, overwrite: bool = False) -> list[Path]:
    """Writes `g_XXXXXXXX`, config.json and, if it can be, `do_XXXXXXXX`, all or none; returns their paths.

    `do_XXXXXXXX` is for a model whose discriminators are those of the public code: of periods and of scales. Its
    optimizers are new ones. `caveats` lists what is left out, and what the public code would do otherwise. Raises
    KoeError before anything is written if the model is not a HiFi-GAN, or if one of the files may not be written
    (koe.destinations).
    """
    if not isinstance(model.generator, Generator):
        raise KoeError(f"this vocoder is of model {model.params.model}; the public implementation has hifigan alone "
                       "(koe export-onnx exports vocoders of every model)")
    files: dict[str, dict[str, Any]] = {
        f"g_{model.steps:08d}": {"generator": published_state(model.generator)},
    }
    if (discriminators := _public_discriminators(model)) is not None:
        files[f"do_{model.steps:08d}"] = {
            "mpd": published_names(discriminators.mpd.state_dict()),
            "msd": published_names(discriminators.msd.state_dict()),
            "optim_g": _new_optimizer(model.generator.parameters(), model.params),
            "optim_d": _new_optimizer(
                [*discriminators.msd.parameters(), *discriminators.mpd.parameters()], model.params),
            "steps": model.steps, "epoch": 0,
        }
    generator, *further = files
    with filling(folder, [f"g_{model.steps:08d}", f"do_{model.steps:08d}", _CONFIG], overwrite=overwrite) as temporary:
        for name, value in files.items():
            torch.save(value, temporary / name)
        write_json(temporary / _CONFIG, _config_of(model))
    return [folder / name for name in (generator, _CONFIG, *further)]


def _public_discriminators(model: VocoderModel) -> Discriminators | None:
    """The model's discriminators, if there are both of the kinds that the public format holds."""
    params = model.params.discriminators
    return model.discriminators if params.periods and params.scales else None


def caveats(model: VocoderModel) -> list[str]:
    """What the public code, unchanged, would do otherwise with an exported model; one sentence each."""
    lines, sizes = [], model.params.part(HiFiGANParams)
    if any((kernel - rate) % 2 for rate, kernel in zip(sizes.upsample_rates, sizes.upsample_kernels, strict=True)):
        lines.append("an upsampling kernel and its rate differ in parity: the public code makes too many samples; use "
                     "a fork that pads odd rates by output_padding")
    if model.mel.n_mels != 80:
        lines.append(f"the public code's Generator takes 80 bands whatever config.json says; here they are "
                     f"{model.mel.n_mels}")
    if isinstance(model.generator, Generator) and model.generator.mel_mean.any():
        lines.append("the mel's normalisation was folded into the first convolution: samples near both ends differ")
    if model.mel.floor != _FLOOR:
        lines.append(f"the public code clips magnitudes at {_FLOOR:g}; this model was trained on mels clipped at "
                     f"{model.mel.floor:g}")
    fixed, own = VocoderParams.model_validate(PUBLISHED).discriminators, model.params.discriminators
    if model.discriminators is not None and _public_discriminators(model) is None:
        lines.append("no do_XXXXXXXX was written, which holds discriminators of periods and of scales: this model does "
                     "not have both; the generator is complete, and training goes on with new discriminators")
    elif model.discriminators is not None and own.spectra:
        lines.append("the discriminators of spectra were left out, which the public code does not have")
    unchangeable = {"periods", "period_channels", "scales", "scale_channels"}
    if _public_discriminators(model) is not None and (
            own.model_dump(include=unchangeable) != fixed.model_dump(include=unchangeable)):
        lines.append("the public code's discriminators have fixed sizes, and these differ from them")
    return lines


def published_state(generator: Generator) -> dict[str, Tensor]:
    """The generator's tensors as the public implementation names them, weight norm not folded.

    The mean that is subtracted from the mel goes into the first bias: exact except where the convolution sees beyond
    the edges.
    """
    template = published_names(Generator(generator.params, generator.n_mels).state_dict())
    state = _weight_normed(published_names(generator.state_dict()), template)
    mean, weight = state.pop(_MEAN).double(), generator.conv_pre.weight.detach().double()
    state["conv_pre.bias"] = (state["conv_pre.bias"].double() - (weight.sum(dim=2) @ mean)).float()
    return state


def take_weights(module: nn.Module, state: Mapping[str, Tensor], path: Path, config: Path) -> None:
    """Gives a module the tensors of a public checkpoint, under published names, weight norm folded or not.

    Raises StoreError listing what differs.
    """
    expected = published_names(module.state_dict())
    expected.pop(_MEAN, None)
    weights = _weight_normed({name: tensor.float() for name, tensor in state.items()}, expected)
    transfer = Transfer.between(weights, expected)
    lines = [f"{name}: {tuple(theirs)} in the file, {tuple(ours)} by the config"
             for name, (theirs, ours) in sorted(transfer.differing.items())]
    lines += [f"{name}: missing" for name in sorted(transfer.missing)]
    lines += [f"{name}: unknown" for name in sorted(transfer.unused)]
    if lines:
        shown = lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])
        raise StoreError(f"{path} does not fit {config}: {len(lines)} tensors differ; is it the config of this "
                         "model?\n  " + "\n  ".join(shown))
    module.load_state_dict(internal_names(weights))


def _weight_normed(state: Mapping[str, Tensor], template: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with each folded weight split into direction and length, if `template` has it split."""
    weights = {}
    for name, tensor in published_names(dict(state)).items():
        if name.endswith(".weight") and f"{name}_g" in template and tensor.dim() > 1:
            weights[f"{name}_g"] = torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.dim())), keepdim=True)
            name += "_v"
        weights[name] = tensor.detach().cpu().contiguous()
    return weights


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A PyTorch file of tensors, numbers and texts; no code in it is run. Raises StoreError naming it."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise StoreError(f"{path} cannot be read: not a PyTorch checkpoint, damaged, or it holds more than tensors "
                         f"({str(error).partition(chr(10))[0]})") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds a {type(value).__name__} and no named parts; expected a run's checkpoint")
    return value


def part_of(checkpoint: Mapping[str, Any], name: str, path: Path) -> dict[str, Tensor]:
    """The state dict `name` of a checkpoint. Raises StoreError listing its parts if it has none of that name."""
    state = checkpoint.get(name)
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise StoreError(f"{path} has no {name!r}, but {', '.join(map(str, checkpoint)) or 'nothing'}; expected "
                         "g_XXXXXXXX with the generator, do_XXXXXXXX with the discriminators, or ParallelWaveGAN's "
                         "checkpoint with its config.yml")
    return dict(state)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns errors about missing or invalid settings into StoreErrors that name the file."""
    try:
        yield
    except KeyError as error:
        raise StoreError(f"{path} has no {error}; is it the config of a HiFi-GAN?") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())
        raise StoreError(f"{path}: {wrong}") from error


def read_config(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except ValueError as error:
        raise StoreError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise StoreError(f"{path} is not a config of HiFi-GAN: expected names with values")
    return values


def require_agreement(sizes: HiFiGANParams, mel_params: MelParams, config: Path) -> None:
    """Raises StoreError if a model of these sizes cannot take these mels."""
    of_sizes = (*all_contradictions(sizes, "vocoder.hifigan"), *sizes.mel_contradictions(mel_params, "vocoder.hifigan"))
    if wrong := [*all_contradictions(mel_params, "mel"), *of_sizes]:
        raise StoreError(f"{config}, in Koe's names:\n  " + "\n  ".join(wrong))


def provenance(format: str, path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of an imported model, for its card."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"imported": {"format": format, "file": path.name, "sha256": digest, "config": dict(config)}}


def _mel_of(config: Mapping[str, Any]) -> MelParams:
    fmax = config["fmax"]
    return MelParams.model_validate({
        "sample_rate": config["sampling_rate"], "n_fft": config["n_fft"], "hop_length": config["hop_size"],
        "win_length": config["win_size"], "n_mels": config["num_mels"], "fmin": config["fmin"],
        "fmax": config["sampling_rate"] / 2 if fmax is None else fmax, "floor": _FLOOR,
    })


def _params_of(config: Mapping[str, Any]) -> VocoderParams:
    """The published parameters with those of the config, which in forks has the periods too."""
    training, discriminators = PUBLISHED["training"], PUBLISHED["discriminators"]
    schedule, optimizer = training["schedule"], training["optimizer"]
    betas = [config.get("adam_b1", optimizer["betas"][0]), config.get("adam_b2", optimizer["betas"][1])]
    return VocoderParams.model_validate({
        **PUBLISHED,
        "hifigan": {
            "upsample_rates": config["upsample_rates"], "upsample_kernels": config["upsample_kernel_sizes"],
            "upsample_channels": config["upsample_initial_channel"],
            "resblock": "1" if str(config["resblock"]) == "1" else "2",  # as the public code reads it
            "resblock_kernels": config["resblock_kernel_sizes"],
            "resblock_dilations": config["resblock_dilation_sizes"],
        },
        "discriminators": {
            **discriminators, "periods": config.get("discriminator_periods", discriminators["periods"])},
        "training": {
            **training,
            "batch_size": config.get("batch_size", training["batch_size"]),
            "segment_size": config.get("segment_size", training["segment_size"]),
            "optimizer": {**optimizer, "betas": betas},
            "schedule": {**schedule, "learning_rate": config.get("learning_rate", schedule["learning_rate"]),
                         "decay": config.get("lr_decay", schedule["decay"])},
        },
    })


def _config_of(model: VocoderModel) -> dict[str, Any]:
    params, mel = model.params, model.mel
    sizes, training = params.part(HiFiGANParams), params.training
    imported = model.provenance.get("imported", {}).get("config", {})
    return {
        "resblock": sizes.resblock, "num_gpus": 0, "batch_size": training.batch_size,
        "learning_rate": training.schedule.learning_rate, "adam_b1": training.optimizer.betas[0],
        "adam_b2": training.optimizer.betas[1], "lr_decay": training.schedule.decay, "seed": 1234,
        "upsample_rates": sizes.upsample_rates, "upsample_kernel_sizes": sizes.upsample_kernels,
        "upsample_initial_channel": sizes.upsample_channels, "resblock_kernel_sizes": sizes.resblock_kernels,
        "resblock_dilation_sizes": sizes.resblock_dilations, "discriminator_periods": params.discriminators.periods,
        "segment_size": training.segment_size, "num_mels": mel.n_mels, "num_freq": mel.n_fft // 2 + 1,
        "n_fft": mel.n_fft, "hop_size": mel.hop_length, "win_size": mel.win_length, "sampling_rate": mel.sample_rate,
        "fmin": mel.fmin, "fmax": mel.fmax, "fmax_for_loss": imported.get("fmax_for_loss"), "num_workers": 4,
        "dist_config": {"dist_backend": "nccl", "dist_url": "tcp://localhost:54321", "world_size": 1},
    }


def _new_optimizer(parameters: Iterable[nn.Parameter], params: VocoderParams) -> dict[str, Any]:
    """State of an AdamW before its first step, for the public code to continue from."""
    training = params.training
    rate = training.schedule.learning_rate
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=training.optimizer.betas)
    for group in optimizer.param_groups:
        group["initial_lr"] = rate  # which its scheduler needs in a run that continues
    return optimizer.state_dict()
