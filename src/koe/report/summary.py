"""The metrics as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from koe.pipeline.declaration import Evaluation
from koe.report.results import conditions
from koe.terminal import plain

ARROWS = {"lower": "↓", "higher": "↑", "one": "→1"}


def print_summary(summary: Mapping[str, Any], evaluation: Evaluation, console: Console | None = None) -> None:
    """Prints `metrics/evaluation.json`: a row per condition, a column per metric, a dash for missing values."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("")  # the only column that wraps: names can be long
    for metric in evaluation.metrics:
        heading = "\n".join([*metric.label.split(), f"{metric.unit} {ARROWS[metric.better]}".strip()])
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    for condition, values in conditions(summary, evaluation).items():
        cells = [metric.text(values.get(metric.name)) for metric in evaluation.metrics]
        style = "bold" if evaluation.condition(condition).made else None
        table.add_row(Text(plain(evaluation.label(condition))), *cells, style=style)
    (console or Console()).print(table)
