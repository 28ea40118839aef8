"""A comparison's headline as a short table for the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table

from koe.evaluation.metric import Metric
from koe.experiments.comparison import ComparedValue, Comparison
from koe.experiments.comparison_page import finer
from koe.report.summary import ARROWS
from koe.terminal import plain

_VERDICTS = {"better": "[green]better[/]", "worse": "[red]worse[/]", "within noise": "[dim]noise[/]",
             "equal": "[dim]same[/]", None: ""}  # short, so that three runs fit a terminal


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints warnings, and a row per metric: every run's value, and the interval of its difference to the first run."""
    console = console or Console()
    for line in (*comparison.warnings, *comparison.missing):
        console.print(plain(f"! {line}"), style="yellow", highlight=False, markup=False)
    for run in comparison.runs:
        console.print(plain(f"{run.letter}: {'; '.join([run.name, *run.notes])}"), highlight=False, markup=False)
    headline = comparison.tables[0]
    console.print(f"{headline.title}, {comparison.pairs} held-out pairs; 95 % intervals over utterances of the "
                  "differences to A", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("")
    for run in comparison.runs:
        table.add_column(run.letter, justify="right", no_wrap=True)
        if run is not comparison.runs[0]:
            table.add_column(f"{run.letter} − A", justify="right", no_wrap=True)
            table.add_column("", no_wrap=True)
    for measured in headline.measured:
        metric, (first, *others) = measured.metric, measured.cells
        cells = [metric.text(first.value), *(text for cell in others for text in _texts(metric, cell))]
        table.add_row(f"{metric.label} {metric.unit} {ARROWS[metric.better]}", *cells)
    console.print(table)


def _texts(metric: Metric, cell: ComparedValue) -> tuple[str, str, str]:
    ends = (finer(metric).text(end, sign="+") for end in cell.interval or ())
    return metric.text(cell.value), ", ".join(ends), _VERDICTS[cell.verdict]
