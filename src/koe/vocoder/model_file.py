"""A trained vocoder as a folder: `generator.safetensors`, `discriminators.safetensors`, `vocoder.json`.

`vocoder.json` carries the parameters, the mel contract, the steps trained and what the model came from (lesson 1), in
`provenance.run` the run whose kept checkpoints others can start from. Tensors have the names of published HiFi-GAN
files, and may be saved in half precision. Discriminators serve further training only and may be absent.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.errors import StoreError
from koe.files import read_json, replacing, write_json
from koe.training.transfer import differing_tensors
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.networks import make_network
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import VocoderParams

GENERATOR, DISCRIMINATORS, CARD = "generator.safetensors", "discriminators.safetensors", VOCODER.card
FILES = (GENERATOR, DISCRIMINATORS, CARD)  # that `save_vocoder` writes


@dataclass(frozen=True)
class VocoderModel:
    """A trained vocoder."""

    generator: VocoderNetwork
    discriminators: Discriminators | None
    params: VocoderParams
    mel: MelParams
    steps: int  # of the optimizer
    provenance: dict[str, Any] = field(default_factory=dict)  # JSON: data hashes, code revision and all else


def save_vocoder(folder: str | Path, model: VocoderModel, half: bool = False) -> None:
    """Writes the model into `folder`, the card last. `half`: weights in half precision, for models that ship."""
    folder = Path(folder)
    _save_weights(folder / GENERATOR, model.generator, half)
    if model.discriminators is None:
        (folder / DISCRIMINATORS).unlink(missing_ok=True)  # an earlier model's
    else:
        _save_weights(folder / DISCRIMINATORS, model.discriminators, half)
    write_json(folder / CARD, {
        "vocoder": model.params.model_dump(mode="json"),
        "mel": model.mel.model_dump(mode="json"),
        "contract": mel_contract(model.mel),
        "steps": model.steps,
        "provenance": model.provenance,
    })


def read_vocoder(folder: str | Path) -> VocoderModel:
    """Reads a model, in float32. Raises StoreError naming the file that is missing, damaged or not as the card says."""
    folder = Path(folder)
    if not (folder / CARD).exists():
        raise StoreError(
            f"{folder / CARD} does not exist; expected the folder of a trained vocoder (dvc repro finetune_vocoder "
            "makes models/vocoder)"
        )
    card = read_json(folder / CARD)
    try:
        params, mel = VocoderParams.of_card(card["vocoder"]), MelParams.model_validate(card["mel"])
        steps, provenance = int(card["steps"]), dict(card["provenance"])
    except ValidationError as error:
        raise StoreError(f"{folder / CARD} has parameters of another version of Koe, {error.error_count()} of them "
                         "unknown or missing; train the vocoder again, or use the code of its revision") from error
    except KeyError as error:
        raise StoreError(f"{folder / CARD} is not a vocoder's card: it has no {error}; train it again") from error
    generator = make_network(params, mel)
    _load_weights(folder / GENERATOR, generator, f"vocoder.{params.model} in {folder / CARD}")
    discriminators = None
    if (folder / DISCRIMINATORS).exists():
        discriminators = Discriminators(params.discriminators)
        _load_weights(folder / DISCRIMINATORS, discriminators, f"vocoder.discriminators in {folder / CARD}")
    return VocoderModel(generator, discriminators, params, mel, steps, provenance)


def _save_weights(path: Path, module: nn.Module, half: bool) -> None:
    state = published_names(module.state_dict())
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, temporary)


def _load_weights(path: Path, module: nn.Module, where: str) -> None:
    """Loads published-name tensors strictly. Raises StoreError listing what differs from the sizes given in `where`."""
    try:
        state = internal_names(load_file(path))
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); a vocoder's folder needs it") from error
    differing = differing_tensors(published_names(state), published_names(module.state_dict()))
    if differing:
        raise StoreError(f"{path} has another shape than {where} gives: {differing}; one of the two was changed")
    module.load_state_dict(state)
