"""The results of a sweep: a table for the terminal, and a page with the importance of each parameter and its values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from markupsafe import Markup, escape
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from koe.evaluation.metric import MISSING
from koe.experiments.space import Choices, Domain
from koe.experiments.sweep import Sweep, best_trial, has_run, trial_name
from koe.files import write_text
from koe.report.drawing import bars_svg, curves_svg
from koe.report.page import HERE, content, templates
from koe.terminal import plain

STATES = ("complete", "pruned", "unfinished", "failed", "refused")  # in the table's order
FEWEST = 4  # finished trials that the importance of parameters needs
_CLASSES = {"complete": "train", "pruned": "other", "unfinished": "other"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 200, 54, 14, 8, 24
_LETTERS = 14  # of a choice's name below an axis, at most


@dataclass(frozen=True)
class Row:
    """A trial."""

    name: str
    state: str  # one of STATES
    value: float | None  # its metric; of an unfinished trial, the last value seen
    step: int | None  # at which `value` was seen; None for a finished trial
    drawn: dict[str, Any]  # values by parameter
    curve: list[tuple[float, float]]  # step, value
    why: str  # it failed or was refused


def rows_of(sweep: Sweep, study: optuna.Study) -> list[Row]:
    """All trials except repetitions, in the order of STATES, the best of each state first."""
    sign = -1 if sweep.direction == "maximize" else 1
    rows = [_row(sweep, trial) for trial in study.trials if "repeats" not in trial.user_attrs]
    return sorted(rows, key=lambda row: (STATES.index(row.state), math.inf if row.value is None else sign * row.value))


def _row(sweep: Sweep, trial: FrozenTrial) -> Row:
    curve: list[tuple[float, float]] = [(step, value) for step, value in sorted(trial.intermediate_values.items())]
    last = curve[-1] if curve else (None, None)
    drawn = {name: domain.drawn(trial.params[name]) for name, domain in sweep.space.items() if name in trial.params}
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}.get(
        trial.state, "unfinished")
    if "refused" in trial.user_attrs:
        state = "refused"
    why = trial.user_attrs.get("refused") or trial.user_attrs.get("failed") or ""
    is_complete = trial.state == TrialState.COMPLETE
    value = trial.value if is_complete else last[1]
    step = None if is_complete or last[0] is None else int(last[0])
    return Row(trial_name(sweep, trial.number), state, value, step, drawn, curve, why)


def weights_of(sweep: Sweep, study: optuna.Study) -> dict[str, float]:
    """Share of the metric's variance over the space that each parameter explains by itself, the largest first.

    Functional ANOVA of a random forest (Hutter et al. 2014) over the finished trials. Empty if there are fewer than
    FEWEST, or if all have the same metric.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < FEWEST:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=sweep.parameters["seed"] % 2**32)
    try:
        return {name: float(weight) for name, weight in
                optuna.importance.get_param_importances(study, evaluator=evaluator).items()}
    except RuntimeError:  # no variance at all
        return {}


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest unambiguous ending of each dotted name."""
    def ending(name: str, words: int) -> str:
        return ".".join(name.split(".")[-words:])

    return {name: next(ending(name, words) for words in range(1, name.count(".") + 2)
                       if [ending(other, words) for other in names].count(ending(name, words)) == 1)
            for name in names}


def shown(value: Any) -> str:
    """A parameter's value as written in params.yaml."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def result_lines(sweep: Sweep, study: optuna.Study) -> list[str]:
    """The result in one or two lines."""
    ran, best = list(filter(has_run, study.trials)), best_trial(study)
    stopped = sum(trial.state == TrialState.PRUNED for trial in ran)
    lines = [f"{sweep.name}: {len(ran)} trials, {stopped} of them stopped early; {sweep.metric}, {sweep.direction}d"]
    if best is not None:
        name = trial_name(sweep, best.number)
        lines.append(f"best: {name}, {best.value:.4g}; to bring it to the workspace: koe exp apply {name}, dvc repro")
    return lines


