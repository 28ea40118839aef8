"""The metrics as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from koe.report.metrics import METRICS, condition_label, conditions

ARROWS = {"lower": "↓", "higher": "↑", "one": "→1"}


def print_summary(evaluation: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints `metrics/evaluation.json`: a row per condition, a column per metric, a dash where nothing was measured."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("")  # the only one that folds: vocoders' names can be long
    for metric in METRICS:
        heading = "\n".join([*metric.label.split(), f"{metric.unit} {ARROWS[metric.better]}".strip()])
        table.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
    for condition, values in conditions(evaluation).items():
        cells = [metric.text(values.get(metric.name)) for metric in METRICS]
        table.add_row(condition_label(condition), *cells, style="bold" if condition.endswith(".converted") else None)
    (console or Console()).print(table)
