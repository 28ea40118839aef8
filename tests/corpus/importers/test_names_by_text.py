"""Names that say what is said."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.corpus.importers.listing import Recording, named_by_text, text_name


@pytest.mark.parametrize(("left", "right"), [
    ("Please call Stella.", "PLEASE, call stella"), ("It's well-known!", "its well known"), ("ＡＢＣ１２３", "abc 123"),
    ("また、東寺のように、", "また東寺のように"), ("ﾃｽﾄ です。", "テストです"), ("e\u0301te\u0301", "Été")])
def test_one_name_for_one_text(left: str, right: str) -> None:
    assert text_name(left) == text_name(right)
    assert re.fullmatch(r"\w+-[0-9a-f]{6}", text_name(left))


def test_long_texts_with_one_beginning_have_two_names() -> None:
    beginning = "Ask her to bring these things with her from the store"
    first, second = text_name(f"{beginning}."), text_name(f"{beginning}, please.")
    assert first != second and first[:24] == second[:24] == "askhertobringthesethings"


@given(st.text(), st.text())
def test_different_texts_have_different_names(left: str, right: str) -> None:
    letters = [[letter for letter in text if letter.isalnum()] for text in (left, right)]
    if text_name(left) == text_name(right):
        assert len(letters[0]) == 0 or text_name("".join(letters[0])) == text_name("".join(letters[1]))
    assert "/" not in text_name(left)


def test_takes_and_recordings_without_text() -> None:
    def recording(speaker: str, sentence: str, text: str, style: str = "") -> Recording:
        return Recording(speaker, sentence, Path("a.wav"), text, style=style)

    named = named_by_text([recording("ann", "1", "Yes."), recording("ann", "2", "yes!"), recording("bob", "1", "YES"),
                           recording("ann", "3", ""), recording("ann", "ann_4", "?!"),
                           recording("ann", "5", "Yes?", "whisper")])
    yes = text_name("yes")
    assert [each.sentence for each in named] == [yes, f"{yes}-2", yes, "ann_3", "ann_4", yes]
