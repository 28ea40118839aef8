"""What a voice is before the mouth shapes it: a pulse train where F0 is known, noise elsewhere."""

import numpy as np

from koe.audio.params import MelParams
from koe.audio.pitch import continuous_log_f0

_BLOCK = 1 << 20  # samples computed at a time
_BREATH = 0.03  # noise in voiced frames, relative to the pulses; from 0.1 on voicing is lost (measured)


def source_of(f0: np.ndarray, mel_params: MelParams, generator: np.random.Generator) -> np.ndarray:
    """Pulses and noise for F0 (frames,) in Hz, 0 = unvoiced: float32 (frames * hop_length, 2).

    The pulses are 0 where unvoiced and have unit power elsewhere, the noise is white and has unit power everywhere.
    The first pulse falls at random.
    """
    samples = len(f0) * mel_params.hop_length
    noise = generator.standard_normal(samples, dtype=np.float32)
    pulses, voiced = _pulses(f0, mel_params.hop_length, mel_params.sample_rate, generator.uniform(0, np.pi))
    return np.stack([voiced * pulses, noise], axis=-1, dtype=np.float32)


def excitation(f0: np.ndarray, hop_length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Pulses where voiced, else noise, of about unit power, for F0 (frames,): float32 (frames * hop_length,)."""
    noise = generator.standard_normal(len(f0) * hop_length)
    if not f0.any():
        return noise.astype(np.float32)
    pulses, voiced = _pulses(f0, hop_length, sample_rate, 0.0)
    return (voiced * pulses + (1 - voiced + _BREATH) * noise).astype(np.float32)


def _pulses(f0: np.ndarray, hop_length: int, sample_rate: int, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """Pulses, and how far each sample is voiced, from 0 to 1: (samples,), float32.

    The pulses hold every harmonic below half the rate at equal strength (the Dirichlet kernel of the running phase),
    so that any spectral envelope can be laid over them. F0 and voicing are interpolated between frame centres.
    """
    samples = len(f0) * hop_length
    pulses, voicing = np.zeros(samples, np.float32), np.zeros(samples, np.float32)
    if not f0.any():
        return pulses, voicing
    log_f0, voiced = continuous_log_f0(f0)
    frames = np.arange(len(f0))
    for start in range(0, samples, _BLOCK):  # an hour in double precision would not fit into memory
        part = slice(start, min(start + _BLOCK, samples))
        time = (np.arange(part.start, part.stop) + 0.5) / hop_length - 0.5
        frequency = np.exp(np.interp(time, frames, log_f0))
        half_phase = phase + np.pi * np.cumsum(frequency) / sample_rate
        phase = half_phase[-1] % (2 * np.pi)
        harmonics = np.maximum(1, np.floor(sample_rate / 2 / frequency))
        sine = np.sin(half_phase)
        peak = np.abs(sine) < 1e-4
        kernel = np.sin((2 * harmonics + 1) * half_phase) / np.where(peak, 1.0, sine)
        pulses[part] = (np.where(peak, 2 * harmonics + 1, kernel) - 1) / np.sqrt(2 * harmonics)
        voicing[part] = np.interp(time, frames, voiced.astype(np.float64))
    return pulses, voicing
