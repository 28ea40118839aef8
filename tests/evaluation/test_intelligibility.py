"""Error counts on known strings; the recogniser itself is heard in test_models.py."""

from koe.evaluation.intelligibility import Errors, count_errors


def test_identical_up_to_spelling() -> None:
    assert count_errors("Twenty-three birds, don't they?", "23 birds don't they.") == Errors(0, 5, 0, 28)


def test_each_kind_of_word_error() -> None:
    assert count_errors("the cat sat on the mat", "the cat sat on mat").word_errors == 1
    assert count_errors("the cat sat on the mat", "the fat cat sat on the mat").word_errors == 1
    assert count_errors("the cat sat on the mat", "the cat sat on the hat") == Errors(1, 6, 1, 22)


def test_nothing_heard_is_all_wrong() -> None:
    assert count_errors("one two", "") == Errors(2, 2, 7, 7)
