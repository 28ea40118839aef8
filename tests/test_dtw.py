"""The path, against a plain implementation and by its properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.dtw import distances, dtw


def lowest_sum(cost: np.ndarray, penalty: float) -> float:
    """The cheapest path's sum, penalties included, by the recursion as it is written down."""
    best = np.full(cost.shape, np.inf)
    for row, column in np.ndindex(cost.shape):
        before = [0.0] if row == column == 0 else []
        if row and column:
            before.append(best[row - 1, column - 1])
        if row:
            before.append(best[row - 1, column] + penalty)
        if column:
            before.append(best[row, column - 1] + penalty)
        best[row, column] = min(before) + cost[row, column]
    return float(best[-1, -1])


def check_path(path: np.ndarray, shape: tuple[int, int]) -> None:
    assert tuple(path[0]) == (0, 0)
    assert tuple(path[-1]) == (shape[0] - 1, shape[1] - 1)
    steps = {tuple(step) for step in np.diff(path, axis=0)}
    assert steps <= {(1, 0), (0, 1), (1, 1)}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.floats(0, 2), st.integers(0, 2**31))
def test_no_path_is_cheaper(rows: int, columns: int, penalty: float, seed: int) -> None:
    cost = np.random.default_rng(seed).random((rows, columns)).astype(np.float32)
    path, mean = dtw(cost, penalty)
    check_path(path, cost.shape)
    along = cost[path[:, 0], path[:, 1]]
    assert mean == pytest.approx(along.mean(), rel=1e-5)
    sideways = (np.diff(path, axis=0).sum(axis=1) == 1).sum()
    price = penalty * float(cost.mean())
    assert along.sum() + sideways * price == pytest.approx(lowest_sum(cost, price), rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 20))
def test_a_band_always_leaves_a_path(rows: int, columns: int, band: int) -> None:
    cost = np.random.default_rng(rows).random((rows, columns)).astype(np.float32)
    path, _ = dtw(cost, 0.1, band)
    check_path(path, cost.shape)
    if 2 * columns > rows > 1 and columns <= 2 * rows:  # not widened by more than two frames
        line = path[:, 0] * (columns - 1) / (rows - 1)
        assert np.abs(path[:, 1] - line).max() <= band + 4


def test_equal_sequences_meet_on_the_diagonal() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    path, cost = dtw(distances(features, features))
    np.testing.assert_array_equal(path, np.repeat(np.arange(40)[:, None], 2, axis=1))
    assert cost == pytest.approx(0, abs=1e-2)


def test_a_penalty_removes_stairs_from_steady_sound() -> None:
    cost = np.random.default_rng(0).random((80, 80)).astype(np.float32)
    stairs, straight = (dtw(cost, penalty)[0] for penalty in (0.0, 3.0))
    assert len(straight) < len(stairs)


def test_distances_are_root_mean_square() -> None:
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(3, 7)), generator.normal(size=(4, 7))
    expected = np.sqrt(np.square(source[:, None] - target[None]).mean(axis=2))
    np.testing.assert_allclose(distances(source, target), expected, rtol=1e-6)
