"""The table of results: the metrics under each condition, and the progress from the start towards the ceiling."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from koe.evaluation.metric import Metric, Values
from koe.files import read_json, understood
from koe.pipeline.declaration import EVALUATION, Evaluation, PipelineFolder


def conditions(summary: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Values]:
    """metrics/evaluation.json as rows by condition, in the declared order. Conditions that it lacks are left out."""
    rows = dict(_rows(summary))
    return {name: rows[name] for name in evaluation.ordered(rows)}


def _rows(summary: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Values]]:
    """Conditions and their metrics. The file nests conditions at the dots of their names."""
    for name, values in summary.items():
        if not isinstance(values, Mapping):
            continue
        if values and all(isinstance(value, Mapping) for value in values.values()):
            yield from _rows(values, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values


@dataclass(frozen=True)
class Change:
    """The position of a value between the start's value and the ceiling of its condition."""

    difference: float
    better: bool
    share: float | None  # of the way from start to ceiling, 0 to 1; None if the ceiling is not better than the start


def change(metric: Metric, rows: Mapping[str, Values], condition: str, evaluation: Evaluation) -> Change | None:
    """The change from the start to a condition; None for references and if a value is missing."""
    value, start = rows[condition].get(metric.name), rows.get(evaluation.start, {}).get(metric.name)
    if not evaluation.condition(condition).made or value is None or start is None:
        return None
    end = rows.get(evaluation.ceiling(condition), {}).get(metric.name)
    gained = metric.badness(start) - metric.badness(value)
    possible = metric.badness(start) - metric.badness(end) if end is not None else 0.0
    share = min(max(gained / possible, 0.0), 1.0) if possible > 0 else None
    return Change(value - start, gained > 0, share)


@dataclass(frozen=True)
class ResultCell:
    """A cell of the table."""

    text: str
    change: Change | None  # None for references
    difference: str  # to the start, as text; empty without a change


def style_of(condition: str, evaluation: Evaluation) -> str:
    """The style class of a condition; those that the model made are emphasised."""
    return "converted" if evaluation.condition(condition).made else condition.rpartition(".")[2]


def result_rows(summary: Mapping[str, Any], evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The rows of the table, each with label, style class and cells."""
    rows = conditions(summary, evaluation)
    for condition, values in rows.items():
        cells = []
        for metric in evaluation.metrics:
            progress = change(metric, rows, condition, evaluation)
            difference = metric.text(progress.difference, sign="+") if progress else ""
            cells.append(ResultCell(metric.text(values.get(metric.name)), progress, difference))
        yield {"label": evaluation.label(condition), "kind": style_of(condition, evaluation), "cells": cells}


def load_results(folder: PipelineFolder) -> dict[str, Any]:
    """For results.html.jinja. There are no results without metrics/evaluation.json."""
    evaluation, path = folder.pipeline.evaluation, folder.path / f"{EVALUATION}.json"
    with understood(path):
        results = list(result_rows(read_json(path), evaluation)) if path.exists() else []
    start = evaluation.label(evaluation.start) if evaluation.start else ""
    return {"metrics": evaluation.metrics, "results": results, "start": start, "note": evaluation.note}
