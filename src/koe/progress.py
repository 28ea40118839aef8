"""Progress with a rate and an end time on a terminal, silence elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Passes `items` through, drawing a bar where standard error is a terminal."""
    yield from tqdm(items, desc=description, total=total, unit=unit, disable=None, dynamic_ncols=True)
