"""What counts as the same text."""

import pytest

from koe.text.normalization import cardinal, normalize, ordinal


@pytest.mark.parametrize(("written", "spoken"), [
    ("The OLD clock, in the hall…", "the old clock in the hall"),
    ("Don’t you think it's five o'clock?", "dont you think its five oclock"),
    ("a well-known café – really!", "a well known cafe really"),
    ("It is 7:30, and 23 people came.", "it is seven thirty and twenty three people came"),
    ("at 8:05 or 9:00", "at eight oh five or nine"),
    ("$5 for 1,250 apples", "five dollars for one thousand two hundred fifty apples"),
    ("50% of 3.14", "fifty percent of three point one four"),
    ("the 21st of May 1984", "the twenty first of may nineteen eighty four"),
    ("in 1906, 1800, 2000 and 2015", "in nineteen oh six eighteen hundred two thousand and twenty fifteen"),
    ("room 007", "room zero zero seven"),
    ("salt & pepper_pot", "salt and pepper pot"),
    ("…?!", ""),
])
def test_normalize(written: str, spoken: str) -> None:
    assert normalize(written) == spoken
    assert normalize(spoken) == spoken


def test_numbers_in_words() -> None:
    assert cardinal(0) == "zero"
    assert cardinal(90) == "ninety"
    assert cardinal(1_000_001) == "one million one"
    assert cardinal(215) == "two hundred fifteen"
    assert [ordinal(number) for number in (1, 2, 5, 8, 12, 20, 33, 100)] == [
        "first", "second", "fifth", "eighth", "twelfth", "twentieth", "thirty third", "one hundredth"]
