"""A small corpus on disk, as the data stages leave it, and small vocoder parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from koe.audio.mel import log_mel
from koe.corpus.dataset import Dataset, to_int16
from koe.files import write_table
from koe.params import Params, VocoderParams, check_params, load_params
from koe.store import ShardReader, ShardWriter

FRAMES = (70, 64, 40, 90, 33)  # of the targets; segments in these tests have 32 frames, or more than 33


def changed(tree: dict[str, Any], **changes: Any) -> Params:
    """Parameters with some values changed; names are dotted, with `__` for the dot."""
    for name, value in changes.items():
        *sections, last = name.split("__")
        section = tree
        for part in sections:
            section = section[part]
        section[last] = value
    return check_params(tree)


@pytest.fixture()
def with_params(values: dict[str, Any]) -> Callable[..., Params]:
    """`with_params(vocoder__training__batch_size=3)`: the project's parameters with changes."""
    return lambda **changes: changed(values, **changes)


SMALL: dict[str, Any] = {
    "vocoder__generator__upsample_channels": 16,
    "vocoder__generator__resblock_kernels": [3],
    "vocoder__generator__resblock_dilations": [[1, 2]],
    "vocoder__discriminators__periods": [2, 3],
    "vocoder__discriminators__period_channels": 2,
    "vocoder__discriminators__scale_channels": 4,
    "vocoder__training__batch_size": 2,
    "vocoder__training__mel_only_steps": 2,
    "vocoder__training__steps": 6,
    "vocoder__training__log_every": 2,
    "vocoder__training__validate_every": 4,
    "vocoder__training__checkpoint_every": 3,
}


@pytest.fixture()
def small_changes() -> dict[str, Any]:
    """What makes the project's parameters small."""
    return dict(SMALL)


@pytest.fixture()
def small(with_params: Callable[..., Params]) -> VocoderParams:
    """A vocoder that trains in seconds."""
    return with_params(**SMALL).vocoder


@pytest.fixture(scope="session")
def corpus(root: Path, tmp_path_factory: pytest.TempPathFactory, voice: Any) -> Any:
    """(dataset, pairs, generated mels): five targets, the first 100 samples of each cut off by the trim."""
    mel = load_params(root / "params.yaml").mel
    data = tmp_path_factory.mktemp("vocoder") / "data"
    pairs, cuts = [], []
    with (
        ShardWriter(data / "resampled" / "toy") as audio,
        ShardWriter(data / "features" / "toy", {"mel": mel.contract()}) as features,
        ShardWriter(data / "generated", {"mel": mel.contract()}) as generated,
    ):
        for index, frames in enumerate(FRAMES):
            utterance = f"toy/target/{index:03d}"
            samples = frames * mel.hop_length
            wave, _ = to_int16(voice((samples + 300) / mel.sample_rate, f0=100 + 20 * index)[: samples + 200])
            audio.add(utterance, audio=wave)
            cuts.append((utterance, 100, 100 + samples + 37))  # not a whole number of hops: rounded down
            true = torch.from_numpy(wave[100 : 100 + samples].astype(np.float32) / 32768)
            spectrum = log_mel(true, mel).numpy()
            features.add(utterance, mel=spectrum)
            pairs.append((f"toy/{index:03d}/source-target", f"toy/source/{index:03d}", utterance))
            generated.add(pairs[-1][0], mel=spectrum + np.float32(0.01))
    write_table(data / "trim" / "toy" / "trim.csv", pd.DataFrame(cuts, columns=["utterance", "start", "end"]))
    return Dataset(["toy"], mel, data), pairs, ShardReader(data / "generated")
