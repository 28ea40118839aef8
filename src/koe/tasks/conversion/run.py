"""One training run of the acoustic model, from its start to the model's folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koe.corpus.dataset import Dataset
from koe.device import resolve_device
from koe.names import Pair
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.initial import initial_network
from koe.tasks.conversion.model_file import AcousticModel, Preparation, save_acoustic
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.terminal import plain
from koe.training.loop import train
from koe.training.references import ModelReference
from koe.training.session import Session


@dataclass(frozen=True)
class AcousticData:
    """Data of a training run; for the mappings see `PairReader`."""

    dataset: Dataset
    train: list[Pair]
    validation: list[Pair]
    speakers: Speakers  # of these pairs, with the statistics of this data
    durations: Mapping[str, np.ndarray]
    embeddings: Mapping[str, np.ndarray]
    positions: Mapping[str, np.ndarray] | None  # None if `training.shift` is false


def train_acoustic(
    params: AcousticParams, preparation: Preparation, data: AcousticData, seed: int, start: ModelReference | None,
    inputs: str, code: str, revision: str, curves: Path, folder: Path,
) -> None:
    """Trains on `data`, with curves and pictures in `curves`, and writes the model into `folder`. Prints its progress.

    `preparation`: how the recordings became features; `start`: the model that `init.from` names; `inputs`: fingerprint
    of the data; `code`: digest of the code that runs; `revision`: the commit, for the model's provenance (lesson 1). A
    run that was killed continues if neither data nor code nor any parameter has changed (koe.training.session).
    """
    initial = initial_network(params, preparation.mel, data.speakers, seed, start)
    for line in initial.report:
        print(plain(line))
    reader = PairReader(
        data.dataset, data.durations, initial.speakers, params.reduction, data.embeddings, data.positions)
    task = AcousticTask(initial.network, params, reader, data.train, data.validation, seed, resolve_device(),
                        initial.optimizer_state, initial.steps_before)
    batching = task.batching
    print(f"acoustic: {batching.batches_per_epoch} batches an epoch, {batching.padding_ratio:.1%} of their frames are "
          "padding")
    identity: dict[str, Any] = {
        "seed": seed,
        "acoustic": params.model_dump(mode="json"),
        "precision": task.precision,
        "inputs": inputs,
        "code": code,
        "init": start.origin() if start else None,
    }
    session = Session("acoustic", identity, curves, tensorboard=params.training.tensorboard)
    outcome = train(task, session)
    provenance = {**identity, "run": session.folder.name, "revision": revision, "steps": outcome.steps,
                  "pairs": {"train": len(data.train), "validation": len(data.validation)}}
    save_acoustic(folder, AcousticModel(task.model, params, initial.speakers, preparation, provenance))
    session.finish()
