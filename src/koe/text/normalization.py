"""Normalisation of text for word and character error rates: no case, no punctuation, numbers in words."""

import re
import unicodedata

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
             "nine": "ninth", "twelve": "twelfth"}
_SYMBOLS = {"%": " percent ", "&": " and ", "+": " plus ", "@": " at "}


def normalize(text: str) -> str:
    """Lower case, numbers spelled out, hyphens to spaces, all other punctuation and accents gone, single spaces."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(character for character in text if not unicodedata.combining(character))
    text = re.sub(r"\$ ?(\d+(?:,\d{3})*)", r"\1 dollars", text)
    text = re.sub(r"\b\d{1,3}(?:,\d{3})+\b", lambda match: cardinal(int(match[0].replace(",", ""))), text)
    text = re.sub(r"\b(\d+)\.(\d+)\b", lambda match: _decimal(*match.groups()), text)
    text = re.sub(r"\b(\d{1,2}):(\d{2})\b", lambda match: _time(*match.groups()), text)
    text = re.sub(r"\b(\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1])), text)
    text = re.sub(r"\d+", lambda match: f" {_number(match[0])} ", text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = re.sub(r"['’`]", "", text)
    return " ".join(re.sub(r"[^\w\s]|_", " ", text).split())


def cardinal(number: int) -> str:
    """A whole number below 10^12 in words, American style: 215 is two hundred fifteen."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
    size, name = next(scale for scale in _SCALES if number >= scale[0])
    return f"{cardinal(number // size)} {name}" + (f" {cardinal(number % size)}" if number % size else "")


def ordinal(number: int) -> str:
    """An ordinal number in words: 21 is twenty first."""
    *before, last = cardinal(number).split()
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return " ".join([*before, last])


def _number(digits: str) -> str:
    number = int(digits)
    if len(digits) > 12 or (digits.startswith("0") and len(digits) > 1):
        return " ".join(_ONES[int(digit)] for digit in digits)
    if len(digits) == 4 and 1100 <= number < 2100 and number % 1000 >= 10:  # a year, more often than not
        return f"{cardinal(number // 100)} {_end_of_year(number % 100)}"
    return cardinal(number)


def _end_of_year(rest: int) -> str:
    if rest == 0:
        return "hundred"
    return f"oh {_ONES[rest]}" if rest < 10 else cardinal(rest)


def _decimal(whole: str, fraction: str) -> str:
    return f"{cardinal(int(whole))} point " + " ".join(_ONES[int(digit)] for digit in fraction)


def _time(hours: str, minutes: str) -> str:
    if minutes == "00":
        return cardinal(int(hours))
    return f"{cardinal(int(hours))} " + (f"oh {_ONES[int(minutes)]}" if minutes[0] == "0" else cardinal(int(minutes)))
