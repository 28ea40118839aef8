"""Conversion of batches: adjustments, every way of reduction, long input, and that the same call gives the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.small_parameters import shrink_acoustic
from support.windows import joints_of

from koe.corpus.statistics import Normalization, Statistics
from koe.errors import KoeError
from koe.names import Direction
from koe.statistics import Moments
from koe.steps import steps_of
from koe.tasks.conversion.data import SourceItem, source_batch, source_item
from koe.tasks.conversion.inference import Adjustment, Conversion, convert_items
from koe.tasks.conversion.nars2s import NARS2S, Control, Output, Source
from koe.tasks.conversion.reduction import frames_per_value, reduce_prosody
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.windows import FADE_FRAMES, Windows, convert_in_windows

BANDS = 8
CPU = torch.device("cpu")
REDUCTIONS: list[dict[str, Any]] = [
    {}, {"factor": 1}, {"prosody_factor": 1}, {"prosody_factor": 6, "prosody_by": "slice"},
    {"factor": 4, "prosody_factor": 2}, {"by": "mean", "factor": 2},
    {"by": "slice", "loss": "steps", "prosody_by": "slice"},
]


def small(values: dict[str, Any], **reduction: Any) -> Params:
    shrink_acoustic(values["acoustic"], 16)
    values["acoustic"]["reduction"] |= reduction
    return check_params(values)


def network_of(params: Params, seed: int = 0) -> NARS2S:
    torch.manual_seed(seed)
    return NARS2S(params.acoustic, BANDS).eval()


def statistics() -> Statistics:
    mel, energy = (Moments(9, np.full(shape, -4.0), np.full(shape, 2.0)) for shape in ((BANDS,), ()))
    return Statistics(mel, Moments(9, np.array(5.0), np.array(0.25)), energy)


def item_of(params: Params, frames: int, seed: int = 0, period: int = 60) -> SourceItem:
    """A made-up utterance that repeats itself every `period` frames but for a little noise, with pauses."""
    time = np.arange(frames)
    phase = 2 * np.pi * time / period
    noise = np.random.default_rng(seed).normal(0, 0.1, (frames, BANDS))
    mel = -4 + 2 * np.sin(phase[:, None] + np.arange(BANDS)) + noise
    voiced = time % period < 0.7 * period
    energy = np.where(voiced, -3.0, -7.0) + np.sin(phase)
    normalization = Normalization(params.stats, *[statistics()] * 3)
    direction = Direction("c/a", "c/b")
    speakers = Speakers(params.acoustic.conditioning, (direction,), normalization, True)
    return source_item(mel.astype(np.float32), np.where(voiced, 150 + 30 * np.sin(phase), 0).astype(np.float32),
                       energy.astype(np.float32), speakers, direction, params.acoustic.reduction)


def convert(network: NARS2S, items: list[SourceItem], **changes: Any) -> list[Conversion]:
    return convert_items(network, items, True, 4, CPU, **changes)


def arrays(conversion: Conversion) -> dict[str, np.ndarray]:
    return vars(conversion)


def test_identical_calls_give_identical_bits(values: dict[str, Any]) -> None:
    params = small(values)
    network, items = network_of(params), [item_of(params, frames) for frames in (200, 90, 151, 90, 33)]
    for one, other in zip(convert(network, items), convert(network, items, adjustment=Adjustment()), strict=True):
        for field, value in arrays(one).items():
            assert np.array_equal(value, arrays(other)[field]), field


def test_lesson_31_the_batch_changes_nothing_but_rounding(values: dict[str, Any]) -> None:
    params = small(values)
    network, items = network_of(params), [item_of(params, frames, seed) for seed, frames in enumerate((200, 90, 151))]
    for together, item in zip(convert(network, items), items, strict=True):
        [alone] = convert(network, [item])
        for field, value in arrays(alone).items():
            assert np.allclose(value, arrays(together)[field], atol=1e-4), field


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_lesson_31_lengths_are_exact_however_frames_are_reduced(
    values: dict[str, Any], reduction: dict[str, Any]
) -> None:
    params = small(values, **reduction)
    network, factor = network_of(params), params.acoustic.reduction.factor
    items = [item_of(params, frames) for frames in (100, 37)]
    for conversion in convert(network, items):
        frames = int(conversion.durations.sum()) * factor
        assert conversion.mel.shape == (frames, BANDS) and conversion.f0.shape == conversion.energy.shape == (frames,)
    durations = [np.arange(len(item.mel)) % 3 for item in items]
    for rest in range(factor):
        frames = [int(given.sum()) * factor - rest for given in durations]
        found = convert(network, items, durations=durations, frames=frames)
        assert [len(conversion.mel) for conversion in found] == frames
        assert [len(conversion.f0) for conversion in found] == frames


class Repeating(NARS2S):
    """Says the same energies (V,), in the target's normalised units, whatever it is given."""

    def __init__(self, params: Params, energy: np.ndarray) -> None:
        super().__init__(params.acoustic, BANDS)
        self.said = torch.from_numpy(energy)[None]

    def forward(self, source: Source, durations: torch.Tensor, control: Control, **_: Any) -> Output:
        return replace(super().forward(source, durations, control=control), energy=self.said)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_values_are_put_where_they_were_taken(values: dict[str, Any], reduction: dict[str, Any]) -> None:
    """A line reduced to values, which a network gives back, is the same line; level beyond the outermost values."""
    params = small(values, **reduction)
    factor = params.acoustic.reduction.factor
    for frames in range(12, 25):
        line, steps = np.arange(frames, dtype=np.float32), steps_of(frames, factor)
        taken = reduce_prosody(line, params.acoustic.reduction)
        item, ones = item_of(params, frames), np.ones(steps, np.int32)
        [conversion] = convert_items(Repeating(params, (taken + 4) / 2), [item], True, 1, CPU, [ones], [frames])
        last = taken[steps_of(frames, frames_per_value(params.acoustic.reduction)) - 1]
        assert np.allclose(conversion.energy, np.clip(line, taken[0], last), atol=1e-4)


