"""What a voice is before the mouth shapes it: a pulse train where F0 is known, noise elsewhere."""

import numpy as np

from koe.audio.pitch import continuous_log_f0

_BREATH = 0.03  # noise in voiced frames, relative to the pulses; from 0.1 on voicing is lost (measured)


def excitation(f0: np.ndarray, hop_length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Pulses and noise of about unit power for F0 (frames,) in Hz, 0 = unvoiced: float32 (frames * hop_length,).

    The pulses hold every harmonic below half the rate at equal strength (the Dirichlet kernel of the running phase),
    so that any spectral envelope can be laid over them. F0 and voicing are interpolated between frame centres.
    """
    samples = len(f0) * hop_length
    noise = generator.standard_normal(samples)
    if not f0.any():
        return noise.astype(np.float32)
    log_f0, voiced = continuous_log_f0(f0)
    time = (np.arange(samples) + 0.5) / hop_length - 0.5
    frames = np.arange(len(f0))
    frequency = np.exp(np.interp(time, frames, log_f0))
    share = np.interp(time, frames, voiced.astype(np.float64))
    half_phase = np.pi * np.cumsum(frequency) / sample_rate
    harmonics = np.floor(sample_rate / 2 / frequency)
    sine = np.sin(half_phase)
    peak = np.abs(sine) < 1e-4
    kernel = np.sin((2 * harmonics + 1) * half_phase) / np.where(peak, 1.0, sine)
    pulses = (np.where(peak, 2 * harmonics + 1, kernel) - 1) / np.sqrt(2 * harmonics)
    return (share * pulses + (1 - share + _BREATH) * noise).astype(np.float32)
