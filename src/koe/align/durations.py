"""From a path to durations: how many reduced steps of the target each reduced step of the source lasts."""

import numpy as np

from koe.acoustic.reduction import steps_of


def source_positions(
    path: np.ndarray, source_silent: np.ndarray | None = None, target_silent: np.ndarray | None = None
) -> np.ndarray:
    """Each target frame's place in the source, in frames: float64, shape (target frames,), never decreasing.

    `path` is (length, 2) of (source frame, target frame), as `koe.align.dtw.dtw` returns it. Where it passes
    through several source frames at one target frame, their mean counts. Given both silence masks (frames,),
    each stretch in which both sides are silent becomes a straight line: noise has nothing to align, and a
    path through it wanders.
    """
    source, target = path[:, 0], path[:, 1]
    positions = np.bincount(target, weights=source) / np.bincount(target)
    if source_silent is None or target_silent is None:
        return positions
    both = source_silent[source] & target_silent[target]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], both, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
        frames = np.arange(target[first], target[last] + 1)
        if len(frames) > 1:
            positions[frames] = np.linspace(source[first], source[last], len(frames))
    return positions


def durations_of(positions: np.ndarray, source_frames: int, reduction_factor: int) -> np.ndarray:
    """Durations of the source's steps in target steps: int32 ≥ 0, shape (source steps,), sum = target steps.

    Each target step belongs to the one source step that the path crosses at the target step's middle, so
    nothing is lost at the end whatever the lengths (lessons 6 and 30). `positions`: see `source_positions`.
    """
    target_frames = len(positions)
    firsts = np.arange(0, target_frames, reduction_factor)
    middles = (firsts + np.minimum(firsts + reduction_factor, target_frames) - 1) / 2
    crossed = np.interp(middles, np.arange(target_frames), positions)
    steps = steps_of(source_frames, reduction_factor)
    owners = np.clip(np.floor((crossed + 0.5) / reduction_factor).astype(np.int64), 0, steps - 1)
    return np.bincount(owners, minlength=steps).astype(np.int32)
