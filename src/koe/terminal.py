"""Text for a terminal: names, notes and files that somebody else wrote are shown, and do not act on it."""

import re

# Control characters but tab and line end, what reverses the order of letters, and what is not Unicode.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: object) -> str:
    """The text with an escape, such as `\\x1b`, for each letter that a terminal obeys or cannot show."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))


def show(text: object = "") -> None:
    """Prints a text, `plain`."""
    print(plain(text))