def test_adjustments_arrive_in_units_of_the_target(values: dict[str, Any]) -> None:
    """An octave up doubles F0, a factor of the amplitude adds its logarithm to the log energy; timing stays."""
    params = small(values)
    network, item = network_of(params), item_of(params, 151)
    [plain] = convert(network, [item])
    [higher] = convert(network, [item], adjustment=Adjustment(pitch=12))
    [louder] = convert(network, [item], adjustment=Adjustment(energy=2.0))
    assert np.allclose(higher.f0, 2 * plain.f0, rtol=1e-4)
    assert np.allclose(louder.energy, plain.energy + np.log(2), atol=1e-4)
    assert np.array_equal(higher.energy, plain.energy) and np.array_equal(louder.f0, plain.f0)
    for changed in (higher, louder):
        assert np.array_equal(changed.durations, plain.durations)
        assert not np.allclose(changed.mel, plain.mel, atol=1e-3)  # the decoder is told


def test_speed_divides_the_length(values: dict[str, Any]) -> None:
    params = small(values)
    network, item = network_of(params), item_of(params, 600)
    steps = {speed: int(convert(network, [item], adjustment=Adjustment(speed=speed))[0].durations.sum())
             for speed in (0.5, 1.0, 2.0)}
    assert abs(steps[0.5] - 2 * steps[1.0]) <= 2 and abs(2 * steps[2.0] - steps[1.0]) <= 2


@pytest.mark.parametrize(("option", "value"), [("pitch", 25.0), ("energy", 0.0), ("speed", 4.5), ("speed", np.nan)])
def test_adjustments_out_of_range_name_the_option(option: str, value: float) -> None:
    with pytest.raises(KoeError, match=rf"--{option} .*expected a number from"):
        Adjustment(**{option: value})


