"""Groups of mels of similar length: what vocoders compute together, with little padding and bounded memory."""

from collections.abc import Callable, Sequence

import numpy as np

BATCH_FRAMES = 2000  # padded frames computed together


def in_groups(
    mels: Sequence[np.ndarray],
    synthesize: Callable[[list[np.ndarray]], list[np.ndarray]],
    most_frames: int = BATCH_FRAMES,
) -> list[np.ndarray]:
    """Calls `synthesize` on groups of mels of similar length, and returns all waveforms in the mels' order.

    A group holds at most `most_frames` frames, padding counted, or a single mel.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(mels)), key=lambda index: len(mels[index])):
        if groups and (len(groups[-1]) + 1) * len(mels[index]) <= most_frames:
            groups[-1].append(index)
        else:
            groups.append([index])
    waves: dict[int, np.ndarray] = {}
    for group in groups:
        waves |= zip(group, synthesize([mels[index] for index in group]), strict=True)
    return [waves[index] for index in range(len(mels))]
