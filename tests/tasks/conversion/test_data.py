"""Pairs become batches: lengths agree in every mode, padding is zeros, values are those of the frames."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.names import Direction, Pair
from koe.steps import batch_steps, steps_of
from koe.tasks.conversion.data import PairReader, pad, source_batch, source_item
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams, ReductionParams
from koe.tasks.conversion.reduction import frames_predicted, values_of, values_per_step
from koe.tasks.conversion.schema import check_params

BANDS = 4
DIRECTION = Direction("demo/a", "demo/b")
MODES = [
    {"by": by, "factor": factor, "loss": loss, "prosody_by": prosody_by, "prosody_factor": prosody_factor}
    for by, loss, prosody_by in (("reshape", "frames", "mean"), ("mean", "steps", "mean"), ("slice", "frames", "slice"))
    for factor, prosody_factor in ((1, None), (3, None), (3, 1), (6, 2), (2, 6), (1, 3))
]


class Untouched:
    """Statistics that change nothing."""

    def normalize_mel(self, mel: np.ndarray) -> np.ndarray:
        return mel

    normalize_log_f0 = normalize_energy = normalize_mel


SPEAKERS: Any = SimpleNamespace(
    of_utterance=lambda *features: Untouched(), of_target=lambda speaker: Untouched(),
    voices=lambda direction, heard: None, normalize_target=True, outliers=None)


def features(frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng((frames, seed))
    f0 = np.where(generator.random(frames) < 0.7, generator.uniform(80, 300, frames), 0).astype(np.float32)
    f0[0] = 100.0
    return (generator.normal(size=(frames, BANDS)).astype(np.float32), f0,
            generator.normal(size=frames).astype(np.float32))


class Recordings:
    """A dataset of utterances `demo/<speaker>/<frames>`."""

    def mel(self, name: str) -> np.ndarray:
        return features(int(name.split("/")[-1]))[0]

    def f0(self, name: str) -> np.ndarray:
        return features(int(name.split("/")[-1]))[1]

    def energy(self, name: str) -> np.ndarray:
        return features(int(name.split("/")[-1]))[2]

    def frames(self, name: str) -> int:
        return int(name.split("/")[-1])


def reader_of(reduction: ReductionParams, counts: list[tuple[int, int]]) -> tuple[PairReader, list[Any]]:
    """Pairs of utterances of so many source and target frames, each source step lasting 0 or more target steps."""
    pairs = [Pair(f"{index}", f"demo/a/{source}", f"demo/b/{target}") for index, (source, target) in enumerate(counts)]
    durations = {}
    for pair, (source, target) in zip(pairs, counts, strict=True):
        steps = np.zeros(steps_of(source, reduction.factor), dtype=np.int32)
        steps[np.arange(steps_of(target, reduction.factor)) % len(steps)] += 1
        steps[0] += steps_of(target, reduction.factor) - steps.sum()
        durations[pair.name] = steps
    return PairReader(Recordings(), durations, SPEAKERS, reduction), pairs  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3))
def test_lesson_30_a_batch_has_a_place_for_every_frame_and_value(
    mode: dict[str, Any], counts: list[tuple[int, int]]
) -> None:
    reduction = ReductionParams(**mode)
    reader, pairs = reader_of(reduction, counts)
    batch = reader.batch(pairs)
    source_steps = batch_steps(max(steps_of(source, reduction.factor) for source, _ in counts))
    target_steps = batch_steps(max(steps_of(target, reduction.factor) for _, target in counts))
    assert batch.source.mel.shape == (len(pairs), source_steps, frames_predicted(reduction) * BANDS)
    assert batch.source.pitch.shape == (len(pairs), source_steps * values_per_step(reduction))
    assert batch.target_mel.shape == (len(pairs), target_steps * reduction.factor, BANDS)
    assert batch.prosody.pitch.shape == batch.prosody.energy.shape == (len(pairs), values_of(target_steps, reduction))
    assert batch.target_frames.tolist() == [target for _, target in counts]
    assert batch.durations.sum(dim=1).tolist() == [steps_of(target, reduction.factor) for _, target in counts]
    for row, (_, target) in enumerate(counts):
        assert np.array_equal(batch.target_mel[row, :target], features(target)[0])
        assert not batch.target_mel[row, target:].any()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
def test_a_batch_goes_through_the_model(values: dict[str, Any], mode: dict[str, Any]) -> None:
    values["acoustic"]["reduction"] = mode
    for half in ("encoder", "decoder"):
        values["acoustic"][half]["layers"] = 1
    params: AcousticParams = check_params(values).acoustic
    reader, pairs = reader_of(params.reduction, [(35, 31), (7, 10)])
    batch = reader.batch(pairs)
    output = NARS2S(params, BANDS).eval()(batch.source, batch.durations, batch.prosody)
    assert output.mel.shape == batch.target_mel.shape
    assert output.pitch.shape == batch.prosody.pitch.shape


def test_source_prosody_stands_where_its_frames_are() -> None:
    """Seven frames, three a step: values finer than a step fill the last one; coarser ones are repeated by step."""
    mel, f0, energy = features(7)
    energies = {
        1: [*energy, energy[6], energy[6]],
        3: [energy[0], energy[3], energy[6]],
        6: [energy[0], energy[0], energy[6]],
    }
    for prosody_factor, expected in energies.items():
        reduction = ReductionParams(
            by="slice", factor=3, loss="frames", prosody_by="slice", prosody_factor=prosody_factor)
        item = source_item(mel, f0, energy, SPEAKERS, DIRECTION, reduction)
        assert item.energy.tolist() == [pytest.approx(value) for value in expected]
        assert len(item.mel) == len(item.voiced) == 3
        assert source_batch([item, item]).energy.shape == (2, 16 * len(expected) // 3)


def test_padding_is_zeros_to_the_length_of_the_batch() -> None:
    padded = pad([np.ones((3, 2)), np.ones((17, 2))])
    assert padded.shape == (2, 32, 2)
    assert padded.sum(dim=(1, 2)).tolist() == [6, 34]
    assert pad([np.ones(3)], 5).tolist() == [[1, 1, 1, 0, 0]]


@settings(deadline=None)
@given(source=st.integers(7, 60), target=st.integers(7, 60), starts=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_what_is_skipped_at_the_beginning_is_gone_from_everything(
    source: int, target: int, starts: tuple[int, int]
) -> None:
    reduction = ReductionParams(by="reshape", factor=3, loss="frames", prosody_by="mean", prosody_factor=None)
    reader, pairs = reader_of(reduction, [(source, target)])
    reader.positions = {pairs[0].name: np.linspace(0, source - 1, target)}
    batch = reader.batch(pairs, np.array([starts]))
    rest = source - starts[0], target - starts[1]
    assert batch.target_frames.tolist() == [rest[1]]
    assert np.array_equal(batch.target_mel[0, : rest[1]], features(target)[0][starts[1] :])
    assert batch.source.steps.tolist() == [steps_of(rest[0], 3)]
    assert np.array_equal(batch.source.mel[0, 0, :BANDS], features(source)[0][starts[0]])
    assert int(batch.durations.sum()) == steps_of(rest[1], 3)
