"""Generated mels: on the target's timing, to the frame, however frames are reduced."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_parameters import shrink_acoustic

from koe.corpus.statistics import Normalization, Statistics
from koe.names import Direction, Pair
from koe.statistics import Moments
from koe.steps import steps_of
from koe.store import ShardReader
from koe.tasks.conversion.generation import generate_mels
from koe.tasks.conversion.model_file import AcousticModel, Preparation, build_network
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers

FRAMES = {"toy/x/1": 45, "toy/x/2": 31, "toy/y/1": 47, "toy/y/2": 64}
PAIRS = [Pair(f"toy/{sentence}/x-y", f"toy/x/{sentence}", f"toy/y/{sentence}") for sentence in (1, 2)]


class Toy:
    """Stands in for a Dataset: noise of known lengths."""

    def __init__(self, params: Params) -> None:
        self.mel_params = params.mel

    def frames(self, utterance: str) -> int:
        return FRAMES[utterance]

    def mel(self, utterance: str) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(FRAMES[utterance], self.mel_params.n_mels)).astype(np.float32)

    def f0(self, utterance: str) -> np.ndarray:
        return np.full(FRAMES[utterance], 150.0, np.float32)

    energy = f0


def model_of(params: Params) -> AcousticModel:
    mel, scalar = (Moments(9, np.zeros(shape), np.ones(shape)) for shape in ((params.mel.n_mels,), ()))
    normalization = Normalization(params.stats, *[Statistics(mel, scalar, scalar)] * 3)
    speakers = Speakers(params.acoustic.conditioning, (Direction("toy/x", "toy/y"),), normalization, True)
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    network = build_network(params.acoustic, params.mel.n_mels, 2)
    return AcousticModel(network, params.acoustic, speakers, preparation, {})


@pytest.fixture()
def generate(values: dict[str, Any], tmp_path: Path) -> Callable[..., ShardReader]:
    """A function that generates the toy's mels by an untrained model of a given reduction."""

    def run(**reduction: Any) -> ShardReader:
        shrink_acoustic(values["acoustic"], 16)
        values["acoustic"]["reduction"] |= reduction
        params = check_params(values)
        factor = params.acoustic.reduction.factor
        durations = {}
        for pair, source, target in PAIRS:
            durations[pair] = np.ones(steps_of(FRAMES[source], factor), dtype=np.int32)
            durations[pair][0] += steps_of(FRAMES[target], factor) - len(durations[pair])
        generate_mels(model_of(params), Toy(params), durations, PAIRS, tmp_path / "generated", torch.device("cpu"))
        return ShardReader(tmp_path / "generated")

    return run


@pytest.mark.parametrize("reduction", [
    {}, {"factor": 1}, {"factor": 4, "prosody_factor": 1}, {"prosody_factor": 6}, {"by": "mean"},
    {"by": "mean", "loss": "steps", "factor": 2}, {"by": "slice", "factor": 6, "prosody_factor": 3},
], ids=str)
def test_lesson_31_generated_mels_have_the_targets_length(
    generate: Callable[..., ShardReader], reduction: dict[str, Any]
) -> None:
    generated = generate(**reduction)
    for pair, _, target in PAIRS:
        assert generated.get(pair, "mel").shape == (FRAMES[target], 80)
