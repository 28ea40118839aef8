"""`metrics/data.json` as a report in the terminal: the output of `koe check`."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from koe.errors import KoeError
from koe.evaluation.metric import MISSING
from koe.report.drawing import number_text
from koe.terminal import plain

_LONGEST = 20  # lines of a list; the rest is counted
_FURTHEST = 3  # outliers of a direction; all are in metrics/data.json
_SPEAKER_COLUMNS = ("Speaker", "Kept", "Hours", "LUFS", "±", "Noise\ndB", "Clip-\nped", "F0 Hz\nlow", "\nmedian",
                    "\nhigh", "Letters\n/s")


def print_health(counts: Mapping[str, Any], corpus: str | None = None, console: Console | None = None) -> None:
    """Prints the content of `metrics/data.json`, or the part of it that concerns one `corpus`.

    Raises KoeError if there is no such corpus.
    """
    console = console or Console(highlight=False)
    if corpus is not None and corpus not in counts["corpora"]:
        raise KoeError(f"--corpus: there are no counts of {corpus!r}; expected one of {', '.join(counts['corpora'])}")
    if corpus is None:
        _print_totals(console, counts)
    for name, numbers in counts["corpora"].items():
        if corpus in (None, name):
            _print_corpus(console, name, numbers)
    quarantined = counts["quarantined"] if corpus is None else counts["corpora"][corpus]["quarantined"]
    _print_quarantine(console, quarantined)
    _print_directions(console, {name: direction for name, direction in counts["directions"].items()
                                if _concerns(corpus, *name.split(" → "))})
    _print_list(console, "Duplicates: the same samples",
                (" = ".join(names) for names in counts["duplicates"]["largest"] if _concerns(corpus, *names)))
    _print_list(console, "Warnings", (warning for warning in counts["warnings"] if _concerns(corpus, warning)))


def _concerns(corpus: str | None, *texts: str) -> bool:
    """Whether one of the texts starts with the corpus, by itself (`demo: …`) or in a name (`demo/ann`)."""
    return corpus is None or any(text.startswith((f"{corpus}:", f"{corpus}/")) for text in texts)


def _print_totals(console: Console, counts: Mapping[str, Any]) -> None:
    utterances, hours, pairs = counts["utterances"], counts["hours"], counts["pairs"]
    unaccounted = "not paired yet" if counts["unaccounted"] is None else f"{counts['unaccounted']} unaccounted for"
    lines = (
        f"{utterances['kept']} of {utterances['imported']} utterances kept, "
        f"{hours['kept']:.2f} of {hours['imported']:.2f} hours; {unaccounted}",
        f"pairs: {', '.join(f'{number} {split}' for split, number in pairs.items())}",
    )
    console.print(_text("\n".join(lines)))


def _print_corpus(console: Console, name: str, corpus: Mapping[str, Any]) -> None:
    facts = (
        f"{corpus['importer']}, {corpus['language']}; licence: {corpus['licence']}",
        f"sample rates: {_counted(corpus['sample_rates'], ' Hz')}; formats: {_counted(corpus['formats'])}",
        f"channels: {_counted(corpus['channels'])}",
        f"{corpus['upsampled']} upsampled, {corpus['trim_suspects']} suspect trims",
    )
    rows = [_speaker_row(speaker, numbers) for speaker, numbers in corpus["speakers"].items()]
    if len(rows) > 1:
        rows.append(_speaker_row("all", corpus))
    _print_heading(console, name)
    console.print(_text("\n".join(facts)))
    console.print(_table(_SPEAKER_COLUMNS, rows))


def _speaker_row(name: str, numbers: Mapping[str, Any]) -> list[str]:
    loudness, f0 = numbers["loudness_lufs"], numbers["f0"]
    return [name, str(numbers["utterances"]["kept"]), f"{numbers['hours']['kept']:.2f}",
            number_text(loudness["mean"], 1), number_text(loudness["std"], 1), number_text(numbers["noise_db"], 0),
            str(numbers["clipped"]["count"]), *(number_text(f0[key], 0) for key in ("low", "median", "high")),
            number_text(numbers["letters_per_second"], 1)]


def _print_quarantine(console: Console, quarantined: Mapping[str, Any]) -> None:
    rows = [[stage, reason, str(count)] for stage, reasons in quarantined.items() if stage != "total"
            for reason, count in reasons.items()]
    _print_heading(console, f"Quarantine: {quarantined['total']}")
    if rows:
        console.print(_table(("Stage", "Reason", "Count"), rows, numbers=1))


def _print_directions(console: Console, directions: Mapping[str, Any]) -> None:
    """The directions that have outliers, those with most of them first, each with its furthest and their ratios."""
    with_outliers = sorted(
        ((name, direction) for name, direction in directions.items() if direction["outliers"]["count"]),
        key=lambda item: -item[1]["outliers"]["count"])
    _print_heading(console, f"Duration ratios: outliers in {len(with_outliers)} of {len(directions)} directions")
    rows = []
    for name, direction in with_outliers[:_LONGEST]:
        worst = islice(direction["outliers"]["worst"].items(), _FURTHEST)
        rows.append([name, str(direction["count"]), f"{direction['mean']:.2f}", f"{direction['std']:.2f}",
                     str(direction["outliers"]["count"]), "\n".join(f"{ratio:.2f} {pair}" for pair, ratio in worst)])
    if rows:
        console.print(_table(("Direction", "Pairs", "Mean", "±", "Out", "Furthest"), rows, texts=("Furthest",)))
    _print_rest(console, len(with_outliers))


def _print_list(console: Console, title: str, lines: Iterable[str]) -> None:
    entries = list(lines)
    if not entries:
        return
    _print_heading(console, title)
    for entry in entries[:_LONGEST]:
        console.print(_text(f"- {entry}"))
    _print_rest(console, len(entries))


def _print_heading(console: Console, title: str) -> None:
    console.print()
    console.print(_text(title, style="bold"))


def _print_rest(console: Console, count: int) -> None:
    if count > _LONGEST:
        console.print(_text(f"and {count - _LONGEST} more, in metrics/data.json"))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0, texts: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for position, column in enumerate(columns):
        text = position <= numbers or column in texts
        table.add_column(column, justify="left" if text else "right", vertical="bottom", no_wrap=not text,
                         overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(text: str, style: str = "") -> Text:
    """As it is: brackets in a name are no markup, and control characters are shown."""
    return Text(plain(text), style)


def _counted(histogram: Mapping[str, int], unit: str = "") -> str:
    return ", ".join(f"{value or MISSING}{unit} ({count})" for value, count in histogram.items()) or MISSING
