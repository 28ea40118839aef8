"""Alignment of one pair: the path that a method finds, the durations made of it, and diagnostics to judge them by.

The methods: `dtw_aligner` here; `koe.align.neural` for those that are trained (`koe.align.registry` chooses by name).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from koe.align.durations import durations_of, path_along, spread_silence
from koe.align.features import comparison_features, silent_frames
from koe.align.params import AlignParams
from koe.audio.grid import frame_rate
from koe.audio.params import MelParams
from koe.dtw import distances, dtw, source_positions


@dataclass(frozen=True)
class Side:
    """One of the two utterances of a pair."""

    mel: np.ndarray  # log-mel, never normalised, (frames, n_mels)
    speaker: str  # `<corpus>/<speaker>`


@dataclass(frozen=True)
class Diagnostics:
    """How far an alignment can be trusted (lesson 8). The same measures for all methods."""

    cost: float  # mean distance, in the features that DTW compares, of the frames that were matched
    slope: float  # target frames per source frame, of the line that fits the path best
    longest_run: float  # seconds: the longest stretch of the target that one source step stands for
    skipped: float  # share of source steps of duration 0
    focus: float  # focus rate of the attention, 0 to 1; NaN for DTW, which has none


@dataclass(frozen=True)
class Alignment:
    """Alignment of one pair."""

    durations: np.ndarray  # (source steps,) int32 ≥ 0, in target steps; their sum is the target's steps
    positions: np.ndarray  # (target frames,) float64, never decreasing: each's place in the source, frames
    diagnostics: Diagnostics


@dataclass(frozen=True)
class FramePath:
    """Result of a method."""

    path: np.ndarray  # (length, 2) of (source frame, target frame), in single steps from both first to both last
    positions: np.ndarray  # (target frames,), as in Alignment
    focus: float = float("nan")  # as in Diagnostics


Aligner = Callable[[Side, Side], FramePath]  # source, target


def dtw_aligner(mel_params: MelParams, params: AlignParams) -> Aligner:
    """Dynamic time warping of mel bands or mel-cepstra."""
    return partial(_align_dtw, mel_params, params)


def _align_dtw(mel_params: MelParams, params: AlignParams, source: Side, target: Side) -> FramePath:
    path, _ = dtw(_costs(source, target, params), params.penalty, round(params.band_seconds * frame_rate(mel_params)))
    return FramePath(path, source_positions(path))


def _costs(source: Side, target: Side, params: AlignParams) -> np.ndarray:
    return distances(comparison_features(source.mel, params), comparison_features(target.mel, params))


def align_pair(
    aligner: Aligner, source: Side, target: Side, mel_params: MelParams, params: AlignParams, reduction_factor: int
) -> Alignment:
    """Aligns two utterances: durations at the reduced rate, silence spread evenly over both sides if that is on."""
    match = aligner(source, target)
    positions = match.positions
    if params.spread_silence:
        source_silent = silent_frames(source.mel, params.silence_db)
        target_silent = silent_frames(target.mel, params.silence_db)
        positions = spread_silence(positions, match.path, source_silent, target_silent)
    durations = durations_of(positions, len(source.mel), reduction_factor)
    path = path_along(positions, len(source.mel))
    diagnostics = Diagnostics(
        cost=float(_costs(source, target, params)[path[:, 0], path[:, 1]].mean()),
        slope=_slope(positions, len(source.mel)),
        longest_run=float(durations.max()) * reduction_factor / frame_rate(mel_params),
        skipped=float(np.mean(durations == 0)),
        focus=match.focus,
    )
    return Alignment(durations, positions, diagnostics)


def _slope(positions: np.ndarray, source_frames: int) -> float:
    spread = np.var(positions)
    if spread == 0:  # everything matches one source frame
        return len(positions) / source_frames
    frames = np.arange(len(positions))
    return float(np.mean((positions - positions.mean()) * (frames - frames.mean())) / spread)
