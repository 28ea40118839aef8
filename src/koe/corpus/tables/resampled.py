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
    "channels": str,  # how they became one: mono, average, left, right inverted, … (koe.audio.downmix)
    "downmix_db": float,  # of the result, relative to the loudest channel
    "note": str,  # on a file that was read, but is not quite as it should be (koe.audio.parts)
    "digest": str,  # of the samples
})
