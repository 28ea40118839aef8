"""Monotonic paths through an attention of target steps to source steps: the best one, and places between steps.

A path gives each target step one source step. From one target step to the next it stays, or advances by up to
`longest_advance` source steps, so that sounds can be held, and sounds that the target lacks be skipped. It begins at
most that far into the source, and ends as near to its end: as if a step before both beginnings led to one after both
ends. `koe.align.forward_sum` adds up the same paths.

The argmax of each target step is not a path: where attention is undecided, as in pauses, it jumps back and forth, and
each jump becomes a duration that is wrong twice.
"""

from functools import lru_cache
from typing import Any

import numba
import numpy as np
from scipy.special import betaln, gammaln

_USUAL_ADVANCE = 3  # source steps per target step: a target of a third of the source's length is still followed


def longest_advance(source_steps: int, target_steps: int) -> int:
    """Source steps that a path may advance at once; more than usual where the target would otherwise be too short."""
    return max(_USUAL_ADVANCE, -(-(source_steps + 1) // (target_steps + 1)))


def best_path(log_attention: np.ndarray) -> np.ndarray:
    """The source step of each target step on the path of the highest sum (Viterbi): int64, (target steps,).

    `log_attention`: log-probabilities, shape (target steps, source steps). Never decreasing. Equal sums: it stays
    rather than advances.
    """
    target_steps, source_steps = log_attention.shape
    return _search(np.ascontiguousarray(log_attention, np.float32), longest_advance(source_steps, target_steps))


def _compiled(signature: str) -> Any:
    return numba.njit(signature, cache=True, nogil=True)  # as in koe.dtw


@_compiled("int64[::1](float32[:,::1], int64)")
def _search(scores: np.ndarray, most: int) -> np.ndarray:
    rows, columns = scores.shape
    advances = np.zeros((rows, columns), np.int64)
    sums = np.full(columns, -np.inf)
    sums[: min(most, columns)] = 0.0
    sums += scores[0]
    for row in range(1, rows):
        before = sums.copy()
        for column in range(columns):
            for advance in range(1, min(most, column) + 1):
                if before[column - advance] > sums[column]:
                    sums[column], advances[row, column] = before[column - advance], advance
            sums[column] += scores[row, column]
    first = max(0, columns - most)
    path = np.empty(rows, np.int64)
    path[-1] = first + np.argmax(sums[first:])
    for row in range(rows - 1, 0, -1):
        path[row - 1] = path[row] - advances[row, path[row]]
    return path


def positions_between(path: np.ndarray, factor: int, source_frames: int, target_frames: int) -> np.ndarray:
    """Each target frame's place in the source, frames: float64, (target frames,), never decreasing.

    `path` is of steps of `factor` frames (`best_path`). A source step spreads evenly over the target steps that have
    it, and the border between two of them is halfway through what was skipped between them.
    """
    changes = np.flatnonzero(np.diff(path)) + 1
    target_borders = np.concatenate([[0], changes * factor, [target_frames]])
    source_borders = np.concatenate([[0], (path[changes - 1] + 1 + path[changes]) / 2 * factor, [source_frames]])
    middles = np.interp(np.arange(target_frames) + 0.5, target_borders, source_borders)
    return np.clip(middles - 0.5, 0, source_frames - 1)


@lru_cache(maxsize=1024)
def log_prior(source_steps: int, target_steps: int) -> np.ndarray:
    """Log-probability of each source step for each target step before anything is known: (target, source), float32.

    Beta-binomial (Shih et al. 2021, RAD-TTS; Badlani et al. 2022, eq. 5): a band along the straight line between the
    corners, narrow at both ends, which gives learning a start and keeps repeated sounds apart.
    """
    steps, alpha = np.arange(source_steps), np.arange(1.0, target_steps + 1)[:, None]
    beta, last = target_steps - alpha + 1, source_steps - 1
    choose = gammaln(last + 1) - gammaln(steps + 1) - gammaln(last - steps + 1)
    return (choose + betaln(steps + alpha, last - steps + beta) - betaln(alpha, beta)).astype(np.float32)


def focus_rate(log_attention: np.ndarray) -> float:
    """Mean over target steps of the largest weight, 0 to 1: how decided an attention is (Ren et al. 2019, eq. 5).

    `log_attention`: log-weights, shape (target steps, source steps).
    """
    return float(np.exp(log_attention.max(axis=1)).mean())
