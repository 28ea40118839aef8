"""One training of a vocoder, from what it starts from to the folder that it leaves."""

from pathlib import Path
from typing import Any

from koe.audio.params import SpeakerPitch
from koe.device import resolve_device
from koe.training.references import ModelReference
from koe.training.session import Session
from koe.vocoder.data import MelAudio
from koe.vocoder.initial import initial_models, scratch_warning
from koe.vocoder.model_file import VocoderModel, save_vocoder
from koe.vocoder.params import VocoderParams
from koe.vocoder.training import VocoderTrainer


def train_vocoder(
    params: VocoderParams, train: MelAudio, validation: MelAudio, seed: int, start: ModelReference | None,
    pitch: SpeakerPitch, inputs: str, code: str, revision: str, curves: Path, folder: Path,
) -> None:
    """Trains on `train`, with curves and players in `curves`, and writes the vocoder into `folder`. Says what it does.

    `start`: the vocoder that `init.from` names; `inputs`: fingerprint of the data; `revision`: of the code, for the
    model to say where it is from (lesson 1). A run that was killed continues if neither these nor any parameter have
    changed (koe.training.session).
    """
    mel = train.dataset.mel_params
    if warning := scratch_warning(params, train.hours):
        print(warning)
    initial = initial_models(params, mel, seed, start)
    for line in initial.report:
        print(line)
    trainer = VocoderTrainer(initial.generator, initial.discriminators, params, train, validation, seed,
                             resolve_device(), pitch, initial.optimizer_states)
    identity: dict[str, Any] = {
        "seed": seed,
        "vocoder": params.model_dump(mode="json"),
        "precision": trainer.precision,
        "inputs": inputs,
        "code": code,
        "init": start.origin() if start else None,
    }
    session = Session("vocoder", identity, curves, trainer.objects)
    values = trainer.run(session)
    provenance = {**identity, "run": session.folder.name, "revision": revision, "hours": train.hours,
                  "utterances": {"train": len(train.items), "validation": len(validation.items)}}
    model = VocoderModel(trainer.model, trainer.discriminators, params, mel, params.training.steps, provenance)
    save_vocoder(folder, model)
    session.finish()
    told = ", ".join(f"{name.removeprefix('validation/')} {value:.3f}" for name, value in values.items())
    print(f"vocoder: {params.model} after {params.training.steps} steps on {train.hours:.2f} hours: {told}; "
          f"written to {folder}")
