"""One training run of a vocoder, from what it starts from to the folder that it leaves."""

from pathlib import Path
from typing import Any

from koe.audio.params import SpeakerPitch
from koe.device import resolve_device
from koe.terminal import plain
from koe.training.loop import train
from koe.training.references import ModelReference
from koe.training.session import Session
from koe.vocoder.data import MelAudio
from koe.vocoder.initial import initial_models, scratch_warning
from koe.vocoder.model_file import VocoderModel, save_vocoder
from koe.vocoder.params import VocoderParams
from koe.vocoder.training import VocoderTask


def train_vocoder(
    params: VocoderParams, data: MelAudio, validation: MelAudio, seed: int, start: ModelReference | None,
    pitch: SpeakerPitch, inputs: str, code: str, revision: str, curves: Path, folder: Path,
) -> None:
    """Trains on `data`, with curves and players in `curves`, and writes the vocoder into `folder`. Prints a report.

    `start`: the vocoder that `init.from` names; `inputs`: fingerprint of the data; `code`: digest of the code that
    runs; `revision`: the commit, which the model records (lesson 1). A run that was killed continues if
    neither data nor code nor any parameter has changed (koe.training.session).
    """
    mel = data.dataset.mel_params
    if warning := scratch_warning(params, data.hours):
        print(plain(warning))
    initial = initial_models(params, mel, seed, start)
    for line in initial.report:
        print(plain(line))
    task = VocoderTask(initial.generator, initial.discriminators, params, data, validation, seed, resolve_device(),
                       pitch, initial.optimizer_states)
    identity: dict[str, Any] = {
        "seed": seed,
        "vocoder": params.model_dump(mode="json"),
        "precision": task.precision,
        "inputs": inputs,
        "code": code,
        "init": start.origin() if start else None,
    }
    session = Session("vocoder", identity, curves)
    outcome = train(task, session)
    provenance = {**identity, "run": session.folder.name, "revision": revision, "hours": data.hours,
                  "utterances": {"train": len(data.items), "validation": len(validation.items)}}
    save_vocoder(folder, VocoderModel(task.model, task.discriminators, params, mel, outcome.steps, provenance))
    session.finish()
    values = ", ".join(f"{name.removeprefix('validation/')} {value:.3f}" for name, value in outcome.values.items())
    print(f"vocoder: {params.model} after {outcome.steps} steps on {data.hours:.2f} hours: {values}; "
          f"written to {folder}")
