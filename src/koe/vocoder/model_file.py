"""A trained vocoder as a folder: `generator.safetensors`, `discriminators.safetensors`, `vocoder.json`.

`vocoder.json` carries the parameters, the mel contract, the steps trained, the other files' checksums and what the
model came from (lesson 1), in `provenance.run` the run whose kept checkpoints others can start from. Tensors have the
names of published HiFi-GAN files, and may be saved in half precision. Discriminators serve further training only and
may be absent.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator
from torch import Tensor

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.files import shortened, understood
from koe.params.section import Card, all_contradictions
from koe.vocoder.discriminators import Discriminators
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.networks import make_network
from koe.vocoder.normalization import internal_names, published_names
from koe.vocoder.params import VocoderParams
from koe.weights import fitted, read_card, read_weights, save_weights, write_card

GENERATOR, DISCRIMINATORS, CARD = "generator.safetensors", "discriminators.safetensors", VOCODER.card
_AGAIN = "copy the vocoder's folder again, or train it again (dvc repro finetune_vocoder)"
_NO_VOCODER = "expected the folder of a trained vocoder (dvc repro finetune_vocoder makes models/vocoder)"
_OTHER_VERSION = ("it is damaged, or its parameters are of another version of Koe: train the vocoder again, or use the "
                  "code of its revision")
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
    save_weights(folder / GENERATOR, published_names(model.generator.state_dict()), half)
    files = [GENERATOR] if model.discriminators is None else [GENERATOR, DISCRIMINATORS]
    if model.discriminators is None:
        (folder / DISCRIMINATORS).unlink(missing_ok=True)  # an earlier model's
    else:
        save_weights(folder / DISCRIMINATORS, published_names(model.discriminators.state_dict()), half)
    write_card(folder / CARD, {
        "vocoder": model.params.model_dump(mode="json"),
        "mel": model.mel.model_dump(mode="json"),
        "contract": mel_contract(model.mel),
        "steps": model.steps,
        "provenance": model.provenance,
    }, files)


class VocoderCard(Card):
    """What every vocoder's card has, an exported one's too."""

    vocoder: Annotated[VocoderParams, BeforeValidator(VocoderParams.used)]
    mel: MelParams

    @model_validator(mode="after")
    def _agree(self) -> Self:
        network = self.vocoder.network
        wrong = [*all_contradictions(self.mel, "mel"), *all_contradictions(network, f"vocoder.{self.vocoder.model}"),
                 *network.mel_contradictions(self.mel, f"vocoder.{self.vocoder.model}")]
        if wrong:
            raise ValueError(shortened(wrong, "; "))
        return self


class TrainedCard(VocoderCard):
    steps: int
    provenance: dict[str, Any]


def read_vocoder(folder: str | Path) -> VocoderModel:
    """Reads a model, in float32. Raises StoreError naming the file that is missing, damaged or not as the card says."""
    folder = Path(folder)
    with understood(folder / CARD, _OTHER_VERSION):
        card = TrainedCard.model_validate(read_card(folder / CARD, _NO_VOCODER, _AGAIN))
    sizes = f"vocoder.{card.vocoder.model} in {folder / CARD}"
    generator = fitted(lambda: make_network(card.vocoder, card.mel), _read_weights(folder / GENERATOR, card),
                       folder / GENERATOR, sizes, published_names)
    discriminators = None
    if (folder / DISCRIMINATORS).exists():
        discriminators = fitted(
            lambda: Discriminators(card.vocoder.discriminators), _read_weights(folder / DISCRIMINATORS, card),
            folder / DISCRIMINATORS, f"vocoder.discriminators in {folder / CARD}", published_names)
    return VocoderModel(generator, discriminators, card.vocoder, card.mel, card.steps, card.provenance)


def _read_weights(path: Path, card: VocoderCard) -> dict[str, Tensor]:
    return internal_names(read_weights(path, card.checksums, _AGAIN))
