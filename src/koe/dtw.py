"""Dynamic time warping: the alignment of two utterances with the lowest cost (Sakoe & Chiba, 1978)."""

from typing import Any

import numba
import numpy as np

_DIAGONAL, _SOURCE, _TARGET = 0, 1, 2  # the sides that a step advances


def distances(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Root mean square difference of every frame to every frame: (source frames, target frames), float32."""
    squares = np.square(source).sum(axis=1)[:, None] + np.square(target).sum(axis=1)[None, :]
    return np.sqrt(np.maximum(squares - 2 * source @ target.T, 0) / source.shape[1])


def dtw(cost: np.ndarray, penalty: float = 0.0, band: int | None = None) -> tuple[np.ndarray, float]:
    """The path with the lowest sum of costs from the first frames of both sides to the last ones.

    A step advances both sides by one frame, or one side only, which costs an extra `penalty` times the mean of `cost`:
    without it, paths take needless stairs where two sounds are steady. On a tie, both sides advance.

    Args:
        cost: local cost, shape (source frames, target frames).
        penalty: price of a step that advances one side only, in multiples of the mean cost.
        band: half width, in target frames, of the corridor around the straight line between the corners; it
            is widened so that a path always exists. None: no corridor.

    Returns:
        The path, int64, shape (length, 2) of (source frame, target frame), and its mean cost without
        penalties.
    """
    rows, columns = cost.shape
    half = columns if band is None else max(band, -(-columns // rows) + 1)
    cost = np.ascontiguousarray(cost, dtype=np.float32)
    path = _trace(_steps(cost, float(penalty * cost.mean()), half))
    return path, float(cost[path[:, 0], path[:, 1]].mean())


def _compiled(signature: str) -> Any:
    # The signature makes numba compile once, on import, and the cache keeps the result for the next process;
    # without the interpreter's lock, threads align different pairs at the same time.
    return numba.njit(signature, cache=True, nogil=True)


@_compiled("int8[:,::1](float32[:,::1], float64, int64)")
def _steps(cost: np.ndarray, penalty: float, half: int) -> np.ndarray:
    """The best step into every cell of the corridor, shape (rows, columns)."""
    rows, columns = cost.shape
    steps = np.zeros((rows, columns), np.int8)
    previous = np.full(columns, np.inf)
    current = np.full(columns, np.inf)
    slope = (columns - 1) / max(1, rows - 1)
    for row in range(rows):
        centre = int(row * slope)
        current[:] = np.inf
        for column in range(max(0, centre - half), min(columns, centre + half + 1)):
            best, step = np.inf, _DIAGONAL
            if row == 0 and column == 0:
                best = 0.0
            if row > 0 and column > 0:
                best = previous[column - 1]
            if row > 0 and previous[column] + penalty < best:
                best, step = previous[column] + penalty, _SOURCE
            if column > 0 and current[column - 1] + penalty < best:
                best, step = current[column - 1] + penalty, _TARGET
            current[column] = best + cost[row, column]
            steps[row, column] = step
        previous, current = current, previous
    return steps


@_compiled("int64[:,::1](int8[:,::1])")
def _trace(steps: np.ndarray) -> np.ndarray:
    """Follows the steps back from the last cell; returns the path in forward order."""
    row, column = steps.shape[0] - 1, steps.shape[1] - 1
    path = np.empty((row + column + 1, 2), np.int64)
    place = row + column
    path[place, 0], path[place, 1] = row, column
    while row > 0 or column > 0:
        step = steps[row, column]
        if step != _TARGET:
            row -= 1
        if step != _SOURCE:
            column -= 1
        place -= 1
        path[place, 0], path[place, 1] = row, column
    return path[place:].copy()


def source_positions(path: np.ndarray) -> np.ndarray:
    """Each target frame's place in the source, in frames: float64, shape (target frames,), never decreasing.

    `path` is (length, 2) of (source frame, target frame), as returned by `koe.dtw.dtw`. Where it passes
    through several source frames at one target frame, their mean is taken.
    """
    return np.bincount(path[:, 1], weights=path[:, 0]) / np.bincount(path[:, 1])
