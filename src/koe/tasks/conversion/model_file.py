"""The acoustic model as a folder: `model.safetensors` and `model.json`, which is all that conversion needs.

`model.json` holds the parameters, the mel contract, the speakers with their statistics, the preparation of recordings,
and the model's provenance (lesson 1). With `conditioning.by: encoder`, `speakers.safetensors` holds the embeddings of
its speakers. Neither code nor pickles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import numpy as numpy_safetensors
from safetensors.torch import load_file, save_file

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams, ResampleParams, SpeakerPitch, TrimParams
from koe.errors import StoreError
from koe.files import read_json, replacing, write_json
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.speakers import Speakers

_WEIGHTS, _CARD, _EMBEDDINGS = "model.safetensors", ACOUSTIC.card, "speakers.safetensors"
CARD_FILES = (_EMBEDDINGS, _CARD)  # that `save_card` writes


@dataclass(frozen=True)
class Preparation:
    """Parameters by which a recording becomes features, the same in training and in conversion."""

    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: SpeakerPitch

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).model_dump(mode="json") for name in ("mel", "resample", "trim", "pitch")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Preparation":
        return cls(
            MelParams.model_validate(value["mel"]), ResampleParams.model_validate(value["resample"]),
            TrimParams.model_validate(value["trim"]), SpeakerPitch.model_validate(value["pitch"]),
        )


@dataclass(frozen=True)
class AcousticModel:
    """A trained model with all that conversion needs."""

    network: NARS2S
    params: AcousticParams
    speakers: Speakers
    preparation: Preparation
    provenance: dict[str, Any]  # of the training run: see `koe.tasks.conversion.run`


def build_network(params: AcousticParams, n_mels: int, speakers: int) -> NARS2S:
    """The network that `acoustic.model` names; `speakers`: the number of speakers in training."""
    return {"nars2s": NARS2S}[params.model](params, n_mels, speakers)


def save_acoustic(folder: str | Path, model: AcousticModel) -> None:
    """Writes the model into `folder`."""
    folder = Path(folder)
    with replacing(folder / _WEIGHTS) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in model.network.state_dict().items()}, temporary)
    save_card(folder, model)


def save_card(folder: str | Path, model: AcousticModel) -> None:
    """Writes everything but the weights into `folder`."""
    folder = Path(folder)
    if model.speakers.embeddings:
        with replacing(folder / _EMBEDDINGS) as temporary:
            numpy_safetensors.save_file(dict(model.speakers.embeddings), temporary)
    write_json(folder / _CARD, {
        "acoustic": model.params.model_dump(mode="json"),
        "contract": mel_contract(model.preparation.mel),
        "preparation": model.preparation.to_json(),
        "speakers": model.speakers.to_json(),
        "provenance": model.provenance,
    })


def load_acoustic(folder: str | Path) -> AcousticModel:
    """Reads a model. Raises StoreError naming the file if it is missing, damaged, or its tensors differ in shape."""
    folder = Path(folder)

    def read(params: AcousticParams, preparation: Preparation, speakers: Speakers) -> NARS2S:
        network = build_network(params, preparation.mel.n_mels, len(speakers.trained))
        try:
            network.load_state_dict(load_file(folder / _WEIGHTS))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise StoreError(f"{folder / _WEIGHTS} does not fit {folder / _CARD}: {error}") from error
        return network

    return load_with(folder, read)


def load_with(
    folder: str | Path, read_network: Callable[[AcousticParams, Preparation, Speakers], NARS2S]
) -> AcousticModel:
    """Reads the card, and the network by `read_network`. Raises StoreError as `load_acoustic` does."""
    folder = Path(folder)
    if not (folder / _CARD).exists():
        raise StoreError(f"{folder / _CARD} does not exist; train a model first (dvc repro train_acoustic)")
    card = read_json(folder / _CARD)
    try:
        params = AcousticParams.model_validate(card["acoustic"])
        preparation = Preparation.from_json(card["preparation"])
    except ValidationError as error:
        raise StoreError(f"{folder / _CARD} has parameters of another version of Koe, {error.error_count()} of them "
                         "unknown or missing; train the model again, or use the code of its revision") from error
    speakers = Speakers.from_json(card["speakers"], _read_embeddings(folder / _EMBEDDINGS))
    network = read_network(params, preparation, speakers)
    return AcousticModel(network.eval().requires_grad_(False), params, speakers, preparation, card["provenance"])


def _read_embeddings(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        return numpy_safetensors.load_file(path)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); train the model again (dvc repro)") from error
