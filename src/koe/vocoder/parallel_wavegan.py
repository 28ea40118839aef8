"""HiFi-GAN checkpoints of ParallelWaveGAN (github.com/kan-bayashi/ParallelWaveGAN): import.

The same network under other names, and another mel: log10, floored at 1e-10, normalised by mean and scale of the
training data, its frames centred on the first sample of their hop, where Koe's are on the middle one: speech from
Koe's mels is half a hop early, until the model is trained further.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from koe.arrays import read_array
from koe.audio.params import MelParams
from koe.errors import KoeError, StoreError
from koe.files import kind_of, reason, require_regular
from koe.vocoder.hifigan import LEAKY_SLOPE, Generator
from koe.vocoder.model_file import VocoderModel
from koe.vocoder.params import HiFiGANParams, VocoderParams
from koe.vocoder.published import (
    PUBLISHED,
    explained,
    half,
    part_of,
    provenance,
    read_checkpoint,
    require_agreement,
    steps_of,
    with_weights,
)
from koe.yaml_files import read_yaml

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
    network = with_weights(lambda: Generator(sizes, mel.n_mels), _published(state, sizes), checkpoint, config)
    _normalise(network, *read_statistics(statistics, mel.n_mels))
    return VocoderModel(network, None, params, mel, steps_of(saved, checkpoint),
                        provenance("parallel_wavegan", checkpoint, _plain(values)))


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
    rows = read_array(path, np.float64) if path.suffix == ".npy" else np.stack(_datasets(path, n_mels))
    if rows.shape != (2, n_mels) or not np.isfinite(rows).all() or not (rows[1] > 0).all():
        raise StoreError(f"{path}: expected mean and scale of {n_mels} bands, shape (2, {n_mels}), scales above 0; it "
                         f"has shape {rows.shape}")
    mean, scale = rows
    return mean, scale


def _datasets(path: Path, n_mels: int) -> list[np.ndarray]:
    try:
        import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise KoeError(f"{path}: reading HDF5 takes h5py, which is not installed: pip install h5py; or convert the "
                       "file elsewhere: numpy.save('stats.npy', [file['mean'][:], file['scale'][:]])") from None
    expected = f"expected ParallelWaveGAN's stats.npy, or stats.h5 with mean and scale of {n_mels} bands"
    require_regular(path)
    try:
        with h5py.File(path, "r") as file:
            datasets = [file[name] for name in ("mean", "scale")]
            if any(getattr(dataset, "size", None) != n_mels for dataset in datasets):
                raise ValueError("mean or scale is of another size")
            return [np.asarray(dataset, np.float64).reshape(-1) for dataset in datasets]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        raise StoreError(f"{path} cannot be read as statistics ({reason(error)}); {expected}") from error


def _published(state: Mapping[str, Tensor], sizes: HiFiGANParams) -> dict[str, Tensor]:
    """The tensors under the names of the public HiFi-GAN."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        renamed[name.replace(".convs1.", ".convs.") if sizes.resblock == "2" else name] = tensor
    return renamed


def _read_config(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, dict) or values.get("generator_type") != "HiFiGANGenerator":
        kind = values.get("generator_type") if isinstance(values, dict) else None
        raise StoreError(f"{path}: generator_type is {kind}; HiFiGANGenerator can be imported")
    sizes = values.get("generator_params", {})
    if not isinstance(sizes, dict):
        raise StoreError(f"{path}: generator_params is {kind_of(sizes)}; expected names with values")
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


def _plain(values: dict[str, Any]) -> Any:
    """A config with everything that JSON cannot hold, such as dates, as text."""
    return json.loads(json.dumps(values, default=str), parse_constant=str)


def _mel_of(config: Mapping[str, Any]) -> MelParams:
    rate, window = config["sampling_rate"], config["win_length"]
    return MelParams.model_validate({
        "sample_rate": rate, "n_fft": config["fft_size"], "hop_length": config["hop_size"],
        "win_length": config["fft_size"] if window is None else window, "n_mels": config["num_mels"],
        "fmin": config["fmin"] or 0.0, "fmax": half(rate) if config["fmax"] is None else config["fmax"],
        "floor": _FLOOR,
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
