"""Gradients of parts computed side by side are those of their sum, the same bits whichever part is done first."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from koe.training.replicas import add_gradients, replicas


def parts_of(network: nn.Module, inputs: list[Tensor]) -> list[Callable[[], tuple[Tensor, float]]]:
    def part(x: Tensor) -> tuple[Tensor, float]:
        loss = network(x).square().mean()
        return loss, loss.item()

    return [lambda x=x: part(x) for x in inputs]


@pytest.fixture()
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


def test_gradients_are_those_of_the_sum(network: nn.Module) -> None:
    inputs = [torch.randn(4, 7) for _ in range(3)]
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)  # of an earlier step
    with replicas(3) as pool:
        losses = add_gradients(parameters, parts_of(network, inputs), pool)
    together = torch.stack([network(x).square().mean() for x in inputs])
    assert losses == together.tolist()
    expected = torch.autograd.grad(together.sum(), parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_order_of_finishing_leaves_no_trace(network: nn.Module) -> None:
    inputs = [1000 * torch.randn(4, 7), torch.randn(4, 7), 1e-3 * torch.randn(4, 7)]
    parameters = list(network.parameters())
    in_turn = parts_of(network, inputs)
    add_gradients(parameters, in_turn)
    expected = [parameter.grad for parameter in parameters]

    def late(part: Callable[[], tuple[Tensor, float]], seconds: float) -> Callable[[], tuple[Tensor, float]]:
        return lambda: (time.sleep(seconds), part())[1]

    with replicas(3) as pool:
        add_gradients(parameters, [late(part, wait) for part, wait in zip(in_turn, (0.1, 0.05, 0), strict=True)], pool)
    assert all(torch.equal(parameter.grad, before) for parameter, before in zip(parameters, expected, strict=True))


def test_gradients_are_laid_out_as_parameters_are_and_belong_to_one() -> None:
    square, twin = nn.Parameter(torch.arange(6.0).view(2, 3)), nn.Parameter(torch.ones(2, 3))

    def part() -> tuple[Tensor, None]:
        return ((square + twin).t().contiguous() * torch.arange(6.0).view(3, 2)).sum(), None

    add_gradients([square, twin], [part, part])
    for parameter in (square, twin):
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()
        assert torch.equal(parameter.grad, 2 * torch.arange(6.0).view(3, 2).t())
    assert square.grad.data_ptr() != twin.grad.data_ptr()


def test_what_is_frozen_or_unused_gets_no_gradient(network: nn.Module) -> None:
    frozen, unused = network[0].weight.requires_grad_(False), nn.Parameter(torch.ones(2))
    add_gradients([*network.parameters(), unused], parts_of(network, [torch.randn(4, 7), torch.randn(2, 7)]))
    assert frozen.grad is None
    assert unused.grad is None
    assert network[2].weight.grad is not None


def test_threads_share_the_cores_out_and_give_them_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with replicas(2) as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [2, 2]
        with replicas(8) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 4
        with replicas(1) as alone:
            assert alone is None
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_part_arrives(network: nn.Module) -> None:
    broken = [lambda: network(torch.ones(1, 6))]  # of another width
    with replicas(2) as pool, pytest.raises(RuntimeError, match="shapes"):
        add_gradients(list(network.parameters()), broken, pool)
