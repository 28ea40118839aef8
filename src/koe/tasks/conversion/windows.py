"""Utterances longer than those of training: converted in overlapping windows, and joined where it is quiet.

The model is not trained on attention over a minute of speech, whose memory grows with the square of the length. So a
long utterance is cut into windows of equal length, as long as training's longest recording. The joint is the quietest
source step in the middle of each overlap: steps before it are taken from the earlier window, steps from it on from the
later one, so that every source step occurs once in the result.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from koe.steps import steps_of
from koe.tasks.conversion.data import SourceItem
from koe.tasks.conversion.inference import Conversion

FADE_FRAMES = 8  # length of the crossfade at a joint, half of it on either side

Span = tuple[int, int]  # first and last (excluded) source step


@dataclass(frozen=True)
class Windows:
    """Size of windows."""

    steps: int  # length of a window, source steps
    overlap: int  # smallest overlap of neighbours, source steps

    @classmethod
    def of_frames(cls, frames: int, overlap: int, factor: int) -> "Windows":
        """Windows of `frames` frames that overlap by `overlap` frames or more; `overlap` is capped at half a window."""
        steps = steps_of(frames, factor)
        return cls(steps, min(steps_of(overlap, factor), steps // 2))

    def spans(self, steps: int) -> list[Span]:
        """The windows over `steps` steps, spread evenly."""
        if steps <= self.steps:
            return [(0, steps)]
        further = steps_of(steps - self.steps, self.steps - self.overlap)
        begins = [index * (steps - self.steps) // further for index in range(further + 1)]
        return [(begin, begin + self.steps) for begin in begins]


def convert_in_windows(
    convert: Callable[[list[SourceItem]], list[Conversion]], items: list[SourceItem], windows: Windows, factor: int
) -> list[Conversion]:
    """Converts items by `convert`, those longer than a window in windows; the windows of all items in one call.

    `convert` returns conversions in the order of its items, of `factor` frames per step. An item that fits into one
    window is passed on unchanged.
    """
    spans = [windows.spans(len(item.mel)) for item in items]
    pieces = iter(convert([
        item if len(item_spans) == 1 else _cut(item, span)
        for item, item_spans in zip(items, spans, strict=True) for span in item_spans
    ]))
    return [
        _join([next(pieces) for _ in item_spans], item_spans, _joints(item, item_spans, windows.overlap), factor)
        for item, item_spans in zip(items, spans, strict=True)
    ]


def _cut(item: SourceItem, span: Span) -> SourceItem:
    """The steps of a span, with their values of pitch and energy."""
    steps = slice(*span)
    pitch, energy = (_by_step(values, item)[steps].ravel() for values in (item.pitch, item.energy))
    return replace(item, mel=item.mel[steps], voiced=item.voiced[steps], pitch=pitch, energy=energy)


def _by_step(values: np.ndarray, item: SourceItem) -> np.ndarray:
    """Values of pitch or energy as (S, values per step)."""
    return values.reshape(len(item.mel), -1)


def _joints(item: SourceItem, spans: list[Span], overlap: int) -> list[int]:
    """The first step that is used of each window but the first: the quietest in the middle of its overlap with the
    window before.

    Half of `overlap` is searched, so that on both sides of a joint both windows have a quarter of it or more.
    """
    loudness = _by_step(item.energy, item).mean(axis=1)
    joints = []
    for (_, end), (begin, _) in pairwise(spans):
        middle, reach = (begin + end) // 2, overlap // 4
        candidates = np.arange(middle - reach, middle + reach + 1)
        joints.append(int(candidates[np.argmin(loudness[candidates])]))
    return joints


def _join(windows: list[Conversion], spans: list[Span], joints: list[int], factor: int) -> Conversion:
    """One conversion of the whole utterance."""
    joined = windows[0]
    for window, (begin, _), joint in zip(windows[1:], spans[1:], joints, strict=True):
        joined = _join_two(joined, window, joint, joint - begin, factor)
    return joined


def _join_two(before: Conversion, after: Conversion, before_steps: int, after_steps: int, factor: int) -> Conversion:
    """The first `before_steps` of `before` and `after` without its first `after_steps`, crossfaded at the joint."""
    left = int(before.durations[:before_steps].sum()) * factor
    right = int(after.durations[:after_steps].sum()) * factor
    reach = min(FADE_FRAMES // 2, left, right, len(before.mel) - left, len(after.mel) - right)
    share = (np.arange(2 * reach) + 0.5) / (2 * reach) if reach else np.zeros(0)
    ending, beginning = slice(left - reach, left + reach), slice(right - reach, right + reach)

    def around(first: np.ndarray, faded: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first[: left - reach], faded.astype(first.dtype), second[right + reach :]])

    return Conversion(
        mel=around(before.mel, _fade(before.mel[ending], after.mel[beginning], share[:, None]), after.mel),
        f0=around(before.f0, _fade_f0(before.f0[ending], after.f0[beginning], share), after.f0),
        energy=around(before.energy, _fade(before.energy[ending], after.energy[beginning], share), after.energy),
        durations=np.concatenate([before.durations[:before_steps], after.durations[after_steps:]]),
    )


def _fade(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return (1 - share) * first + share * second


def _fade_f0(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Fades F0 where both are voiced; elsewhere the one with the larger share is taken, as 0 Hz is not a pitch."""
    return np.where((first > 0) & (second > 0), _fade(first, second, share), np.where(share < 0.5, first, second))
