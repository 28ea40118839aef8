"""Types of parameters: the valid values, defined once, with error messages that name them."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

Positive = Annotated[int, Field(ge=1)]


FftSize = Annotated[int, Field(ge=1, le=2**16)]  # samples; tables of such sizes are made before any weight is compared


Share = Annotated[float, Field(ge=0, le=1)]


Dropout = Annotated[float, Field(ge=0, lt=1)]


Decibels = Annotated[float, Field(le=0, ge=-200)]


Seconds = Annotated[float, Field(ge=0)]


def _composed(name: str) -> str:
    """Unicode has two spellings of が and é, and file systems use both; names are compared in one, NFC."""
    return unicodedata.normalize("NFC", name)


Name = Annotated[str, AfterValidator(_composed)]


def _count_or_share(value: int | float) -> int | float:
    if value < 1 if isinstance(value, int) else not 0 < value < 1:
        raise ValueError("expected a whole number from 1 up, or a share between 0 and 1")
    return value


CountOrShare = Annotated[int | float, AfterValidator(_count_or_share)]


Weight = Annotated[float, Field(ge=0)]


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"{kernel} is even; expected an odd kernel, which keeps frames in place, e.g. {kernel + 1}")
    return kernel


OddKernel = Annotated[Positive, AfterValidator(_odd)]
LARGEST_FACTOR = 6
Factor = Annotated[int, Field(ge=1, le=LARGEST_FACTOR)]  # frames per step
