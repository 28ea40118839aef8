"""Draws depend on the seed and their own name, on nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from koe.randomness import numpy_generator, seed_for, torch_generator


@given(st.integers(0, 2**63 - 1), st.text(), st.text())
def test_seeds_differ_by_seed_and_name(seed: int, first: str, second: str) -> None:
    assert 0 <= seed_for(seed, first) < 2**63
    assert seed_for(seed, first) != seed_for(seed + 1, first)
    assert (seed_for(seed, first) == seed_for(seed, second)) == (first == second)


def test_names_are_kept_apart() -> None:
    assert len({seed_for(1, "a", "bc"), seed_for(1, "ab", "c"), seed_for(1, "abc"), seed_for(1, "a", "b", "c")}) == 4


def test_seeds_are_the_same_on_every_machine() -> None:
    assert seed_for(20210629, "split", "001") == 1820181118483701088
    assert torch_generator(1, "a").initial_seed() == seed_for(1, "a")
    first, second, other = (numpy_generator(1, name).random(4).tolist() for name in "aab")
    assert first == second != other
