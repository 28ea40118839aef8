"""How far a difference between runs can be trusted: the paired bootstrap over utterances.

Utterances are drawn with replacement, the same ones for every run, and the runs' aggregates are computed again. What
makes an utterance hard or easy does so in all runs, and adds no uncertainty to their difference.
"""

import numpy as np
from scipy import stats

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST = 6  # utterances: with five, all differences have the same sign by chance in one of 16 cases
_DRAWN_AT_ONCE = 2**20  # utterances; bounds the memory, however many utterances there are


def paired_resamples(
    totals: np.ndarray, weights: np.ndarray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> np.ndarray:
    """Each run's `sum of totals / sum of weights` over resampled utterances: shape (runs, resamples).

    totals, weights: (runs, utterances). With values and ones the aggregate is a mean; with errors and words it is an
    error rate pooled over utterances, as WER is. Resampling utterances, not words: Bisani and Ney, "Bootstrap
    estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
    """
    utterances = totals.shape[1]
    at_once = max(1, _DRAWN_AT_ONCE // utterances)
    aggregates = []
    for first in range(0, resamples, at_once):
        drawn = generator.integers(utterances, size=(min(at_once, resamples - first), utterances))
        aggregates.append(totals[:, drawn].sum(axis=2) / weights[:, drawn].sum(axis=2))
    return np.concatenate(aggregates, axis=1)


def interval(differences: np.ndarray, utterances: int, level: float = LEVEL) -> tuple[float, float]:
    """The confidence interval of a difference, from its values (resamples,) over resamples of `utterances` utterances.

    Percentiles a little outside the nominal ones, which are too narrow with few utterances: the expanded percentile
    interval of Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.1. Raises ValueError for
    fewer than FEWEST utterances, with which no resample lies further out than the utterances themselves.
    """
    if utterances < FEWEST:
        raise ValueError(f"an interval needs {FEWEST} utterances or more, got {utterances}")
    quantile = np.sqrt(utterances / (utterances - 1)) * stats.t.ppf((1 - level) / 2, utterances - 1)
    tail = float(stats.norm.cdf(quantile))
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)
