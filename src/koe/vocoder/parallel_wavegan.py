"""HiFi-GAN checkpoints of ParallelWaveGAN (github.com/kan-bayashi/ParallelWaveGAN): import.

The same network under other names, and another mel: log10, floored at 1e-10, normalised by mean and scale of the
training data, its frames centred on the first sample of their hop, where Koe's are on the middle one: speech from
Koe's mels is half a hop early, until the model is trained further.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from koe.audio.params import MelParams
from koe.errors import KoeError, StoreError
from koe.vocoder.hifigan import LEAKY_SLOPE, Generator
from koe.vocoder.model_file import VocoderModel
from koe.vocoder.params import HiFiGANParams, VocoderParams
from koe.vocoder.published import (
    PUBLISHED,
    explained,
    part_of,
    provenance,
    read_checkpoint,
    require_agreement,
    take_weights,
)

_FLOOR = 1e-10
_LN10 = math.log(10)

_NAMES = (  # activations are numbered layers there
    (r"^input_conv\.", "conv_pre."),
    (r"^upsamples\.(\d+)\.1\.", r"ups.\1."),
    (r"^blocks\.(\d+)\.convs([12])\.(\d+)\.1\.", r"resblocks.\1.convs\2.\3."),
    (r"^output_conv\.1\.", "conv_post."),
)
_FIXED = {  # of generator_params: what Koe's generator is
    "out_channels": 1, "kernel_size": 7, "bias": True, "use_causal_conv": False, "nonlinear_activation": "LeakyReLU",
    "nonlinear_activation_params": {"negative_slope": LEAKY_SLOPE},
}


def import_parallel_wavegan(checkpoint: Path, config: Path, statistics: Path) -> VocoderModel:
    """Reads `checkpoint-*.pkl` with its config.yml and stats.h5 or stats.npy.

    The model takes natural log-mels, not normalised; it has no discriminators. Raises StoreError naming the file if one
    cannot be read or is of another kind of model, and listing every tensor that does not fit.
    """
    values = _read_config(config)
    with explained(config):
        params, mel = _params_of(values), _mel_of(values)
    sizes = params.part(HiFiGANParams)
    require_agreement(sizes, mel, config)
    saved = read_checkpoint(checkpoint)
    parts = saved.get("model")
    state = part_of(parts if isinstance(parts, Mapping) else saved, "generator", checkpoint)
    network = Generator(sizes, mel.n_mels)
    take_weights(network, _published(state, sizes), checkpoint, config)
    _normalise(network, *read_statistics(statistics, mel.n_mels))
    steps = int(saved.get("steps", 0))
    return VocoderModel(network, None, params, mel, steps, provenance("parallel_wavegan", checkpoint, values))


@torch.no_grad()
def _normalise(network: Generator, mean: np.ndarray, scale: np.ndarray) -> None:
    """Turns a network that takes (log10 mel - mean) / scale into one that takes natural log-mels, exactly, edges too.

    The scale goes into the first convolution; the mean is subtracted before it, for zeros beyond the edges stand for
    the mean.
    """
    network.mel_mean.copy_(torch.from_numpy(mean * _LN10))
    factor = torch.from_numpy(1 / (scale * _LN10))
    convolution = network.conv_pre
    convolution.weight = (convolution.weight.double() * factor[:, None]).float()  # sets both parts of the weight norm


def read_statistics(path: Path, n_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of log10 mels, float64 (n_mels,): the rows of a .npy, or datasets of a .h5.

    Raises StoreError naming the file, KoeError if a .h5 is given and h5py is not installed.
    """
    try:
        rows = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.stack(_datasets(path))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read as statistics ({error}); expected ParallelWaveGAN's stats.npy, or "
                         "stats.h5 with mean and scale") from error
    if rows.shape != (2, n_mels) or not np.isfinite(rows).all() or not (rows[1] > 0).all():
        raise StoreError(f"{path}: expected mean and scale of {n_mels} bands, shape (2, {n_mels}), scales above 0; it "
                         f"has shape {rows.shape}")
    mean, scale = rows.astype(np.float64)
    return mean, scale


def _datasets(path: Path) -> list[np.ndarray]:
    try:
        import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise KoeError(f"{path}: reading HDF5 takes h5py, which is not installed: pip install h5py; or convert the "
                       "file elsewhere: numpy.save('stats.npy', [file['mean'][:], file['scale'][:]])") from None
    with h5py.File(path, "r") as file:
        return [np.asarray(file[name]).reshape(-1) for name in ("mean", "scale")]


def _published(state: Mapping[str, Tensor], sizes: HiFiGANParams) -> dict[str, Tensor]:
    """The tensors under the names of the public HiFi-GAN."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        renamed[name.replace(".convs1.", ".convs.") if sizes.resblock == "2" else name] = tensor
    return renamed


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except yaml.YAMLError as error:
        raise StoreError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict) or values.get("generator_type") != "HiFiGANGenerator":
        kind = values.get("generator_type") if isinstance(values, dict) else None
        raise StoreError(f"{path}: generator_type is {kind}; HiFiGANGenerator can be imported")
    sizes = values.get("generator_params", {})
    expected = _FIXED | {"in_channels": values.get("num_mels")}
    wrong = [f"generator_params.{name}: {sizes[name]}, only {value} can be imported"
             for name, value in expected.items() if sizes.get(name, value) != value]
    if values.get("window", "hann") != "hann":
        wrong.append(f"window: {values['window']}, only hann can be imported")
    if "sampling_rate_for_feats" in values:
        wrong.append("sampling_rate_for_feats: mels and waveforms of two rates cannot be imported")
    if wrong:
        raise StoreError(f"{path}:\n  " + "\n  ".join(wrong))
    return values


def _mel_of(config: Mapping[str, Any]) -> MelParams:
    rate, window = config["sampling_rate"], config["win_length"]
    return MelParams.model_validate({
        "sample_rate": rate, "n_fft": config["fft_size"], "hop_length": config["hop_size"],
        "win_length": config["fft_size"] if window is None else window, "n_mels": config["num_mels"],
        "fmin": config["fmin"] or 0.0, "fmax": rate / 2 if config["fmax"] is None else config["fmax"], "floor": _FLOOR,
    })


def _params_of(config: Mapping[str, Any]) -> VocoderParams:
    sizes = config["generator_params"]
    kernels = sizes["upsample_kernel_sizes" if "upsample_kernel_sizes" in sizes else "upsample_kernal_sizes"]
    training = PUBLISHED["training"]
    return VocoderParams.model_validate({
        **PUBLISHED,
        "hifigan": {
            "upsample_rates": sizes["upsample_scales"], "upsample_kernels": kernels,
            "upsample_channels": sizes["channels"], "resblock": "1" if sizes.get("use_additional_convs", True) else "2",
            "resblock_kernels": sizes["resblock_kernel_sizes"], "resblock_dilations": sizes["resblock_dilations"],
        },
        "training": {
            **training, "batch_size": config.get("batch_size", training["batch_size"]),
            "segment_size": config.get("batch_max_steps", training["segment_size"]),
        },
    })
