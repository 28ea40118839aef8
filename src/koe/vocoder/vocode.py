"""Log-mels from files to audio files: `koe vocode`."""

from pathlib import Path

import numpy as np

from koe.arrays import read_array
from koe.audio.files import require_suffix, write_audio
from koe.destinations import Guard
from koe.device import resolve_device
from koe.errors import KoeError
from koe.vocoder.model_file import read_vocoder
from koe.vocoder.synthesis import NeuralVocoder


def vocode_file(
    mel: Path, wav: Path, vocoder: Path, f0: Path | None = None, device: str = "auto", overwrite: bool = False
) -> None:
    """Synthesises the .npy file of a log-mel (frames, n_mels) with the vocoder in a folder, in float32.

    The result is to be compared with other programs: it is what the network makes of this mel alone, with no silence
    after it (`NeuralVocoder.synthesize_alone`); for a HiFi-GAN what the public generator makes, to rounding. `f0`: .npy
    of (frames,) in Hz, 0 = unvoiced, which some vocoders need. Raises KoeError naming the file if `wav` cannot be
    written there (koe.destinations), an array has another shape or kind, or F0 is needed and not given.
    """
    require_suffix(wav)
    Guard([mel, *([] if f0 is None else [f0])], overwrite).check(wav)
    model = read_vocoder(vocoder)
    array = read_mel(mel, model.mel.n_mels)
    if f0 is None and model.generator.takes_f0:
        raise KoeError(f"{vocoder} ({model.params.model}) takes mel and F0: give --f0, a .npy file of F0 in Hz, "
                       f"one for each of the {len(array)} frames, 0 where unvoiced")
    values = None if f0 is None else read_f0(f0, len(array))
    exact = NeuralVocoder(model.params.model, model.generator, model.mel, resolve_device(device), "float32")
    write_audio(wav, exact.synthesize_alone(array, values), model.mel.sample_rate)


def read_mel(path: Path, n_mels: int) -> np.ndarray:
    """A log-mel, float32 (frames, n_mels)."""
    mel = read_array(path)
    if mel.ndim != 2 or mel.shape[1] != n_mels or not len(mel):
        transposed = mel.ndim == 2 and mel.shape[0] == n_mels
        raise KoeError(f"{path}: shape {mel.shape}; this vocoder takes (frames, {n_mels})"
                       + ("; it is transposed, save its .T" if transposed else ""))
    return mel


def read_f0(path: Path, frames: int) -> np.ndarray:
    """F0 in Hz, float32 (frames,)."""
    f0 = read_array(path)
    if f0.shape != (frames,):
        raise KoeError(f"{path}: shape {f0.shape}; the mel has {frames} frames, so ({frames},) is expected")
    if (f0 < 0).any():
        raise KoeError(f"{path}: F0 in Hz is expected, 0 where unvoiced, and some values are negative: is it a "
                       "logarithm?")
    return f0
