"""The page of a comparison: one HTML file that opens from disk, in the style and with the parts of the report's.

`build_comparison_page` is pure: it turns a `Comparison` into what `comparison.html.jinja` prints.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from koe.audio.grid import frame_rate
from koe.evaluation.bootstrap import FEWEST
from koe.experiments.comparison import Block, Cell, Comparison, EqualStep, Heard, Sentence, Training
from koe.report.data import Curve
from koe.report.drawing import curves_svg, tracks_svg
from koe.report.metrics import METRICS, MISSING, Metric
from koe.report.page import HERE as REPORT
from koe.report.page import compare_words, content, player, templates

_HERE = Path(__file__).parent
_BESIDE_A_PLAYER = ("mcd_db", "log_f0_rmse", "wer", "mos")
_STATES = {"train": "training", "validation": "validated"}  # style classes of curves


def build_comparison_page(comparison: Comparison) -> str:
    """The page as one HTML document that refers to nothing outside itself."""
    runs = comparison.runs
    return templates(_HERE, REPORT).get_template("comparison.html.jinja").render(
        style=content(REPORT / "page.css", _HERE / "comparison.css"),
        script=content(REPORT / "page.js", _HERE / "comparison.js"),
        runs=runs,
        title=" and ".join(run.name for run in runs),
        comparison=comparison,
        metrics=METRICS,
        fewest=FEWEST,
        blocks=[_block(block) for block in comparison.blocks],
        trainings={title: _training(training, [run.letter for run in runs])
                   for title, training in comparison.trainings.items()},
        sentences=sorted((_sentence(sentence, [run.letter for run in runs]) for sentence in comparison.sentences),
                         key=lambda item: -item["differences"].get(METRICS[0].name, -1.0)),
        blind={"identity": _identity(comparison),
               "runs": [{"letter": run.letter, "name": run.name} for run in runs]},
        couples=list(combinations(_heard_runs(comparison), 2)),
    )


def _heard_runs(comparison: Comparison) -> list[int]:
    """Runs that have recordings."""
    return [item.run for item in comparison.sentences[0].heard if item.run is not None] if comparison.sentences else []


def _identity(comparison: Comparison) -> str:
    """What votes are kept under: other recordings are another listening test, other names of the runs are not."""
    digest = hashlib.sha256()
    for sentence in comparison.sentences:
        for item in sentence.heard:
            digest.update(item.rendering.recording.audio.tobytes())
    return digest.hexdigest()[:16]


def _block(block: Block) -> dict[str, Any]:
    return {"title": block.title, "rows": [
        {"metric": measured.metric, "pairs": measured.pairs,
         "cells": [_cell(measured.metric, cell) for cell in measured.cells]} for measured in block.measured]}


def _cell(metric: Metric, cell: Cell) -> dict[str, str]:
    """A cell's texts; those of the difference are empty where there is none."""
    difference = "" if cell.difference is None else finer(metric).text(cell.difference, sign="+")
    interval = " to ".join(finer(metric).text(end, sign="+") for end in cell.interval or ())
    return {"value": metric.text(cell.value), "difference": difference, "interval": interval,
            "verdict": "no change" if cell.verdict == "equal" else cell.verdict or "",
            "kind": (cell.verdict or "").replace(" ", "-")}


def finer(metric: Metric) -> Metric:
    """With a digit more, for differences are small."""
    return replace(metric, digits=metric.digits + 1)


def _training(training: Training, letters: Sequence[str]) -> dict[str, Any]:
    return {"charts": [_chart(part, by_run, letters) for part, by_run in training.parts.items()],
            "equal_steps": [_equal_step(row) for row in training.equal_steps]}


def _chart(part: str, by_run: Mapping[int, Mapping[str, Curve]], letters: Sequence[str]) -> dict[str, Any]:
    """The curves of one part; beside a run's letter its last value, validated where it was."""
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


def _sentence(sentence: Sentence, letters: Sequence[str]) -> dict[str, Any]:
    recordings = [item.rendering.recording for item in sentence.heard]
    top = max(float(recording.mel.max(initial=-np.inf)) for recording in recordings)
    seconds = max(len(item.rendering.recording.mel) / frame_rate(item.mel) for item in sentence.heard)
    heard = [{**player(item.rendering.recording, item.mel.sample_rate, seconds * frame_rate(item.mel), top),
              "run": item.run, "label": item.rendering.condition if item.run is None else letters[item.run],
              "metrics": list(_beside(item)), "words": _words(sentence.text, item)} for item in sentence.heard]
    tracks = {_track(item): item for item in sentence.heard if item.rendering.condition != "source"}
    label = f"F0 of {sentence.pair} by time, Hz: the target's and that of each run"
    return {"pair": sentence.pair, "direction": sentence.direction, "text": sentence.text, "heard": heard,
            "differences": dict(sentence.differences),
            "f0": tracks_svg({name: item.f0 for name, item in tracks.items()},
                             {name: frame_rate(item.mel) for name, item in tracks.items()}, label)}


def _track(item: Heard) -> str:
    """The style class of a recording's F0."""
    return "reference" if item.run is None else f"run{item.run}"


def _beside(item: Heard) -> Iterator[tuple[Metric, str]]:
    for metric in METRICS:
        if metric.name in _BESIDE_A_PLAYER:
            yield metric, metric.text(item.rendering.metrics.get(metric.name))


def _words(text: str, item: Heard) -> list[tuple[str, str]] | None:
    transcript = item.rendering.transcript
    return None if transcript is None else list(compare_words(text, transcript))
