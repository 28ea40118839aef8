"""Averages of weights are what their formulas say."""

import torch

from koe.training.averaging import BestWeights, averaged_copy, update_average


def network_of(value: float) -> torch.nn.Sequential:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
        network[1].running_mean.fill_(value)
    network[1].num_batches_tracked.fill_(int(value))
    return network


def test_the_average_starts_quickly_and_ends_at_its_decay() -> None:
    average = averaged_copy(network_of(0.0))
    update_average(average, network_of(1.0), decay=0.5, updates=0)
    assert torch.allclose(average[0].weight, torch.tensor(0.9))  # decay 1/10
    update_average(average, network_of(2.0), decay=0.5, updates=1)
    assert torch.allclose(average[0].weight, torch.tensor(2 - 1.1 * 2 / 11))
    update_average(average, network_of(0.0), decay=0.5, updates=1000)
    assert torch.allclose(average[0].weight, torch.tensor((2 - 1.1 * 2 / 11) / 2))


def test_what_a_batch_norm_measured_is_copied_not_averaged() -> None:
    average = averaged_copy(network_of(0.0))
    update_average(average, network_of(4.0), decay=0.999, updates=10_000)
    assert torch.equal(average[1].running_mean, torch.full((2,), 4.0))
    assert int(average[1].num_batches_tracked) == 4
    assert float(average[1].weight.max()) < 0.01


def test_the_average_is_not_trained_and_shares_nothing() -> None:
    network = network_of(1.0).train()
    average = averaged_copy(network)
    assert network.training and not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    with torch.no_grad():
        network[0].weight.zero_()
    assert float(average[0].weight.min()) == 1.0


def test_the_best_are_kept_and_averaged() -> None:
    best = BestWeights(2)
    for value, judged in ((1.0, 5.0), (2.0, 3.0), (3.0, 7.0), (4.0, 4.0), (5.0, 4.0)):
        best.offer(judged, network_of(value))
    mean = best.mean()
    assert torch.equal(mean["0.weight"], torch.full((2, 2), 3.0))  # of 2 and 4; 5 came later than 4, and is no better
    assert int(mean["1.num_batches_tracked"]) == 2  # of the best


def test_the_best_come_back_from_their_state() -> None:
    best, other = BestWeights(2), BestWeights(2)
    for value, judged in ((1.0, 5.0), (2.0, 3.0)):
        best.offer(judged, network_of(value))
    other.load_state_dict(best.state_dict())
    other.offer(4.0, network_of(8.0))
    assert torch.equal(other.mean()["0.weight"], torch.full((2, 2), 5.0))
