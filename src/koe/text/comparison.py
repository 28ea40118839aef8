"""When two texts say the same: letters and digits alone, whatever the case, width, punctuation and spaces."""

import unicodedata


def canonical(text: str) -> str:
    """The text's letters and digits, NFKC, without case: `Please call Stella!` is `pleasecallstella`."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def same_text(left: str, right: str) -> bool:
    """Whether two texts say the same sentence."""
    return left == right or canonical(left) == canonical(right)
