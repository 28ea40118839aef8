"""Vocoders by name: `griffin_lim`, or the folder of a trained one."""

from pathlib import Path

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.device import resolve_device
from koe.errors import StoreError
from koe.store import compare_contracts
from koe.vocoder.griffin_lim import GriffinLim
from koe.vocoder.model_file import CARD, read_vocoder
from koe.vocoder.params import GRIFFIN_LIM, GriffinLimParams
from koe.vocoder.synthesis import NeuralVocoder, Vocoder

__all__ = ["Vocoder", "load_vocoder"]


def load_vocoder(
    name: str | Path, mel_params: MelParams, griffin_lim: GriffinLimParams = GRIFFIN_LIM, seed: int = 0,
    device: str = "auto", precision: str = "auto",
) -> Vocoder:
    """The vocoder `name`: "griffin_lim", or a folder written by `koe.vocoder.model_file.save_vocoder`.

    `griffin_lim` and `seed` matter to Griffin-Lim alone, `device` and `precision` (see `NeuralVocoder`) to trained
    ones. Raises StoreError if the folder holds no vocoder, ContractError if its mel settings differ from
    `mel_params` (lesson 13).
    """
    if str(name) == GriffinLim.name:
        return GriffinLim(mel_params, griffin_lim, seed)
    if not (Path(name) / CARD).exists():
        raise StoreError(f"{name} is neither {GriffinLim.name} nor the folder of a trained vocoder, which would have "
                         f"{CARD} (dvc repro finetune_vocoder makes models/vocoder)")
    model = read_vocoder(name)
    compare_contracts(str(name), mel_contract(model.mel), "the mels", mel_contract(mel_params))
    return NeuralVocoder(model.params.model, model.generator, mel_params, resolve_device(device), precision)
