"""What others wrote is shown by a terminal, and does not act on it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.terminal import plain, show


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("\x9b2J", r"\x9b2J"), ("a\rb\x08\x07\0", r"a\rb\x08\x07\x00"),
    ("\u202eabc\u2066", r"\u202eabc\u2066"), ("\udcff.wav", r"\udcff.wav"), ("\x7f\u2028", r"\x7f\u2028"),
    ("one\ntwo\tthree", "one\ntwo\tthree"), ("声 é → −3 👩‍🚀", "声 é → −3 👩‍🚀"),
])
def test_what_acts_is_shown(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(text) == plain(ValueError(text)) == shown
    show(text)
    assert capsys.readouterr().out == f"{shown}\n"


@given(st.text())
def test_nothing_is_left_that_acts(text: str) -> None:
    kinds = {unicodedata.category(letter) for letter in plain(text) if letter not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
