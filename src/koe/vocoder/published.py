"""HiFi-GAN checkpoints of the public implementation (github.com/jik876/hifi-gan): import and export.

Files there: `g_XXXXXXXX` holds the generator, `do_XXXXXXXX` the discriminators and optimizers, `config.json` sizes and
mel settings; XXXXXXXX are steps. Tensors keep their names and values; weight norm may be folded or not. What that code
fixes and its config.json does not say (the mel's floor, losses, widths of the discriminators) is in `PUBLISHED`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from koe.audio.params import MelParams
from koe.destinations import filling
from koe.errors import KoeError, StoreError
from koe.files import read_json, reason, require_regular, shortened, understood, write_json
from koe.params.section import all_contradictions
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import HiFiGANParams, VocoderParams
from koe.weights import Network, built, require_finite, require_fit

_FLOOR = 1e-5  # at which the public code clips mel magnitudes
_CONFIG = "config.json"
_MEAN = "mel_mean"  # the one tensor that published generators do not have
_PARALLEL = "module."  # before all names in checkpoints of nn.DataParallel

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
    state = part_of(read_checkpoint(generator), "generator", generator)
    network = with_weights(lambda: Generator(sizes, mel.n_mels), state, generator, config)
    number = re.fullmatch(r"g_(\d+)(\.\w+)?", generator.name)
    steps, discriminator_network = int(number[1]) if number else 0, None
    if discriminators is not None:
        checkpoint = read_checkpoint(discriminators)
        steps = steps_of(checkpoint, discriminators, steps)
        both = {f"{name}.{tensor}": value for name in ("mpd", "msd")
                for tensor, value in part_of(checkpoint, name, discriminators).items()}
        discriminator_network = with_weights(
            lambda: Discriminators(params.discriminators), both, discriminators, config)
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


def with_weights(make: Callable[[], Network], state: Mapping[str, Tensor], path: Path, config: Path) -> Network:
    """The network that `make` builds by a config, with the tensors of a public checkpoint under published names, weight
    norm folded or not.

    Raises StoreError listing what differs, before much of the config's sizes is built.
    """
    network = built(make, state, str(config))
    expected = published_names(network.state_dict())
    expected.pop(_MEAN, None)
    weights = _weight_normed({name: tensor.float() for name, tensor in state.items()}, expected)
    require_fit(weights, expected, path, str(config))
    network.load_state_dict(internal_names(weights))
    return network


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
    require_regular(path)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes lead its reader to: IndexError, struct.error, MemoryError …
        raise StoreError(f"{path} cannot be read: not a PyTorch checkpoint, damaged, or it holds more than tensors "
                         f"({reason(error)})") from error
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise StoreError(f"{path} holds a {type(value).__name__} and no named parts; expected a run's checkpoint")
    return value


def part_of(checkpoint: Mapping[str, Any], name: str, path: Path) -> dict[str, Tensor]:
    """The state dict `name` of a checkpoint, or the whole file where it is a generator's state dict by itself.

    `module.` before all names, as data-parallel training leaves it, is removed. Raises StoreError listing the parts if
    there is none of that name, and naming tensors that are no plain, finite numbers.
    """
    state = checkpoint.get(name)
    if name == "generator" and _is_state(checkpoint):
        state = checkpoint
    if not _is_state(state):
        raise StoreError(f"{path} has no {name!r}, but {shortened(checkpoint) or 'nothing'}; expected g_XXXXXXXX with "
                         "the generator, do_XXXXXXXX with the discriminators, or ParallelWaveGAN's checkpoint with its "
                         "config.yml")
    if all(tensor.startswith(_PARALLEL) for tensor in state):
        state = {tensor.removeprefix(_PARALLEL): value for tensor, value in state.items()}
    strange = [f"{tensor} ({value.dtype})" for tensor, value in state.items()
               if value.layout != torch.strided or value.is_complex() or value.is_quantized]
    if strange:
        raise StoreError(f"{path}: {shortened(strange)}: expected tensors of plain numbers")
    if sum(value.nbytes for value in state.values()) > 4 * path.stat().st_size:  # views can repeat what is stored
        raise StoreError(f"{path}: its tensors are much larger than the file; it is damaged")
    require_finite(state, path, "take another checkpoint of that training run")
    return dict(state)


def _is_state(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(value, Mapping) and bool(value) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())


def steps_of(checkpoint: Mapping[str, Any], path: Path, otherwise: int = 0) -> int:
    """The steps that a checkpoint was trained. Raises StoreError if they are no number."""
    steps = checkpoint.get("steps", otherwise)
    if type(steps) is not int or steps < 0:
        raise StoreError(f"{path}: steps is {steps!s:.60}; expected a whole number")
    return steps


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """A context for the settings of a config: errors become StoreErrors that name the file and the setting."""
    with understood(path, "is it the config of a HiFi-GAN?"):
        yield


def read_config(path: Path) -> dict[str, Any]:
    return read_json(path, "expected config.json of a HiFi-GAN")


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


def half(rate: Any) -> Any:
    """Half of a sampling rate; what is no number stays, for the parameters to refuse by name."""
    return rate / 2 if isinstance(rate, int) else rate


def _mel_of(config: Mapping[str, Any]) -> MelParams:
    fmax = config["fmax"]
    return MelParams.model_validate({
        "sample_rate": config["sampling_rate"], "n_fft": config["n_fft"], "hop_length": config["hop_size"],
        "win_length": config["win_size"], "n_mels": config["num_mels"], "fmin": config["fmin"],
        "fmax": half(config["sampling_rate"]) if fmax is None else fmax, "floor": _FLOOR,
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
