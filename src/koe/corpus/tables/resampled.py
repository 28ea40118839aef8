"""The table of resampled recordings: what `resample` measures on each."""

from koe.tables import Table

RESAMPLED = Table("table.csv", {
    "utterance": str,
    "seconds": float,
    "samples": int,
    "peak_db": float,  # dB of full scale
    "rms_db": float,
    "clipped": float,  # share of samples
    "native_rate": int,  # Hz
    "lufs": float,
    "noise_db": float,  # dB of full scale
    "gain_db": float,  # of loudness normalisation
    "digest": str,  # of the samples
})
