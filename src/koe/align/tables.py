"""The tables of the stage `align`: the diagnostics of each pair (`koe.align.aligner.Diagnostics`)."""

from koe.tables import Table

ALIGNMENT = Table("alignment.csv", {
    "pair": str,
    "source_frames": int,
    "target_frames": int,
    "source_steps": int,
    "target_steps": int,
    "cost": float,
    "slope": float,
    "longest_run": float,  # seconds
    "skipped": float,  # share of source steps
    "focus": float | None,  # 0 to 1; empty for DTW
    "suspect": int,  # 0 or 1
    "why": str,
})
COMPARISON = Table("comparison.csv", {
    "pair": str,
    "distance_ms": float,  # mean distance between the paths of two methods, ms of the source
}, others=float | None)  # `<method>.<diagnostic>`
