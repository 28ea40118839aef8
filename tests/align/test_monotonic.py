"""Paths through an attention: the best one and the sum of all, against every path written out."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from koe.align.durations import durations_of
from koe.align.forward_sum import IMPOSSIBLE, forward_sum
from koe.align.monotonic import best_path, focus_rate, log_prior, longest_advance, positions_between
from koe.steps import steps_of


def all_paths(target_steps: int, source_steps: int) -> list[tuple[int, ...]]:
    """Every path as koe.align.monotonic defines them, by trying everything."""
    most = longest_advance(source_steps, target_steps)
    found = []
    for path in itertools.product(range(source_steps), repeat=target_steps):
        advances = np.diff((-1, *path, source_steps))
        inner = advances[1:-1]
        ends = (advances[0], advances[-1])
        if all(1 <= each <= most for each in ends) and all(0 <= each <= most for each in inner):
            found.append(path)
    return found


def attention(target_steps: int, source_steps: int, seed: int = 0) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(0, 2, (target_steps, source_steps))
    return torch.log_softmax(torch.from_numpy(scores), 1).numpy().astype(np.float32)


def along(scores: np.ndarray, path: tuple[int, ...] | np.ndarray) -> float:
    return float(scores[np.arange(len(path)), path].astype(np.float64).sum())


SHAPES = [(1, 1), (1, 5), (5, 1), (2, 6), (4, 4), (5, 3), (3, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_no_path_is_better(shape: tuple[int, int], seed: int) -> None:
    scores = attention(*shape, seed)
    path = best_path(scores)
    assert tuple(path) in all_paths(*shape)
    assert along(scores, path) == pytest.approx(max(along(scores, each) for each in all_paths(*shape)), rel=1e-5)


def test_forward_sum_adds_up_every_path_of_every_pair() -> None:
    batch = torch.full((len(SHAPES), 5, 7), IMPOSSIBLE)
    for index, (target, source) in enumerate(SHAPES):
        batch[index, :target, :source] = torch.from_numpy(attention(target, source, index))
    target_steps, source_steps = torch.tensor(SHAPES).T
    expected = [np.logaddexp.reduce([along(attention(*shape, index), path) for path in all_paths(*shape)])
                for index, shape in enumerate(SHAPES)]
    np.testing.assert_allclose(forward_sum(batch, source_steps, target_steps).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_forward_sum_is_each_cells_share_of_the_paths() -> None:
    scores = torch.from_numpy(attention(4, 4))[None].requires_grad_()
    forward_sum(scores, torch.tensor([4]), torch.tensor([4])).sum().backward()
    weights = {path: np.exp(along(attention(4, 4), path)) for path in all_paths(4, 4)}
    shares = np.zeros((4, 4))
    for path, weight in weights.items():
        shares[np.arange(4), path] += weight / sum(weights.values())
    np.testing.assert_allclose(scores.grad[0].numpy(), shares, atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 6), st.integers(0, 1000))
def test_lesson_06_and_30_durations_of_a_path_cover_every_target_step(
    source_frames: int, target_frames: int, factor: int, seed: int
) -> None:
    steps = steps_of(target_frames, factor), steps_of(source_frames, factor)
    positions = positions_between(best_path(attention(*steps, seed)), factor, source_frames, target_frames)
    assert positions.shape == (target_frames,)
    assert (np.diff(positions) >= 0).all()
    assert positions.min() >= 0 and positions.max() <= source_frames - 1
    durations = durations_of(positions, source_frames, factor)
    assert durations.min() >= 0 and durations.sum() == steps[0]


def test_a_straight_path_is_a_straight_line() -> None:
    np.testing.assert_allclose(positions_between(np.arange(5), 3, 15, 15), np.arange(15))
    twice = positions_between(np.repeat(np.arange(5), 2), 3, 15, 30)
    np.testing.assert_allclose(np.diff(twice)[1:-1], 0.5)


def test_undecided_attention_goes_back_and_forth_but_its_path_does_not() -> None:
    scores = np.log(np.eye(12, dtype=np.float32) + 0.05)
    scores[4:8, 4:8] = np.log(np.random.default_rng(0).uniform(0.4, 0.6, (4, 4)))  # a pause: nothing to tell apart
    assert (np.diff(scores.argmax(axis=1)) < 0).any()
    assert (np.diff(best_path(scores)) >= 0).all()


@pytest.mark.parametrize("source_steps, target_steps", [(1, 1), (1, 9), (9, 1), (20, 31)])
def test_the_prior_is_a_distribution_along_the_diagonal(source_steps: int, target_steps: int) -> None:
    prior = np.exp(log_prior(source_steps, target_steps))
    assert prior.shape == (target_steps, source_steps)
    np.testing.assert_allclose(prior.sum(axis=1), 1, rtol=1e-4)
    means = prior @ np.arange(source_steps)
    np.testing.assert_allclose(means, (source_steps - 1) * np.arange(1, target_steps + 1) / (target_steps + 1),
                               atol=1e-3)


def test_focus_rate_of_known_attentions() -> None:
    with np.errstate(divide="ignore"):
        assert focus_rate(np.log(np.eye(6))) == 1
    assert focus_rate(np.log(np.full((6, 4), 0.25))) == pytest.approx(0.25)
    assert focus_rate(np.log([[0.9, 0.1], [0.5, 0.5]])) == pytest.approx(0.7)
