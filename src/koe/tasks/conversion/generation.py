"""Mels predicted by the acoustic model with the target's own timing, for fine-tuning the vocoder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.names import Pair
from koe.progress import progress
from koe.store import ShardWriter, compare_contracts
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.inference import BATCH_SIZE, convert_items
from koe.tasks.conversion.model_file import AcousticModel

_GROUP = 64  # pairs held in memory at once


def generate_mels(
    model: AcousticModel,
    dataset: Dataset,
    durations: Mapping[str, np.ndarray],
    pairs: list[Pair],
    folder: Path,
    device: torch.device,
    embeddings: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes shards keyed by pair with `mel` (target frames, M), exactly as long as the target's (lesson 31).

    `embeddings`: see `PairReader`. Raises ContractError if the mel settings of the model and of the features differ.
    """
    contract = mel_contract(dataset.mel_params)
    compare_contracts("the acoustic model", mel_contract(model.preparation.mel), "the parameters", contract)
    reader = PairReader(dataset, durations, model.speakers, model.params.reduction, embeddings)
    network = model.network.to(device)
    with ShardWriter(folder, {"mel": contract}) as writer:
        for start in progress(range(0, len(pairs), _GROUP), "generate_mels", unit="batch"):
            group = pairs[start : start + _GROUP]
            conversions = convert_items(
                network, [reader.source(pair) for pair in group], model.params.normalize_target, BATCH_SIZE, device,
                durations=[durations[pair.name] for pair in group],
                frames=[dataset.frames(pair.target) for pair in group],
            )
            for pair, conversion in zip(group, conversions, strict=True):
                writer.add(pair.name, mel=conversion.mel)
