"""Aligners by name: two log-mels in, durations and what is needed to judge them out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from koe.align.dtw import distances, dtw
from koe.align.durations import durations_of, source_positions
from koe.align.features import comparison_features, silent_frames
from koe.params import AlignParams, MelParams


@dataclass(frozen=True)
class Diagnostics:
    """How far an alignment can be trusted (lesson 8)."""

    cost: float  # mean distance of the frames that were matched
    slope: float  # target frames per source frame, of the line that fits the path best
    longest_run: float  # seconds of the target that one source step stands for, the longest
    skipped: float  # share of source steps of duration 0


@dataclass(frozen=True)
class Alignment:
    """One pair's alignment."""

    durations: np.ndarray  # (source steps,) int32 ≥ 0, in target steps; their sum is the target's steps
    positions: np.ndarray  # (target frames,) float64, never decreasing: each's place in the source, frames
    diagnostics: Diagnostics


# What a method returns: `positions` as in Alignment, and its cost per frame.
Aligner = Callable[[np.ndarray, np.ndarray, MelParams, AlignParams], tuple[np.ndarray, float]]


def align_dtw(
    source_mel: np.ndarray, target_mel: np.ndarray, mel: MelParams, params: AlignParams
) -> tuple[np.ndarray, float]:
    """Dynamic time warping of mel bands or mel-cepstra, silence spread evenly over both sides."""
    cost = distances(comparison_features(source_mel, params), comparison_features(target_mel, params))
    path, cost_per_frame = dtw(cost, params.penalty, round(params.band_seconds * mel.frame_rate))
    if not params.spread_silence:
        return source_positions(path), cost_per_frame
    silences = (silent_frames(side, params.silence_db) for side in (source_mel, target_mel))
    return source_positions(path, *silences), cost_per_frame


ALIGNERS: dict[str, Aligner] = {"dtw": align_dtw}


def align_pair(
    source_mel: np.ndarray, target_mel: np.ndarray, mel: MelParams, params: AlignParams, reduction_factor: int
) -> Alignment:
    """Aligns two log-mels (frames, n_mels) by the method named in `params`, durations at the reduced rate."""
    positions, cost = ALIGNERS[params.method](source_mel, target_mel, mel, params)
    durations = durations_of(positions, len(source_mel), reduction_factor)
    diagnostics = Diagnostics(
        cost=cost,
        slope=_slope(positions, len(source_mel)),
        longest_run=float(durations.max()) * reduction_factor / mel.frame_rate,
        skipped=float(np.mean(durations == 0)),
    )
    return Alignment(durations, positions, diagnostics)


def _slope(positions: np.ndarray, source_frames: int) -> float:
    spread = np.var(positions)
    if spread == 0:  # everything matches one source frame
        return len(positions) / source_frames
    frames = np.arange(len(positions))
    return float(np.mean((positions - positions.mean()) * (frames - frames.mean())) / spread)
