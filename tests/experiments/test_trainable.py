"""Presets and runs of the log train: each network learns from an optimizer step.

Acoustic models have their full size, vocoders their own layers, rates, discriminators and segments at a small width.
What runs share is trained once.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support import small_vocoder
from support.shipped_experiments import RUNS, VALUES, composed, params_of, shipped

from koe.audio.grid import mel_contract
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Normalization, measure
from koe.names import Direction, Pair
from koe.store import ShardWriter
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.training.loop import train
from koe.training.session import Session

Losses = dict[str, float]

ACOUSTIC = [name for name in RUNS if name.startswith("log/nars2s_")]
VOCODERS = [name for name in RUNS if name.startswith("log/hifigan_") and not shipped(name).refused]


def size(name: str) -> float:
    """Million parameters."""
    params = params_of(name)
    network = NARS2S(params.acoustic, params.mel.n_mels, speakers=2)
    return sum(tensor.numel() for tensor in network.parameters()) / 1e6


def test_sizes_are_as_said() -> None:
    assert size("log") == pytest.approx(21, abs=1)
    assert 60 < size("large") < 90
    larger, usual = size("log/nars2s_27_jsut_jsss_jvs_2"), size("log/nars2s_26_jsut_jsss_jvs")
    assert larger / usual == pytest.approx(1.5, abs=0.1)


FRAMES = {"first": (31, 34), "second": (28, 25), "third": (26, 30)}


def one_step(params: Params, folder: Path) -> Losses:
    """Trains an optimizer step on two made-up pairs and validates on a third, with float32 and from random weights."""
    generator = np.random.default_rng(0)
    with ShardWriter(folder / "features/toy", {"mel": mel_contract(params.mel)}) as writer:
        for sentence, lengths in FRAMES.items():
            for speaker, frames in zip("xy", lengths, strict=True):
                f0 = np.where(generator.random(frames) < 0.8, generator.uniform(100, 200, frames), 0)
                writer.add(f"toy/{speaker}/{sentence}", f0=f0.astype(np.float32),
                           mel=generator.normal(-5, 2, (frames, params.mel.n_mels)).astype(np.float32),
                           energy=generator.normal(0, 1, frames).astype(np.float32))
    dataset = Dataset(["toy"], params.mel, folder)
    pairs = [Pair(f"toy/{name}/x-y", f"toy/x/{name}", f"toy/y/{name}") for name in FRAMES]
    acoustic = params.acoustic
    durations = {f"toy/{name}/x-y": even_durations(*lengths, acoustic.reduction.factor)
                 for name, lengths in FRAMES.items()}
    names = {"source": [pair.source for pair in pairs], "target": [pair.target for pair in pairs]}
    found = measure(dataset, {**names, "overall": names["source"] + names["target"]}, params.stats.outliers)
    normalization = Normalization(params.stats, **found, speakers={"toy/x": found["source"], "toy/y": found["target"]})
    speakers = Speakers(acoustic.conditioning, (Direction("toy/x", "toy/y"),), normalization, acoustic.normalize_target, {})
    torch.manual_seed(0)
    network = NARS2S(acoustic, params.mel.n_mels, len(speakers.trained))
    positions = {f"toy/{name}/x-y": np.linspace(0, source - 1, target) for name, (source, target) in FRAMES.items()}
    reader = PairReader(dataset, durations, speakers, acoustic.reduction, positions=positions)
    task = AcousticTask(network, acoustic, reader, pairs[:2], pairs[2:], params.seed, torch.device("cpu"),
                        steps_before=WARMUP_STEPS)  # a schedule must be longer than its warm-up
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    values = train(task, Session("acoustic", {}, folder / "curves", folder / "work")).values
    unchanged = {name for name, tensor in network.named_parameters() if torch.equal(tensor, before[name])}
    assert not {name for name in unchanged if name.endswith(".weight")}
    return values


def even_durations(source: int, target: int, factor: int) -> np.ndarray:
    """Durations along the straight line, of reduced steps."""
    steps, total = math.ceil(source / factor), math.ceil(target / factor)
    return np.diff(np.arange(steps + 1) * total // steps).astype(np.int32)


WARMUP_STEPS = 100


def for_one_step(name: str) -> Params:
    """An experiment's parameters at full size, in as little time: one step, nothing compiled, nothing started from."""
    values = composed(name)
    values["acoustic"]["training"] |= {
        "steps": 1, "epochs": None, "batch_size": 2, "batch_frames": None, "accumulate": 1, "precision": "float32",
        "compile": False, "log_every": 1, "validate_every": 1, "checkpoint_every": 1, "keep_every": None,
        "keep_best": False, "pictures": 0}
    values["acoustic"]["training"]["schedule"]["warmup_steps"] = WARMUP_STEPS
    values["acoustic"]["init"] = VALUES["acoustic"]["init"]
    params = Params.model_validate(values)
    return params.model_copy(update={"corpora": {}})


@pytest.mark.parametrize("name", ["demo", "log", "paper", pytest.param("large", marks=pytest.mark.slow)])
def test_a_preset_trains(tmp_path: Path, name: str) -> None:
    assert all(map(math.isfinite, one_step(for_one_step(name), tmp_path).values()))


@pytest.fixture(scope="module")
def trained() -> dict[str, Losses]:
    """Losses of networks that have had their step, by what decides it."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ACOUSTIC)
def test_every_acoustic_run_of_the_log_trains(tmp_path: Path, name: str, trained: dict[str, Losses]) -> None:
    params = for_one_step(name)
    key = f"{params.acoustic!r} {params.mel!r}"
    if key not in trained:
        trained[key] = one_step(params, tmp_path)
    assert all(map(math.isfinite, trained[key].values()))


def thin(name: str) -> Params:
    """A vocoder's parameters at a small width, from random weights."""
    values = composed(name)
    vocoder = values["vocoder"]
    vocoder["hifigan"]["upsample_channels"] = 32
    vocoder["discriminators"] |= {"period_channels": 1, "scale_channels": 4}
    vocoder["training"]["batch_size"] = 2
    vocoder["init"] = {**VALUES["vocoder"]["init"], "from": None}
    return check_params(values)


def one_vocoder_step(params: Params, folder: Path) -> Losses:
    """Trains a step of both networks on made-up recordings; every weight of the generator must change."""
    task = small_vocoder.make_task(small_vocoder.write_corpus(folder, params.mel), params)
    before = {name: tensor.clone() for name, tensor in task.generator.named_parameters()}
    values = task.step(1, task.read(1))
    assert not [name for name, tensor in task.generator.named_parameters() if torch.equal(tensor, before[name])]
    return values


@pytest.mark.slow
@pytest.mark.parametrize("name", VOCODERS)
def test_every_vocoder_run_of_the_log_trains(tmp_path: Path, name: str, trained: dict[str, Losses]) -> None:
    params = thin(name)
    vocoder = params.vocoder
    key = f"{vocoder.hifigan!r} {vocoder.discriminators!r} {params.mel!r} {vocoder.training.segment_size}"
    if key not in trained:
        trained[key] = one_vocoder_step(params, tmp_path)
    losses = trained[key]
    assert {"mel", "feature_matching", "adversarial", "discriminator"} <= losses.keys()
    assert all(map(math.isfinite, losses.values()))
