"""Learning rates follow their published trajectories, per step or per epoch as their names say."""

import numpy as np
import pytest

from koe.training.schedules import exponential_per_epoch, warmup_cosine_per_step


def test_lesson_16_hifigan_rate_decays_per_epoch_as_published() -> None:
    # 2e-4 * 0.999 ** epoch: after the published 3 100 epochs, the log's scheduler moved to steps would give the
    # value of epoch 3 after three steps.
    golden = {0: 2.0e-4, 1: 1.998e-4, 100: 1.809585e-4, 1000: 7.353908e-5, 3100: 8.995877e-06}
    for epoch, rate in golden.items():
        assert exponential_per_epoch(epoch, 2e-4, 0.999) == pytest.approx(rate, rel=1e-5)


def test_warmup_cosine_golden_values() -> None:
    rates = [warmup_cosine_per_step(step, 1e-3, 100, 1000, 1e-5) for step in (0, 49, 99, 100, 550, 999, 1000, 2000)]
    golden = [1e-5, 5e-4, 1e-3, 1e-3, 5.05e-4, 1.0003e-5, 1e-5, 1e-5]
    assert rates == pytest.approx(golden, rel=1e-4)


def test_warmup_rises_and_cosine_falls() -> None:
    rates = np.array([warmup_cosine_per_step(step, 1.0, 10, 100, 0.0) for step in range(100)])
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
