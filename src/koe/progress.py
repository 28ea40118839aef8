"""Progress with a rate and the time that is left: a bar on a terminal, elsewhere a line every half minute."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
INTERVAL = 30.0  # seconds between lines where standard error is no terminal, and before the first
_LINE = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left{postfix}"


def progress(items: Iterable[Item], description: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Passes `items` through and shows how many have passed."""
    with progress_bar(description, total, unit) as shown:
        for item in items:
            yield item
            shown.update()


def progress_bar(description: str, total: int | None, unit: str, done: int = 0) -> "tqdm[Any]":
    """A bar to be updated by hand; `done`: where it begins."""
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, desc=description, unit=unit, dynamic_ncols=True)
    return tqdm(total=total, initial=done, desc=description, unit=unit, file=_Lines(), bar_format=_LINE,
                delay=INTERVAL, mininterval=INTERVAL, maxinterval=INTERVAL)


class _Lines:
    """Standard error for tqdm, which otherwise draws over its last line."""

    def write(self, text: str) -> None:
        if text := text.strip():
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()
