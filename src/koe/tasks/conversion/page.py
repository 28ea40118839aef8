"""The page's blocks that only conversion has: alignments, alignment methods compared, results by direction."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.align.params import AlignParams
from koe.align.tables import ALIGNMENT, COMPARISON
from koe.audio.grid import frame_rate
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.evaluation.measure import DIRECTIONS
from koe.evaluation.metric import MISSING
from koe.pipeline.declaration import Evaluation, PipelineFolder
from koe.report.clips import Clip, dataset_of, direction_of, players, texts_of, trimmed_clip
from koe.report.drawing import PATH_CLASSES, alignment_svg, paths_svg
from koe.report.results import load_results
from koe.store import ShardReader

Row = Mapping[Hashable, Any]  # a table's row, by column
_DIAGNOSTICS = (("cost", "{:.3f}", "max"), ("longest_run", "{:.2f}", "max"), ("skipped", "{:.1%}", "max"),
                ("focus", "{:.2f}", "min"))  # column, format, the aggregate that is the worst value


@dataclass(frozen=True)
class DrawnAlignment:
    """The alignments of a pair."""

    row: Row  # of alignment.csv
    direction: str  # source → target
    text: str
    source: Clip
    target: Clip
    durations: Mapping[str, np.ndarray]  # (source steps,) target steps, by method; the one in use first


def load_results_by_direction(folder: PipelineFolder) -> dict[str, Any]:
    """Values for directions.html.jinja: the results, and those of each direction if there are several."""
    evaluation = folder.pipeline.evaluation
    rows = load_directions(folder.path / "metrics", evaluation.headline_of(folder.values))
    return {**load_results(folder), "directions": draw_directions(rows, evaluation)}


def load_directions(folder: Path, condition: str) -> list[Row]:
    """Results of `condition` by source and target speaker; none if there is only one direction."""
    table = DIRECTIONS.read(folder)
    rows = table[table["condition"] == condition].astype(object).where(table.notna(), None).to_dict("records")
    return rows if len(rows) > 1 else []


def draw_directions(rows: Sequence[Row], evaluation: Evaluation) -> list[dict[Hashable, Any]]:
    """Rows with their metrics formatted."""
    return [{**row, "cells": [metric.text(row[metric.name]) for metric in evaluation.metrics]} for row in rows]


def load_alignment(folder: PipelineFolder) -> dict[str, Any]:
    """Values for alignment.html.jinja: the worst pairs, and a second method's distances if align.compare names one."""
    params, dataset = folder.params, dataset_of(folder)
    return draw_alignment(
        load_alignments(dataset, params.align, params.report.alignments),
        COMPARISON.read(dataset.data / "comparison") if params.align.compare else None,
        params,
    )


def load_alignments(dataset: Dataset, align: AlignParams, count: int) -> list[DrawnAlignment]:
    """The `count` worst pairs: suspects first, then by cost."""
    folder = dataset.data / "alignment"
    table = ALIGNMENT.read(folder)
    table = table.sort_values(["suspect", "cost"], ascending=False, kind="stable")
    pairs = read_pairs(dataset.data / "pairs").set_index("pair")
    readers: dict[str, ShardReader] = {align.method: ShardReader(folder)}
    if align.compare:
        readers[align.compare] = ShardReader(dataset.data / "comparison")
    texts, drawn = texts_of(dataset), []
    for row in table.head(count).to_dict("records"):
        source, target = pairs.loc[row["pair"], ["source", "target"]]
        durations = {method: reader.get(row["pair"], "durations") for method, reader in readers.items()}
        drawn.append(DrawnAlignment(row, direction_of(source, target), texts[target], trimmed_clip(dataset, source),
                                    trimmed_clip(dataset, target), durations))
    return drawn


def draw_alignment(
    alignments: Sequence[DrawnAlignment], comparison: pd.DataFrame | None, params: Any
) -> dict[str, Any]:
    """Drawings of alignments; `comparison`: the table of two methods' paths; `params`: of the pipeline."""
    return {"alignments": [_alignment(item, params) for item in alignments],
            "comparison": None if comparison is None else _comparison(comparison)}


def _alignment(item: DrawnAlignment, params: Any) -> dict[str, Any]:
    row, rate = item.row, params.mel.sample_rate
    source, target = players([item.source, item.target], rate)
    label = f"Each step of the source, above, and where it lies in the target, below: {row['pair']}"
    frames = len(item.source.mel), len(item.target.mel), params.acoustic.reduction.factor
    drawing = alignment_svg(next(iter(item.durations.values())), *frames, label)
    facts = {
        "Source": f"{len(item.source.audio) / rate:.2f} s", "Target": f"{len(item.target.audio) / rate:.2f} s",
        "Cost per frame": f"{row['cost']:.3g}", "Slope": f"{row['slope']:.2f}",
        "Longest step": f"{row['longest_run']:.2f} s", "Skipped steps": f"{100 * row['skipped']:.0f} %",
    }
    if np.isfinite(row["focus"]):
        facts["Focus rate"] = f"{row['focus']:.2f}"
    compared = {}
    if len(item.durations) > 1:
        label = f"How far {' and '.join(item.durations)} are ahead of a straight path, ms of the source: {row['pair']}"
        compared = {"methods": dict(zip(PATH_CLASSES, item.durations, strict=True)),
                    "svg": paths_svg(item.durations, *frames, frame_rate(params.mel), label)}
    return {"pair": row["pair"], "direction": item.direction, "text": item.text, "suspect": bool(row["suspect"]),
            "why": row["why"], "source": source, "target": target, "svg": drawing, "facts": facts,
            "compared": compared}


def _comparison(table: pd.DataFrame) -> dict[str, Any]:
    """The distance of two methods' paths, and their diagnostics, each as median and worst of all pairs."""
    methods = {}
    for method in dict.fromkeys(name.partition(".")[0] for name in table.columns if "." in name):
        cells = []
        for name, form, worst in _DIAGNOSTICS:
            values = table[f"{method}.{name}"].dropna()
            cells.append(f"{form.format(values.median())}, {form.format(getattr(values, worst)())}" if len(values)
                         else MISSING)
        methods[method] = cells
    distances = table["distance_ms"]
    return {"methods": methods, "median": f"{distances.median():.0f}", "worst": f"{distances.max():.0f}",
            "furthest": table.loc[distances.idxmax(), "pair"]}
