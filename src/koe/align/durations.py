"""From a path to durations: how many reduced steps of the target each reduced step of the source lasts."""

import numpy as np

from koe.steps import steps_of


def path_along(positions: np.ndarray, source_frames: int) -> np.ndarray:
    """The path of single steps, (length, 2) of (source frame, target frame), that stays nearest to `positions`.

    From the first to the last frames of both sides, as `dtw` returns one, so that paths of all methods can be
    measured in the same way.
    """
    target_frames = len(positions)
    last = np.round(positions).astype(np.int64)
    last[-1] = source_frames - 1
    first = np.concatenate([[0], np.minimum(last[:-1] + 1, last[1:])])
    counts = last - first + 1
    targets = np.repeat(np.arange(target_frames), counts)
    starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return np.stack([starts + np.arange(len(targets)), targets], axis=1)


def spread_silence(
    positions: np.ndarray, path: np.ndarray, source_silent: np.ndarray, target_silent: np.ndarray
) -> np.ndarray:
    """`positions` with each stretch of `path` in which both sides are silent made a straight line.

    Noise has nothing to align, and a path through it wanders. The masks are (frames,) of each side.
    """
    positions = positions.copy()
    source, target = path[:, 0], path[:, 1]
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
