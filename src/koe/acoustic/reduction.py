"""The reduction factor: R frames become one step, and steps become frames again (seed log; Tacotron's reshape).

No frame is lost: the last partial step is padded with the last frame, masked in losses, and cut again at the end
(lesson 30). `steps = ceil(frames / R)`.
"""

import numpy as np


def steps_of(frames: int, factor: int) -> int:
    """Steps that hold so many frames."""
    return -(-frames // factor)


def batch_steps(steps: int) -> int:
    """Length of a batch whose longest sequence has so many steps: the next multiple of 16.

    On CPUs kernels are prepared for each new shape, which takes a quarter of a training step; so few shapes occur.
    """
    return -(-steps // 16) * 16


def stack_frames(mel: np.ndarray, factor: int) -> np.ndarray:
    """(frames, n_mels) → (steps, factor * n_mels), the last frame repeated to fill the last step."""
    frames, bands = mel.shape
    steps = steps_of(frames, factor)
    padded = np.concatenate([mel, np.repeat(mel[-1:], steps * factor - frames, axis=0)])
    return padded.reshape(steps, factor * bands)


def unstack_frames(stacked: np.ndarray, factor: int, frames: int) -> np.ndarray:
    """(steps, factor * n_mels) → (frames, n_mels), the last step's padding cut off."""
    steps, width = stacked.shape
    if steps_of(frames, factor) != steps:
        raise ValueError(f"{frames} frames do not make {steps} steps of {factor}")
    return stacked.reshape(steps * factor, width // factor)[:frames]


def average_frames(values: np.ndarray, factor: int) -> np.ndarray:
    """(frames,) → (steps,): the mean over each step's real frames."""
    frames = len(values)
    starts = np.arange(0, frames, factor)
    counts = np.minimum(factor, frames - starts)
    return (np.add.reduceat(values.astype(np.float64), starts) / counts).astype(np.float32)
