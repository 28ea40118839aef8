"""Learning rates follow their published trajectories, per step or per epoch as their names say."""

from typing import Any

import numpy as np
import pytest

from koe.tasks.conversion.params import TeacherForcingParams
from koe.tasks.conversion.teacher_forcing import teacher_forced_share
from koe.training.params import ScheduleParams
from koe.training.schedules import cosine_per_step, exponential_per_epoch, noam_per_step, rate


def schedule(name: str, **changes: Any) -> ScheduleParams:
    given = {"name": name, "learning_rate": 1.0, "warmup_steps": 0, "final_learning_rate": 0.0, "decay": 0.5,
             "anneal_steps": [], "anneal_rate": 1.0, **changes}
    return ScheduleParams.model_validate(given)


def test_lesson_16_hifigan_rate_decays_per_epoch_as_published() -> None:
    # 2e-4 * 0.999 ** epoch: after the published 3 100 epochs, the log's scheduler moved to steps would give the
    # value of epoch 3 after three steps.
    golden = {0: 2.0e-4, 1: 1.998e-4, 100: 1.809585e-4, 1000: 7.353908e-5, 3100: 8.995877e-06}
    for epoch, expected in golden.items():
        assert exponential_per_epoch(epoch, 2e-4, 0.999) == pytest.approx(expected, rel=1e-5)


def test_lesson_16_noam_is_as_published_per_step() -> None:
    # FastSpeech 2's public code: hidden 256, warm-up 4000, rate times 0.3 after 300 000, 400 000 and 500 000 steps,
    # steps counted from 1. With 256 ** -0.5 = 1/16 and 4000 ** -1.5 = 1 / (4000 * 63.2455532):
    golden = {
        1: 2.470529e-7,
        100: 2.470529e-5,
        2000: 4.941059e-4,
        4000: 9.882118e-4,  # the peak, 1 / (16 * 63.2455532)
        16000: 4.941059e-4,  # half, at four times the steps
        250000: 1.25e-4,  # 1 / (16 * 500)
        300000: 1.141089e-4,
        300001: 3.423260e-5,  # 0.3 times it
        360000: 3.125e-5,  # 0.3 / (16 * 600)
        490000: 8.035714e-6,  # 0.3 ** 2 / (16 * 700)
        640000: 2.109375e-6,  # 0.3 ** 3 / (16 * 800)
    }
    published = schedule("noam_per_step", warmup_steps=4000, anneal_steps=[300000, 400000, 500000], anneal_rate=0.3)
    for count, expected in golden.items():
        assert rate(published, count - 1, 0, 900000, 256) == pytest.approx(expected, rel=1e-6), count


def test_noam_rises_to_the_warm_up_and_falls_after_it() -> None:
    rates = np.array([noam_per_step(step, 1.0, 50, 64) for step in range(200)])
    assert (np.diff(rates[:50]) > 0).all() and (np.diff(rates[50:]) < 0).all()


def test_warmup_cosine_golden_values() -> None:
    rates = [cosine_per_step(step, 1e-3, 100, 1000, 1e-5) for step in (0, 49, 99, 100, 550, 999, 1000, 2000)]
    golden = [1e-5, 5e-4, 1e-3, 1e-3, 5.05e-4, 1.0003e-5, 1e-5, 1e-5]
    assert rates == pytest.approx(golden, rel=1e-4)


@pytest.mark.parametrize(("name", "changes", "golden"), [
    ("cosine_per_step", {}, [1.0, 0.853553, 0.5, 0.146447]),  # (1 + cos(n π / 4)) / 2
    ("cosine_per_step", {"warmup_steps": 2}, [0.5, 1.0, 1.0, 0.5]),
    ("exponential_per_step", {}, [1.0, 0.5, 0.25, 0.125]),
    ("exponential_per_step", {"warmup_steps": 2}, [0.5, 0.5, 0.25, 0.125]),
    ("exponential_per_epoch", {}, [1.0, 1.0, 0.5, 0.5]),
    ("constant", {}, [1.0, 1.0, 1.0, 1.0]),
    ("constant", {"warmup_steps": 4}, [0.25, 0.5, 0.75, 1.0]),
    ("constant", {"anneal_steps": [1, 3], "anneal_rate": 0.1}, [1.0, 0.1, 0.1, 0.01]),
    ("exponential_per_step", {"anneal_steps": [2], "anneal_rate": 0.1}, [1.0, 0.5, 0.025, 0.0125]),
    ("noam_per_step", {"warmup_steps": 1}, [0.5, 0.353553, 0.288675, 0.25]),  # 4 ** -0.5 * n ** -0.5
])
def test_lesson_16_four_steps_in_two_epochs(name: str, changes: dict[str, Any], golden: list[float]) -> None:
    rates = [rate(schedule(name, **changes), step, step // 2, 4, 4) for step in range(4)]
    assert rates == pytest.approx(golden, rel=1e-5)


@pytest.mark.parametrize(("given", "shares"), [
    ((1.0, 1.0, 0, 0), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ((0.0, 0.0, 0, 0), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ((1.0, 0.0, 1, 5), [1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
    ((0.5, 1.0, 2, 2), [0.5, 0.5, 1.0, 1.0, 1.0, 1.0]),
])
def test_lesson_29_teacher_forcing_goes_in_a_straight_line(
    given: tuple[float, float, int, int], shares: list[float]
) -> None:
    start, end, first, last = given
    forcing = TeacherForcingParams(start=start, end=end, from_step=first, until_step=last)
    assert [teacher_forced_share(forcing, step) for step in range(6)] == shares
