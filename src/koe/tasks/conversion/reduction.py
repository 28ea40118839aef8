"""The reduction factor: R frames become one step, and steps become frames again (`acoustic.reduction`).

There are three methods. `reshape` puts the frames of a step side by side and predicts all of them (as Tacotron does).
`mean` and `slice` keep one frame per step, the mean or the first; the prediction for a step then stands for all of its
frames. Values of pitch and energy are reduced from frames too, at their own rate: from one frame up to several steps.

No frame is lost: `steps = ceil(frames / R)`; the last, partial step is filled up with the last frame (`reshape`) or
reduced from the frames that it has, masked in losses, and cut again at the end (lesson 30).
"""

import numpy as np

from koe.steps import average_frames, slice_frames, stack_frames, steps_of
from koe.tasks.conversion.params import ReductionParams


def frames_per_value(reduction: ReductionParams) -> int:
    """Frames that one value of pitch and of energy stands for."""
    return reduction.factor if reduction.prosody_factor is None else reduction.prosody_factor


def values_per_step(reduction: ReductionParams) -> int:
    """Values of pitch and of energy in one step; 1 where a value stands for a step or more."""
    return max(1, reduction.factor // frames_per_value(reduction))


def steps_per_value(reduction: ReductionParams) -> int:
    """Steps that one value of pitch and of energy stands for; 1 where a step has one or more."""
    return max(1, frames_per_value(reduction) // reduction.factor)


def values_of(steps: int, reduction: ReductionParams) -> int:
    """Values of pitch, and of energy, in `steps` steps."""
    return steps_of(steps * reduction.factor, frames_per_value(reduction))


def frames_predicted(reduction: ReductionParams) -> int:
    """Frames of mel in the input and in the prediction of a step: all of its frames, or one that stands for them."""
    return reduction.factor if reduction.by == "reshape" else 1


def reduce_mel(mel: np.ndarray, reduction: ReductionParams) -> np.ndarray:
    """(frames, n_mels) → (steps, n_mels times `frames_predicted`), by `reduction.by`."""
    reduce = {"reshape": stack_frames, "mean": average_frames, "slice": slice_frames}[reduction.by]
    return reduce(mel, reduction.factor)


def reduce_prosody(values: np.ndarray, reduction: ReductionParams) -> np.ndarray:
    """(frames,) → the values of the steps that hold these frames, (values_of(steps),), by `reduction.prosody_by`.

    If a step has several values, the last one is repeated to fill the last step.
    """
    reduce = {"mean": average_frames, "slice": slice_frames}[reduction.prosody_by]
    reduced = reduce(values, frames_per_value(reduction))
    filled = values_of(steps_of(len(values), reduction.factor), reduction)
    return np.concatenate([reduced, np.repeat(reduced[-1:], filled - len(reduced))])
