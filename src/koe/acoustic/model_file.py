"""The acoustic model as a folder: `model.safetensors` and `model.json`, enough to convert with and nothing else.

`model.json` carries the parameters, the mel contract, both sides' statistics, how recordings were prepared, and
what the model came from (lesson 1). It never holds code or pickles.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from koe.acoustic.data import Sides
from koe.acoustic.nars2s import NARS2S
from koe.corpus.statistics import Statistics
from koe.errors import StoreError
from koe.files import read_json, replacing, write_json
from koe.params import AcousticParams, MelParams, PitchParams, ResampleParams, TrimParams

_WEIGHTS, _CARD = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Preparation:
    """How a recording becomes features: the same in training and in conversion."""

    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    source_speaker: str

    def to_json(self) -> dict[str, Any]:
        sections = {name: getattr(self, name).model_dump(mode="json") for name in ("mel", "resample", "trim", "pitch")}
        return {**sections, "source_speaker": self.source_speaker}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Preparation":
        return cls(
            MelParams.model_validate(value["mel"]), ResampleParams.model_validate(value["resample"]),
            TrimParams.model_validate(value["trim"]), PitchParams.model_validate(value["pitch"]),
            value["source_speaker"],
        )


@dataclass(frozen=True)
class AcousticModel:
    """A trained model with all that conversion needs."""

    network: NARS2S
    params: AcousticParams
    sides: Sides
    preparation: Preparation
    provenance: dict[str, Any]


def build_network(params: AcousticParams, n_mels: int) -> NARS2S:
    """The network that `acoustic.model` names."""
    return {"nars2s": NARS2S}[params.model](params, n_mels)


def save_acoustic(folder: str | Path, model: AcousticModel) -> None:
    """Writes the model into `folder`."""
    folder = Path(folder)
    with replacing(folder / _WEIGHTS) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in model.network.state_dict().items()}, temporary)
    write_json(folder / _CARD, {
        "acoustic": model.params.model_dump(mode="json"),
        "contract": model.preparation.mel.contract(),
        "preparation": model.preparation.to_json(),
        "statistics": {"source": model.sides.source.to_json(), "target": model.sides.target.to_json()},
        "provenance": model.provenance,
    })


def load_acoustic(folder: str | Path) -> AcousticModel:
    """Reads a model. Raises StoreError naming the file if it is missing, damaged, or of another shape."""
    folder = Path(folder)
    if not (folder / _CARD).exists():
        raise StoreError(f"{folder / _CARD} does not exist; train a model first (dvc repro train_acoustic)")
    card = read_json(folder / _CARD)
    params = AcousticParams.model_validate(card["acoustic"])
    preparation = Preparation.from_json(card["preparation"])
    network = build_network(params, preparation.mel.n_mels)
    try:
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise StoreError(f"{folder / _WEIGHTS} does not fit {folder / _CARD}: {error}") from error
    sides = Sides(
        Statistics.from_json(card["statistics"]["source"]), Statistics.from_json(card["statistics"]["target"]),
        params.normalize_target,
    )
    return AcousticModel(network.eval().requires_grad_(False), params, sides, preparation, card["provenance"])
