"""Frames and steps: R frames become one step, and no frame is lost: `steps = ceil(frames / R)` (lesson 30)."""

import numpy as np


def steps_of(frames: int, factor: int) -> int:
    """Number of steps that hold that many frames."""
    return -(-frames // factor)


def batch_steps(steps: int) -> int:
    """Length of a batch whose longest sequence has that many steps: the next multiple of 16.

    On a CPU, kernels are prepared for each new shape, which takes a quarter of a training step; multiples keep the
    number of shapes small.
    """
    return -(-steps // 16) * 16


def stack_frames(mel: np.ndarray, factor: int) -> np.ndarray:
    """(frames, n_mels) → (steps, factor * n_mels), the last frame repeated to fill the last step."""
    frames, bands = mel.shape
    steps = steps_of(frames, factor)
    padded = np.concatenate([mel, np.repeat(mel[-1:], steps * factor - frames, axis=0)])
    return padded.reshape(steps, factor * bands)


def average_frames(values: np.ndarray, factor: int) -> np.ndarray:
    """(frames, …) → (steps, …): the mean over each step's real frames."""
    starts = np.arange(0, len(values), factor)
    counts = np.minimum(factor, len(values) - starts).reshape(-1, *[1] * (values.ndim - 1))
    return (np.add.reduceat(values.astype(np.float64), starts, axis=0) / counts).astype(np.float32)


def slice_frames(values: np.ndarray, factor: int) -> np.ndarray:
    """(frames, …) → (steps, …): the first frame of each step."""
    return values[::factor]
