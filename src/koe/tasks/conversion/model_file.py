"""The acoustic model as a folder: `model.safetensors` and `model.json`, which is all that conversion needs.

`model.json` holds the parameters, the mel contract, the speakers with their statistics, the preparation of recordings,
the other files' checksums and the model's provenance (lesson 1). `speakers.safetensors` holds the embeddings of its
speakers. Neither code nor pickles.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import model_validator
from safetensors import numpy as numpy_safetensors

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams, ResampleParams, SpeakerPitch, TrimParams
from koe.errors import StoreError
from koe.files import replacing, shortened, understood
from koe.params.section import Card, all_contradictions
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.speakers import EMBEDDING_SIZE, Speakers
from koe.weights import fitted, read_card, read_weights, save_weights, write_card

_WEIGHTS, _CARD, _EMBEDDINGS = "model.safetensors", ACOUSTIC.card, "speakers.safetensors"
_AGAIN = "copy the model's folder again, or train it again (dvc repro train_acoustic)"
_NO_MODEL = "expected the folder of a trained model (dvc repro train_acoustic)"
_OTHER_VERSION = ("it is damaged, or its parameters are of another version of Koe: train the model again, or use the "
                  "code of its revision")
CARD_FILES = (_EMBEDDINGS, _CARD)  # that `save_card` writes
FILES = (_WEIGHTS, *CARD_FILES)  # that `save_acoustic` writes


@dataclass(frozen=True)
class Preparation:
    """Parameters by which a recording becomes features, the same in training and in conversion."""

    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: SpeakerPitch

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).model_dump(mode="json") for name in ("mel", "resample", "trim", "pitch")}


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


def save_acoustic(folder: str | Path, model: AcousticModel, half: bool = False) -> None:
    """Writes the model into `folder`. `half`: weights in half precision, for models that ship."""
    folder = Path(folder)
    save_weights(folder / _WEIGHTS, model.network.state_dict(), half)
    save_card(folder, model, [_WEIGHTS])


def save_card(folder: str | Path, model: AcousticModel, files: Iterable[str]) -> None:
    """Writes everything but the weights into `folder`; `files`: those that hold the weights, written before."""
    folder, files = Path(folder), list(files)
    (folder / _EMBEDDINGS).unlink(missing_ok=True)  # an earlier model's
    if model.speakers.embeddings:
        with replacing(folder / _EMBEDDINGS) as temporary:
            numpy_safetensors.save_file(dict(model.speakers.embeddings), temporary)
        files.append(_EMBEDDINGS)
    write_card(folder / _CARD, {
        "acoustic": model.params.model_dump(mode="json"),
        "contract": mel_contract(model.preparation.mel),
        "preparation": model.preparation.to_json(),
        "speakers": model.speakers.to_json(),
        "provenance": model.provenance,
    }, files)


class AcousticCard(Card):
    """The content of `model.json`."""

    acoustic: AcousticParams
    preparation: Preparation
    speakers: dict[str, Any]
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if wrong := [*all_contradictions(self.preparation.mel, "preparation.mel")]:
            raise ValueError(shortened(wrong, "; "))
        return self


def load_acoustic(folder: str | Path) -> AcousticModel:
    """Reads a model. Raises StoreError naming the file if it is missing, damaged, or its tensors differ in shape."""
    folder = Path(folder)

    def read(card: AcousticCard, speakers: Speakers) -> NARS2S:
        return fitted(lambda: build_network(card.acoustic, card.preparation.mel.n_mels, len(speakers.trained)),
                      read_weights(folder / _WEIGHTS, card.checksums, _AGAIN), folder / _WEIGHTS,
                      f"acoustic in {folder / _CARD}")

    return load_with(folder, read)


def load_with(folder: str | Path, read_network: Callable[[AcousticCard, Speakers], NARS2S]) -> AcousticModel:
    """Reads the card, and the network by `read_network`. Raises StoreError as `load_acoustic` does."""
    folder = Path(folder)
    with understood(folder / _CARD, _OTHER_VERSION):
        card = AcousticCard.model_validate(read_card(folder / _CARD, _NO_MODEL, _AGAIN))
        embeddings = _read_embeddings(folder / _EMBEDDINGS, card.checksums)
        speakers = Speakers.from_json(card.speakers, embeddings, card.preparation.mel.n_mels)
    network = read_network(card, speakers)
    return AcousticModel(network.eval().requires_grad_(False), card.acoustic, speakers, card.preparation,
                         card.provenance)


def _read_embeddings(path: Path, expected: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not path.exists() and path.name not in expected:
        return {}
    vectors = {name: tensor.numpy() for name, tensor in read_weights(path, expected, _AGAIN).items()}
    if wrong := [name for name, vector in vectors.items() if vector.shape != (EMBEDDING_SIZE,)]:
        raise StoreError(f"{path}: the embedding of {wrong[0]} has shape {vectors[wrong[0]].shape}; expected "
                         f"({EMBEDDING_SIZE},); {_AGAIN}")
    return vectors
