"""An estimate of the mean opinion score: how natural a listener would call it, 1 (bad) to 5 (excellent)."""

import numpy as np
import torch

from koe.listeners.packaged import mos_predictor


def estimate_mos(wave: np.ndarray) -> float:
    """DistillMOS of a waveform (samples,) at 16 kHz. Its loudness does not matter."""
    with torch.inference_mode():
        return float(mos_predictor()(torch.from_numpy(wave)[None]))
