"""The page of a comparison: one HTML file that opens from disk, in the style of a pipeline's page.

`build_comparison_page` is pure: it turns a `Comparison` into the values of `comparison.html.jinja`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from koe.audio.grid import frame_rate
from koe.evaluation.bootstrap import FEWEST
from koe.evaluation.metric import MISSING, Metric
from koe.experiments.comparison import (
    ComparedTraining,
    ComparedValue,
    Comparison,
    ConditionTable,
    EqualStep,
    RunRendering,
    Sentence,
)
from koe.pipeline.declaration import Evaluation
from koe.report.clips import player
from koe.report.curves import Curve
from koe.report.drawing import curves_svg, tracks_svg
from koe.report.listening import beside, words_of
from koe.report.page import HERE as REPORT
from koe.report.page import content, templates

_HERE = Path(__file__).parent
_STATES = {"train": "training", "validation": "validated"}  # style classes of curves


def build_comparison_page(comparison: Comparison) -> str:
    """The page as one HTML document that refers to nothing outside itself."""
    runs, evaluation = comparison.runs, comparison.evaluation
    letters = [run.letter for run in runs]
    sentences = [_sentence(sentence, letters, evaluation) for sentence in comparison.sentences]
    first_metric = evaluation.metrics[0].name if evaluation.metrics else ""
    return templates(_HERE, REPORT).get_template("comparison.html.jinja").render(
        style=content(REPORT / "page.css", _HERE / "comparison.css"),
        script=content(REPORT / "page.js", _HERE / "comparison.js"),
        runs=runs,
        title=" and ".join(run.name for run in runs),
        comparison=comparison,
        metrics=evaluation.metrics,
        target=evaluation.target,
        fewest=FEWEST,
        tables=[_table(table) for table in comparison.tables],
        trainings={title: _training(training, letters) for title, training in comparison.trainings.items()},
        sentences=sorted(sentences, key=lambda item: -item["differences"].get(first_metric, -1.0)),
        blind={"identity": _identity(comparison),
               "runs": [{"letter": run.letter, "name": run.name} for run in runs]},
        couples=list(combinations(_audible_runs(comparison), 2)),
    )


def _audible_runs(comparison: Comparison) -> list[int]:
    """Runs that have recordings, by index."""
    first = next(iter(comparison.sentences), None)
    return [item.run for item in first.renderings if item.run is not None] if first else []


def _identity(comparison: Comparison) -> str:
    """The key under which votes are kept. It depends on the recordings, because other ones make another listening test,
    and not on the names of the runs.
    """
    digest = hashlib.sha256()
    for sentence in comparison.sentences:
        for item in sentence.renderings:
            digest.update(item.rendering.clip.audio.tobytes())
    return digest.hexdigest()[:16]


def _table(table: ConditionTable) -> dict[str, Any]:
    return {"title": table.title, "rows": [
        {"metric": measured.metric, "pairs": measured.pairs,
         "cells": [_cell(measured.metric, cell) for cell in measured.cells]} for measured in table.measured]}


def _cell(metric: Metric, cell: ComparedValue) -> dict[str, str]:
    """A cell's texts; those of a missing difference are empty."""
    difference = "" if cell.difference is None else finer(metric).text(cell.difference, sign="+")
    interval = " to ".join(finer(metric).text(end, sign="+") for end in cell.interval or ())
    verdict = cell.verdict or ""
    return {"value": metric.text(cell.value), "difference": difference, "interval": interval,
            "verdict": "no change" if verdict == "equal" else verdict, "kind": verdict.replace(" ", "-")}


def finer(metric: Metric) -> Metric:
    """The metric with one more digit, because differences are small."""
    return replace(metric, digits=metric.digits + 1)


def _training(training: ComparedTraining, letters: Sequence[str]) -> dict[str, Any]:
    return {"charts": [_chart(part, by_run, letters) for part, by_run in training.parts.items()],
            "equal_steps": [_equal_step(row) for row in training.equal_steps]}


def _chart(part: str, by_run: Mapping[int, Mapping[str, Curve]], letters: Sequence[str]) -> dict[str, Any]:
    """The curves of one part, with the last value of each run, of its validation if it has any."""
    series = {f"{letters[run]} {state}": curve for run, states in by_run.items() for state, curve in states.items()}
    classes = {f"{letters[run]} {state}": f"run{run} {_STATES.get(state, 'validated')}"
               for run, states in by_run.items() for state in states}
    ends = [(run, letters[run], f"{states.get('validation', list(states.values())[-1])[-1][1]:.4g}")
            for run, states in by_run.items()]
    label = f"{part} by step: " + ", ".join(f"{letter} ends at {value}" for _, letter, value in ends)
    return {"part": part, "ends": ends, "svg": curves_svg(series, label, classes)}


def _equal_step(row: EqualStep) -> dict[str, Any]:
    values = [MISSING if value is None else f"{value:.4g}" for value in row.values]
    last = ["" if end is None else f"{end[1]:.4g} at {end[0]}" for end in row.last]
    return {"part": row.part, "step": row.step, "cells": list(zip(values, last, strict=True))}


def _sentence(sentence: Sentence, letters: Sequence[str], evaluation: Evaluation) -> dict[str, Any]:
    clips = [item.rendering.clip for item in sentence.renderings]
    top = max(float(clip.mel.max(initial=-np.inf)) for clip in clips)
    seconds = max(len(item.rendering.clip.mel) / frame_rate(item.mel) for item in sentence.renderings)
    renderings = [
        {**player(item.rendering.clip, item.mel.sample_rate, seconds * frame_rate(item.mel), top), "run": item.run,
         "label": evaluation.label(item.rendering.condition) if item.run is None else letters[item.run],
         "metrics": beside(item.rendering, evaluation.beside_compared_player),
         "words": words_of(item.rendering, sentence.text)}
        for item in sentence.renderings]
    return {"pair": sentence.pair, "direction": sentence.direction, "text": sentence.text, "renderings": renderings,
            "differences": dict(sentence.differences), "f0": _f0(sentence, evaluation)}


def _f0(sentence: Sentence, evaluation: Evaluation) -> Markup | None:
    """F0 of the target and of each run; None if it is not drawn."""
    tracks = {_track(item): (item.f0, frame_rate(item.mel)) for item in sentence.renderings
              if item.f0 is not None and (item.run is not None or item.rendering.condition == evaluation.target)}
    if not tracks:
        return None
    label = f"F0 of {sentence.pair} by time, Hz: the {evaluation.target}'s and that of each run"
    return tracks_svg({name: f0 for name, (f0, _) in tracks.items()},
                      {name: rate for name, (_, rate) in tracks.items()}, label)


def _track(item: RunRendering) -> str:
    """The style class of a rendering's F0."""
    return "reference" if item.run is None else f"run{item.run}"