def fixed_durations(network: NARS2S) -> NARS2S:
    """The network with one step, to the digit, for each step of the source."""
    with torch.no_grad():
        network.duration_predictor.out.weight.zero_()
        network.duration_predictor.out.bias.fill_(float(np.log(np.e - 1)))
    return network


def without_attention(network: NARS2S) -> NARS2S:
    """The network with convolutions alone, so that it sees no further than they do."""
    with torch.no_grad():
        for part in (network.encoder, network.decoder):
            for block in part.blocks:
                block.attention.out.weight.zero_()
    return network


def in_windows(network: NARS2S, item: SourceItem, windows: Windows) -> Conversion:
    factor = network.reduction.factor
    return convert_in_windows(lambda items: convert(network, items), [item], windows, factor)[0]


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_a_network_that_sees_locally_converts_the_same_in_windows(
    values: dict[str, Any], reduction: dict[str, Any]
) -> None:
    params = small(values, **reduction)
    network = without_attention(fixed_durations(network_of(params)))
    item, windows = item_of(params, 960), Windows(80, 40)
    [whole], joined = convert(network, [item]), in_windows(network, item, windows)
    assert np.array_equal(joined.durations, whole.durations)
    joints = joints_of(item, windows)
    assert len(joints) > 1
    factor = params.acoustic.reduction.factor
    away = np.ones(len(whole.mel), dtype=bool)
    for joint in joints:
        away[joint * factor - FADE_FRAMES : joint * factor + FADE_FRAMES] = False
    for field in ("mel", "f0", "energy"):
        assert np.allclose(getattr(joined, field)[away], getattr(whole, field)[away], atol=1e-3), field


def trained(params: Params, steps: int = 30) -> NARS2S:
    """A network that has learned a little of speaking as the source does."""
    network = network_of(params).train()
    items = [item_of(params, 90, seed) for seed in range(4)]
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    source = source_batch(items)
    ones = (torch.arange(source.mel.shape[1]) < source.steps[:, None]).long()
    for _ in range(steps):
        output = network(source, ones)
        target = source.mel.reshape(len(items), -1, BANDS)
        loss = (output.mel[:, : target.shape[1]] - target).abs().mean() + (output.durations - ones).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize("make", [network_of, pytest.param(trained, marks=pytest.mark.slow)], ids=["random", "trained"])
def test_long_input_has_its_length_and_no_jump(values: dict[str, Any], make: Callable[[Params], NARS2S]) -> None:
    """Ten times what a window holds: as long as ten parts are, and no jump at joints that stands out. Without the
    cross-fade it is half as large again as the largest elsewhere.
    """
    params = small(values)
    network, factor = make(params), params.acoustic.reduction.factor
    windows = Windows(80, 40)
    item = item_of(params, 2400)
    joined = in_windows(network, item, windows)
    [part] = convert(network, [item_of(params, 240)])
    assert len(joined.mel) == int(joined.durations.sum()) * factor
    assert len(joined.durations) == len(item.mel)
    assert len(joined.mel) == pytest.approx(10 * len(part.mel), rel=0.05)
    ends = np.cumsum(joined.durations) * factor
    at_joints = np.zeros(len(joined.mel) - 1, dtype=bool)
    for joint in joints_of(item, windows):
        at_joints[ends[joint - 1] - FADE_FRAMES : ends[joint - 1] + FADE_FRAMES] = True
    for field in ("mel", "energy"):
        jumps = np.abs(np.diff(getattr(joined, field), axis=0)).reshape(len(at_joints), -1).mean(axis=1)
        assert jumps[at_joints].max() <= 1.2 * jumps[~at_joints].max(), field


def test_a_pause_that_fills_a_window_is_converted(values: dict[str, Any]) -> None:
    params = small(values)
    item = item_of(params, 900)
    item = replace(item, voiced=np.where(np.arange(len(item.voiced)) < 150, False, item.voiced))
    joined = in_windows(network_of(params), item, Windows(80, 40))
    assert np.isfinite(joined.mel).all() and not joined.f0[: int(joined.durations[:140].sum()) * 3].any()
