"""A training run of the acoustic model that takes seconds, on made-up features."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Normalization, measure
from koe.names import Direction, Pair
from koe.steps import steps_of
from koe.store import ShardWriter
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.initial import initial_network
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.training.loop import train
from koe.training.session import Session
from support.small_parameters import shrink_acoustic

EMBEDDINGS = {f"toy/{name}": np.eye(2, 256, dtype=np.float32)[index] for index, name in enumerate("xy")}
FRAMES = {"a": (31, 40), "b": (25, 22), "c": (37, 37), "d": (16, 20), "e": (44, 41)}  # of source and target
TRAINED = 4  # sentences; the others are validated on


def small_params(values: dict[str, Any], **training: Any) -> Params:
    """The project's parameters for a training of eight steps; `training` is merged into its section."""
    shrink_acoustic(values["acoustic"], 16, warmup_steps=2, **{
        "steps": 8, "batch_size": 2, "log_every": 2, "validate_every": 4, "checkpoint_every": 3,
        "precision": "float32", **training,
    })
    return check_params(values)


def make_task(root: Path, params: Params, **fields: Any) -> AcousticTask:
    """The task over made-up features, which are written to `root` the first time."""
    if not (root / "features").exists():
        _write_features(root / "features" / "toy", params)
    dataset = Dataset(["toy"], params.mel, root)
    pairs = [Pair(f"toy/{name}/x-y", f"toy/x/{name}", f"toy/y/{name}") for name in FRAMES]
    factor = params.acoustic.reduction.factor
    durations = {pair: spread(*(steps_of(dataset.frames(name), factor) for name in sides)) for pair, *sides in pairs}
    sides = {"source": [pair.source for pair in pairs], "target": [pair.target for pair in pairs]}
    found = measure(dataset, {**sides, "overall": sides["source"] + sides["target"]}, params.stats.outliers)
    normalization = Normalization(params.stats, **found, speakers={"toy/x": found["source"], "toy/y": found["target"]})
    own = Speakers(params.acoustic.conditioning, (Direction("toy/x", "toy/y"),), normalization,
                   params.acoustic.normalize_target, EMBEDDINGS)
    initial = initial_network(params.acoustic, params.mel, own, params.seed)
    positions = {pair: np.linspace(0, dataset.frames(source) - 1, dataset.frames(target))
                 for pair, source, target in pairs}
    reader = PairReader(dataset, durations, initial.speakers, params.acoustic.reduction, positions=positions)
    return AcousticTask(initial.network, params.acoustic, reader, pairs[:TRAINED], pairs[TRAINED:], params.seed,
                        torch.device("cpu"), **fields)


def _write_features(folder: Path, params: Params) -> None:
    generator = np.random.default_rng(0)
    with ShardWriter(folder, {"mel": mel_contract(params.mel)}) as writer:
        for sentence, lengths in FRAMES.items():
            for speaker, frames in zip(("x", "y"), lengths, strict=True):
                f0 = np.where(generator.random(frames) < 0.8, generator.uniform(80, 200, frames), 0)
                writer.add(
                    f"toy/{speaker}/{sentence}",
                    mel=generator.normal(-5, 2, (frames, 80)).astype(np.float32),
                    f0=f0.astype(np.float32),
                    energy=generator.normal(0, 1, frames).astype(np.float32),
                )


def spread(source_steps: int, target_steps: int) -> np.ndarray:
    """Durations along the straight line."""
    ends = np.round(np.arange(1, source_steps + 1) * target_steps / source_steps).astype(np.int32)
    return np.diff(ends, prepend=0).astype(np.int32)


def make_session(root: Path, task: AcousticTask, **options: Any) -> Session:
    """A session of the run that these parameters name, with its curves and its work folder in `root`."""
    identity = {"seed": task.seed, "acoustic": task.params.model_dump(mode="json")}
    return Session("acoustic", identity, root / "curves", root / "work", **options)


def run_in(root: Path, task: AcousticTask) -> dict[str, float]:
    """Trains to the end, with a session in `root`; the last validation's values."""
    return train(task, make_session(root, task)).values


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def files_in(folder: Path) -> dict[str, bytes]:
    """Contents of all files in a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
