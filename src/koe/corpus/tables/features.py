"""The table of extracted features: what `extract` measures on each utterance that it keeps."""

from koe.tables import Table

FEATURES = Table("table.csv", {
    "utterance": str,
    "frames": int,
    "voiced": float,  # share of the frames
    "f0_median": float,  # Hz
    "f0_low": float,  # Hz, 5th percentile
    "f0_high": float,  # Hz, 95th percentile
    "f0_pressed": float,  # share of voiced frames near the ends of the range
})
