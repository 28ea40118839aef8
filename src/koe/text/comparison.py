"""Comparison of texts by letters and digits alone, regardless of case, width, punctuation and spaces."""

import unicodedata


def canonical(text: str) -> str:
    """The text's letters and digits, in NFKC and without case: `Please call Stella!` is `pleasecallstella`."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def same_text(left: str, right: str) -> bool:
    """Whether two texts are the same sentence."""
    return left == right or canonical(left) == canonical(right)
