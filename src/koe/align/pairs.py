"""Alignment of all pairs: durations in shards, diagnostics in a table, the worst pairs marked (lesson 8)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.align.aligner import Aligner, Alignment, Side, align_pair, dtw_aligner
from koe.align.params import AlignParams
from koe.align.tables import ALIGNMENT, COMPARISON
from koe.audio.grid import frame_rate
from koe.corpus.dataset import Dataset
from koe.corpus.quarantine import Quarantine
from koe.errors import StoreError
from koe.names import speaker_key
from koe.parallel import thread_map
from koe.progress import progress
from koe.steps import steps_of
from koe.store import ShardReader, ShardWriter


def align_pairs(
    dataset: Dataset, pairs: pd.DataFrame, params: AlignParams, reduction_factor: int, folder: str | Path,
    aligner: Aligner | None = None, comparison: tuple[Aligner, Path] | None = None,
) -> pd.DataFrame:
    """Aligns every pair of `pairs` (columns pair, source, target), writes `folder` and returns its table.

    Writes shards with `durations` and `positions`, alignment.csv and quarantine.csv. No pair is excluded here;
    suspects are marked for a person to look at.

    Args:
        aligner: what aligns; DTW by `params` if not given.
        comparison: a second method for the same pairs, `params.compare`, and a folder for it: shards with its
            `durations`, and comparison.csv: pair, the mean distance of the two paths (ms of the source), and both
            methods' diagnostics, named `<method>.<diagnostic>`.
    """
    folder = Path(folder)
    aligners, folders = [aligner or dtw_aligner(dataset.mel_params, params)], [folder]
    if comparison:
        aligners, folders = [*aligners, comparison[0]], [*folders, comparison[1]]
    rows, compared = [], []
    with ExitStack() as stack:
        writers = [stack.enter_context(ShardWriter(output, {"reduction_factor": reduction_factor}))
                   for output in folders]
        aligned = _alignments(dataset, pairs, aligners, params, reduction_factor)
        for pair, alignments in progress(aligned, "align", total=len(pairs), unit="pair"):
            rows.append(_row(dataset, pair, alignments[0], reduction_factor))
            for writer, alignment in zip(writers, alignments, strict=True):
                _check(f"{folder}: {pair.pair}", alignment.durations, rows[-1]["source_steps"],
                       rows[-1]["target_steps"])
                writer.add(pair.pair, durations=alignment.durations, positions=alignment.positions.astype(np.float32))
            if comparison:
                compared.append(_comparison(pair.pair, alignments, params, frame_rate(dataset.mel_params)))
    table = pd.DataFrame(rows, columns=[name for name in ALIGNMENT.columns if name not in ("suspect", "why")])
    table["why"] = suspicions(table, params)
    table["suspect"] = (table["why"] != "").astype(int)
    table = table[list(ALIGNMENT.columns)]
    ALIGNMENT.write(folder, table)
    if comparison:
        COMPARISON.write(comparison[1], pd.DataFrame(compared))
    Quarantine("align").write(folder)
    return table


def _alignments(
    dataset: Dataset, pairs: pd.DataFrame, aligners: Sequence[Aligner], params: AlignParams, reduction_factor: int
) -> Iterator[tuple[Any, list[Alignment]]]:
    """Every pair's row and alignments, in order. Threads suffice: the searches release the interpreter's lock."""

    def align(pair: Any) -> tuple[Any, list[Alignment]]:
        source, target = (Side(dataset.mel(name), speaker_key(name)) for name in (pair.source, pair.target))
        return pair, [align_pair(aligner, source, target, dataset.mel_params, params, reduction_factor)
                      for aligner in aligners]

    yield from thread_map(align, pairs.itertuples(index=False))


def _comparison(pair: str, alignments: Sequence[Alignment], params: AlignParams, frame_rate: float) -> dict[str, Any]:
    one, other = alignments
    row = {"pair": pair, "distance_ms": 1000 * float(np.abs(one.positions - other.positions).mean()) / frame_rate}
    for method, alignment in zip((params.method, params.compare), alignments, strict=True):
        row |= {f"{method}.{name}": value for name, value in asdict(alignment.diagnostics).items()}
    return row


def _row(dataset: Dataset, pair: Any, alignment: Alignment, reduction_factor: int) -> dict[str, Any]:
    source_frames, target_frames = dataset.frames(pair.source), dataset.frames(pair.target)
    return {
        "pair": pair.pair,
        "source_frames": source_frames, "target_frames": target_frames,
        "source_steps": steps_of(source_frames, reduction_factor),
        "target_steps": steps_of(target_frames, reduction_factor),
        **asdict(alignment.diagnostics),
    }


def suspicions(table: pd.DataFrame, params: AlignParams) -> list[str]:
    """Reasons for a person to look at each pair of an alignment table; empty where nothing is odd."""
    median = table["cost"].median()
    reasons = []
    for row in table.itertuples():
        why = []
        if row.cost > params.suspect_cost * median:
            why.append(f"cost {row.cost:.2f}, {row.cost / median:.2f} times the median")
        if row.longest_run > params.suspect_run_seconds:
            why.append(f"one source step lasts {row.longest_run:.2f} s")
        reasons.append("; ".join(why))
    return reasons


def _check(name: str, durations: np.ndarray, source_steps: int, target_steps: int) -> None:
    """Raises StoreError unless each source step has a duration ≥ 0, summing to the target's (lesson 6)."""
    wrong = None
    if durations.shape != (source_steps,):
        wrong = f"have shape {durations.shape}, the source has {source_steps} steps"
    elif durations.min() < 0:
        wrong = f"go down to {durations.min()}, expected 0 or more"
    elif durations.sum() != target_steps:
        wrong = f"sum to {durations.sum()}, the target has {target_steps} steps"
    if wrong:
        raise StoreError(f"{name}: durations {wrong}; run dvc repro align")


def read_durations(
    folder: str | Path, dataset: Dataset, pairs: pd.DataFrame, reduction_factor: int
) -> dict[str, np.ndarray]:
    """Durations (source steps,) int32 of each pair of `pairs`, by the pair's name.

    Raises StoreError if they were made with another reduction factor, if a pair is missing, or unless each
    has ceil(source frames / R) entries that sum to ceil(target frames / R) (lesson 6).
    """
    reader = ShardReader(folder)
    written = reader.metadata.get("reduction_factor")
    if written != reduction_factor:
        raise StoreError(f"{folder}: reduction_factor is {written} in its shards and {reduction_factor} in "
                         "acoustic.reduction.factor; run dvc repro align")
    durations = {}
    for pair in pairs.itertuples(index=False):
        pair_durations = reader.get(pair.pair, "durations")
        source_steps = steps_of(dataset.frames(pair.source), reduction_factor)
        target_steps = steps_of(dataset.frames(pair.target), reduction_factor)
        _check(f"{folder}: {pair.pair}", pair_durations, source_steps, target_steps)
        durations[pair.pair] = pair_durations
    return durations


def read_positions(folder: str | Path, pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Positions (target frames,) float32 of each pair of `pairs`, see `koe.align.aligner.Alignment`, by its name."""
    reader = ShardReader(folder)
    return {pair: reader.get(pair, "positions") for pair in pairs["pair"]}
