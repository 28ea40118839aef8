"""The paired bootstrap: it covers, pairing narrows it, equal runs give exactly nothing, rates are pooled."""

import numpy as np
import pytest

from koe.evaluation.bootstrap import FEWEST, RESAMPLES, interval, paired_resamples
from koe.randomness import numpy_generator


def difference_interval(
    before: np.ndarray, after: np.ndarray, resamples: int = RESAMPLES, name: object = ""
) -> tuple[float, float]:
    totals = np.stack([before, after])
    aggregates = paired_resamples(totals, np.ones_like(totals), numpy_generator(0, "bootstrap", name), resamples)
    return interval(aggregates[1] - aggregates[0], len(before))


@pytest.mark.parametrize("utterances", [FEWEST, 20])
def test_95_of_100_intervals_hold_the_true_difference(utterances: int) -> None:
    generator, covered, trials = np.random.default_rng(0), 0, 600
    for trial in range(trials):
        difficulty = generator.normal(5, 2, utterances)
        before = difficulty + generator.normal(0, 0.5, utterances)
        after = difficulty + 0.3 + generator.normal(0, 0.5, utterances)
        low, high = difference_interval(before, after, 500, trial)
        covered += low <= 0.3 <= high
    assert 0.92 <= covered / trials <= 0.98


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(0)
    difficulty = generator.normal(5, 2, 30)
    before, after = (difficulty + generator.normal(0, 0.1, 30) for _ in range(2))
    paired = np.diff(difference_interval(before, after))
    unpaired = np.diff(difference_interval(before, generator.permutation(after)))
    assert paired < unpaired / 5


def test_identical_runs_differ_by_exactly_nothing() -> None:
    values = np.random.default_rng(0).normal(5, 2, 20)
    assert difference_interval(values, values.copy()) == (0.0, 0.0)


def test_error_rates_are_pooled_over_words() -> None:
    errors, words = np.array([[1.0, 0.0, 8.0]]), np.array([[2.0, 4.0, 16.0]])
    rates = paired_resamples(errors, words, np.random.default_rng(0), 2000)[0]
    pooled = {(a + 8 * c) / (2 * a + 4 * b + 16 * c)
              for a in range(4) for b in range(4) for c in range(4) if a + b + c == 3}
    assert {round(rate, 9) for rate in rates} == {round(rate, 9) for rate in pooled}


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = np.random.default_rng(0).normal(5, 2, (2, 20))
    found = difference_interval(before, after)
    assert difference_interval(before, after) == found
    monkeypatch.setattr("koe.evaluation.bootstrap._DRAWN_AT_ONCE", 20 * 700)
    assert difference_interval(before, after) == found


def test_a_few_utterances_say_nothing_of_others() -> None:
    with pytest.raises(ValueError, match="needs 6 utterances or more, got 5"):
        interval(np.zeros(10), 5)