def print_summary(sweep: Sweep, study: optuna.Study, console: Console | None = None) -> None:
    """Prints the trials, the best first. In brackets: the last value of a trial that did not finish."""
    short, rows = short_names(list(sweep.space)), rows_of(sweep, study)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column(sweep.metric.rpartition("/")[2], justify="right", no_wrap=True)
    for name in short.values():
        table.add_column(name, justify="right")
    table.add_column("state")
    for row in rows:
        drawn = [shown(row.drawn[name]) if name in row.drawn else MISSING for name in short]
        state = row.state + (f" at step {row.step}" if row.step else "")
        table.add_row(*(Text(plain(cell)) for cell in (row.name, _value(row), *drawn, state)))
    console = console or Console()
    console.print(table)
    for line in [*result_lines(sweep, study), *(row.why for row in rows if row.why)]:
        console.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _value(row: Row) -> str:
    if row.value is None:
        return MISSING
    return f"{row.value:.4g}" if row.state == "complete" else f"({row.value:.4g})"


def write_page(sweep: Sweep, study: optuna.Study) -> Path:
    """Writes `summary.html` in the sweep's folder, a page without external files, and returns its path."""
    short, rows, weights = short_names(list(sweep.space)), rows_of(sweep, study), weights_of(sweep, study)
    best = best_trial(study)
    name_of_best = trial_name(sweep, best.number) if best else ""
    measured = [row for row in rows if row.value is not None and row.state in _CLASSES]
    classes = {row.name: "validation" if row.name == name_of_best else _CLASSES[row.state] for row in measured}
    curves = {row.name: row.curve for row in measured if row.curve}
    text = templates(Path(__file__).parent, HERE).get_template("sweep.html.jinja").render(
        style=content(HERE / "page.css"), sweep=sweep, result=result_lines(sweep, study), short=short, rows=rows,
        value=_value, shown=shown, best=name_of_best, fewest=FEWEST,
        weights=bars_svg({short[name]: round(100 * weight) for name, weight in weights.items()},
                         "Share of the metric's variance by parameter, %") if weights else None,
        charts={name: _values_svg(name, domain, measured, classes) for name, domain in sweep.space.items()}
        if measured else {},
        curves=curves_svg(curves, f"{sweep.metric} by step", classes) if curves else None,
    )
    path = sweep.folder / "summary.html"
    write_text(path, text)
    return path


def _values_svg(name: str, domain: Domain, rows: Iterable[Row], classes: Mapping[str, str]) -> Markup:
    """The metric (up) by a parameter's value (across), with a point for each trial."""
    rows = [row for row in rows if name in row.drawn]
    values = [row.value for row in rows if row.value is not None]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high + margin - value) / (high - low + 2 * margin)

    shapes = []
    for part in range(4):
        tick = low + (high - low) * part / 3
        shapes.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
                      f'<text x="{_LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:.4g}</text>')
    for place, label in _x_ticks(domain):
        shapes.append(f'<text x="{_x(place):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    for row in rows:
        hint = escape(f"{row.name}: {shown(row.drawn[name])}, {_value(row)}")
        shapes.append(f'<circle class="{classes[row.name]}" cx="{_x(_place(domain, row.drawn[name])):.1f}" '
                      f'cy="{y(row.value or 0.0):.1f}" r="3.5"><title>{hint}</title></circle>')
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"The metric by {name}", Markup("".join(shapes)))


def _x(place: float) -> float:
    """The horizontal position of a place from 0 to 1."""
    return _LEFT + 14 + (_WIDTH - _LEFT - _RIGHT - 28) * place


def _place(domain: Domain, value: Any) -> float:
    """The place of a value between the domain's first (0) and last (1)."""
    if isinstance(domain, Choices):
        return domain.values.index(value) / (len(domain.values) - 1)
    scale = math.log if domain.logarithmic else float
    return (scale(value) - scale(domain.low)) / (scale(domain.high) - scale(domain.low))


def _x_ticks(domain: Domain) -> list[tuple[float, str]]:
    """Places and labels along the axis: every choice, or five numbers of a range."""
    if isinstance(domain, Choices):
        names = [shown(value) for value in domain.values]
        return [(place / (len(names) - 1), name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")
                for place, name in enumerate(names)]
    places = [part / 4 for part in range(5)]
    if domain.logarithmic:
        numbers = [domain.low * (domain.high / domain.low) ** place for place in places]
    else:
        numbers = [domain.low + (domain.high - domain.low) * place for place in places]
    return [(place, f"{number:.3g}") for place, number in zip(places, numbers, strict=True)]
