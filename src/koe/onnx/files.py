"""Layout of the folder of exported networks, and names of their inputs and outputs.

`acoustic/` holds `encoder.onnx` and `decoder.onnx`, the parts before and after the length regulator, and the card of
the model that was exported (koe.tasks.conversion.model_file). `vocoder/` holds `network.onnx` and `vocoder.json`: the
vocoder's parameters and mel contract, and how many frames of context its network needs. `koe.onnx.export` writes
them, `koe.onnx.runtime` reads them.
"""

import importlib
from typing import Any

from koe.errors import KoeError
from koe.tasks.conversion.model_file import CARD_FILES

ACOUSTIC, VOCODER = "acoustic", "vocoder"
ENCODER, DECODER, NETWORK, CARD = "encoder.onnx", "decoder.onnx", "network.onnx", "vocoder.json"
# All files of an export, the cards last.
ACOUSTIC_FILES = [f"{ACOUSTIC}/{name}" for name in (ENCODER, DECODER, *CARD_FILES)]
VOCODER_FILES = [f"{VOCODER}/{name}" for name in (NETWORK, CARD)]

# Names of the graphs' inputs and outputs; shapes as in koe.tasks.conversion.nars2s and koe.vocoder.
ENCODER_OUTPUTS = ["encoded", "durations"]
DECODER_INPUTS = ["hidden", "spoken", "mask", "pitch", "energy"]  # spoken: source's prosody; last two: `Control`'s
DECODER_OUTPUTS = ["predicted_pitch", "predicted_energy", "mel_before", "mel"]


def encoder_inputs(voices: bool) -> list[str]:
    """With `voices` only for models of more than one source and target."""
    return ["mel", "mask", *(["voices"] if voices else [])]


def require(package: str) -> Any:
    """Imports a package of the extra `onnx`. Raises KoeError, with how to install it, if it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise KoeError(f"ONNX needs the Python package {package}, which is not installed; install Koe with its extra "
                       "onnx: pip install -e '.[onnx]' in its folder") from error
