"""The table of results: what was measured under each condition, and how far what was made has come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from koe.evaluation.metric import Metric, Values
from koe.files import read_json
from koe.pipeline.declaration import EVALUATION, Evaluation, PipelineFolder


def conditions(summary: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Values]:
    """metrics/evaluation.json as rows by condition, in the declared order. Only what is there."""
    rows = dict(_rows(summary))
    return {name: rows[name] for name in evaluation.ordered(rows)}


def _rows(summary: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Values]]:
    """Conditions are nested at their dots; one holds numbers."""
    for name, values in summary.items():
        if not isinstance(values, Mapping):
            continue
        if values and all(isinstance(value, Mapping) for value in values.values()):
            yield from _rows(values, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values


@dataclass(frozen=True)
class Change:
    """How a value stands between the start's and the best that its condition can reach."""

    difference: float
    better: bool
    share: float | None  # of the way from start to ceiling; None where the ceiling is not better than the start


def change(metric: Metric, rows: Mapping[str, Values], condition: str, evaluation: Evaluation) -> Change | None:
    """The change from the start to what was made; None for references and where a value is missing."""
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
    """A number of the table. `change` and `difference` are there for what was made."""

    text: str
    change: Change | None
    difference: str


def style_of(condition: str, evaluation: Evaluation) -> str:
    """The style class of a condition: what was made is emphasised."""
    return "converted" if evaluation.condition(condition).made else condition.rpartition(".")[2]


def result_rows(summary: Mapping[str, Any], evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The rows of the table: label, style class and cells."""
    rows = conditions(summary, evaluation)
    for condition, values in rows.items():
        cells = []
        for metric in evaluation.metrics:
            moved = change(metric, rows, condition, evaluation)
            difference = metric.text(moved.difference, sign="+") if moved else ""
            cells.append(ResultCell(metric.text(values.get(metric.name)), moved, difference))
        yield {"label": evaluation.label(condition), "kind": style_of(condition, evaluation), "cells": cells}


def load_results(folder: PipelineFolder) -> dict[str, Any]:
    """For results.html.jinja. Without metrics/evaluation.json it says that nothing was evaluated."""
    evaluation, path = folder.pipeline.evaluation, folder.path / f"{EVALUATION}.json"
    results = list(result_rows(read_json(path), evaluation)) if path.exists() else []
    start = evaluation.label(evaluation.start) if evaluation.start else ""
    return {"metrics": evaluation.metrics, "results": results, "start": start, "note": evaluation.note}
