"""Windows over long utterances: what they cover, where they are joined, and that joints are not heard."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.windows import joints_of, windows_used

from koe.corpus.statistics import NOTHING
from koe.tasks.conversion.data import SourceItem
from koe.tasks.conversion.inference import Conversion
from koe.tasks.conversion.windows import FADE_FRAMES, Windows, convert_in_windows

FACTOR = 3


def item_of(steps: int, values_per_step: int = 1, seed: int = 0) -> SourceItem:
    """Steps of two bands that wander slowly, some of them unvoiced, and quiet at every 40th step."""
    generator = np.random.default_rng(seed)
    mel = np.cumsum(generator.normal(0, 0.1, (steps, 2)), axis=0).astype(np.float32)
    energy = np.repeat(np.where(np.arange(steps) % 40 == 39, -3.0, 0.0), values_per_step)
    return SourceItem(mel, np.repeat(mel[:, 0], values_per_step), energy, np.arange(steps) % 20 > 3, NOTHING, None)


def local(items: list[SourceItem]) -> list[Conversion]:
    """A model without context: a step becomes 0, 1 or 2 steps of frames that say what it holds."""
    found = []
    for item in items:
        durations = np.abs(np.round(item.mel[:, 1])).astype(np.int32) % 3
        repeats = durations * FACTOR
        pitch = item.pitch.reshape(len(item.mel), -1)[:, 0]
        f0 = np.repeat(np.where(item.voiced, np.exp(pitch / 10) * 100, 0), repeats).astype(np.float32)
        energy = np.repeat(item.energy.reshape(len(item.mel), -1)[:, -1], repeats)
        found.append(Conversion(np.repeat(item.mel, repeats, axis=0), f0, energy.astype(np.float32), durations))
    return found


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 120), st.integers(0, 120))
def test_windows_cover_every_step_and_are_used_for_every_step_once(steps: int, length: int, overlap: int) -> None:
    windows = Windows.of_frames(length * FACTOR, overlap * FACTOR, FACTOR)
    spans = windows.spans(steps)
    assert spans[0][0] == 0 and spans[-1][1] == steps
    assert all(end - begin == min(steps, windows.steps) for begin, end in spans)
    used = windows_used(item_of(steps), windows)
    assert len(used) == steps and (np.diff(used) >= 0).all()
    for number, ((_, end), (begin, _)) in enumerate(pairwise(spans)):
        assert end - begin >= windows.overlap
        joint = np.count_nonzero(used <= number)
        assert begin + windows.overlap // 4 - 1 <= joint <= end - windows.overlap // 4 + 1


@pytest.mark.parametrize("values_per_step", [1, 3])
def test_a_model_without_context_converts_the_same_in_windows(values_per_step: int) -> None:
    item = item_of(500, values_per_step)
    [whole] = local([item])
    [joined] = convert_in_windows(local, [item], Windows(100, 40), FACTOR)
    for field in ("mel", "f0", "energy", "durations"):
        assert np.allclose(getattr(joined, field), getattr(whole, field), atol=1e-5), field


def test_what_fits_into_a_window_is_passed_on_untouched_and_order_is_kept() -> None:
    seen: list[SourceItem] = []

    def convert(items: list[SourceItem]) -> list[Conversion]:
        seen.extend(items)
        return local(items)

    short, long, exact = item_of(30), item_of(250, seed=1), item_of(100, seed=2)
    found = convert_in_windows(convert, [short, long, exact], Windows(100, 40), FACTOR)
    assert seen[0] is short and seen[-1] is exact and len(seen) == 2 + 4
    assert [len(conversion.durations) for conversion in found] == [30, 250, 100]


def test_joints_are_at_the_quietest_step_of_the_middle() -> None:
    windows = Windows(100, 80)
    joints = joints_of(item_of(500), windows)
    assert len(joints) >= 10 and all(joint % 40 == 39 for joint in joints)


def test_windows_that_disagree_are_faded() -> None:
    """Two windows a level apart: no frame jumps by more than a share of it, and 0 Hz is not mixed with a pitch."""
    levels = iter((0.0, 8.0))

    def convert(items: list[SourceItem]) -> list[Conversion]:
        found = []
        for item in items:
            level, frames = next(levels), len(item.mel) * FACTOR
            f0 = np.where(np.repeat(item.voiced, FACTOR), 100 + 10 * level, 0).astype(np.float32)
            found.append(Conversion(np.full((frames, 2), level, np.float32), f0, np.full(frames, level, np.float32),
                                    np.ones(len(item.mel), np.int32)))
        return found

    [joined] = convert_in_windows(convert, [item_of(150)], Windows(100, 40), FACTOR)
    assert np.abs(np.diff(joined.mel, axis=0)).max() <= 8.0 / FADE_FRAMES + 1e-6
    assert np.abs(np.diff(joined.energy)).max() <= 8.0 / FADE_FRAMES + 1e-6
    assert len(joined.mel) == 150 * FACTOR == len(joined.f0)
    assert ((joined.f0 == 0) | (joined.f0 >= 100)).all()
