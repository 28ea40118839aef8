"""Groups of utterances of similar length, which vocoders compute together with little padding and bounded memory."""

from collections.abc import Sequence

BATCH_FRAMES = 2000  # padded frames computed together


def groups_by_length(lengths: Sequence[int], most_frames: int = BATCH_FRAMES) -> list[list[int]]:
    """Indices of utterances to compute together, shortest first.

    A group holds at most `most_frames` frames, padding counted, or a single utterance.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if groups and (len(groups[-1]) + 1) * lengths[index] <= most_frames:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
