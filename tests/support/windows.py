"""Which window each step of a long utterance is converted in, found out from what windows make of it."""

import numpy as np

from koe.tasks.conversion.data import SourceItem
from koe.tasks.conversion.inference import Conversion
from koe.tasks.conversion.windows import Windows, convert_in_windows


def windows_used(item: SourceItem, windows: Windows) -> np.ndarray:
    """The number of the window that each source step's conversion is taken from, (S,)."""

    def convert(pieces: list[SourceItem]) -> list[Conversion]:
        """A step lasts as long as its window's number: durations are joined, not faded."""
        found = []
        for number, piece in enumerate(pieces):
            durations = np.full(len(piece.mel), number, np.int32)
            nothing = np.zeros(durations.sum(), np.float32)
            found.append(Conversion(nothing[:, None], nothing, nothing, durations))
        return found

    return convert_in_windows(convert, [item], windows, 1)[0].durations


def joints_of(item: SourceItem, windows: Windows) -> list[int]:
    """The steps from which on the next window is used."""
    return (1 + np.flatnonzero(np.diff(windows_used(item, windows)))).tolist()
