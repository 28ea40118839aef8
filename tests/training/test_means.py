"""Running means count what they were given, across a kill too."""

import json

from koe.training.means import RunningMeans


def test_means_start_anew_after_they_are_taken() -> None:
    means = RunningMeans()
    means.add({"mel": 1.0, "norm": 4.0})
    means.add({"mel": 2.0})
    assert means.take() == {"mel": 1.5, "norm": 4.0}
    means.add({"mel": 8.0})
    assert means.take() == {"mel": 8.0}


def test_means_come_back_from_their_state() -> None:
    whole, before, after = RunningMeans(), RunningMeans(), RunningMeans()
    for value in (0.1, 0.7):
        whole.add({"mel": value})
        before.add({"mel": value})
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for means in (whole, after):
        means.add({"mel": 0.3})
    assert after.take() == whole.take()
