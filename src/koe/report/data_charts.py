"""Charts of recordings and pairs, from the tables of `koe.report.recordings`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from markupsafe import Markup

from koe.report.drawing import Spread, bars_svg, histogram_svg, spreads_svg

MOST_ROWS = 30  # in a chart with a row per speaker; some corpora have thousands
_MOST_OUTLIERS = 30  # drawn per row


@dataclass(frozen=True)
class DataChart:
    """A chart with its caption."""

    title: str
    note: str  # what it shows
    svg: Markup
    marked: Mapping[str, str] = field(default_factory=dict)  # names of what is marked in it, by style class


def data_charts(
    recordings: pd.DataFrame, ratios: pd.DataFrame, f0_ranges: Mapping[str, tuple[float, float]]
) -> Iterator[DataChart]:
    """Charts of duration, loudness, F0, duration ratio, sample rate and format, as far as these were measured.

    `recordings` and `ratios` are the tables of `koe.report.recordings`; `f0_ranges` has floor and ceiling by speaker.
    """
    kept = recordings[recordings["kept"]]
    measured = recordings[recordings["lufs"].notna()]
    if len(kept):
        seconds = kept["kept_seconds"].to_numpy()
        note = f"{len(kept)} trimmed recordings by seconds, median {np.median(seconds):.2f}"
        yield DataChart("Duration", note, histogram_svg(seconds, f"Duration: {note}"))
    if len(measured):
        yield _loudness(measured)
    if len(kept):
        yield _pitch(kept, f0_ranges)
    if len(ratios):
        yield _ratios(ratios)
    for title, column, unit in (("Sample rates", "sample_rate", " Hz"), ("Formats", "format", "")):
        if len(recordings):
            counts = {f"{value or 'unknown'}{unit}": int(count)
                      for value, count in recordings[column].value_counts().sort_index().items()}
            yield DataChart(title, "recordings as imported", bars_svg(counts, _description(title, counts)))


def _loudness(measured: pd.DataFrame) -> DataChart:
    table = _quartiles(measured, "speaker", "lufs")
    shown, some = _furthest(table, (table["median"] - measured["lufs"].median()).abs(), "speakers")
    rows = [Spread(_plain(name, table.index), **row) for name, row in shown.to_dict("index").items()]
    note = f"LUFS of each speaker's recordings, from the quietest to the loudest{some}"
    return DataChart("Loudness", note, spreads_svg(rows, _description(f"Loudness: {note}", _medians(rows, 1))))


def _pitch(kept: pd.DataFrame, f0_ranges: Mapping[str, tuple[float, float]]) -> DataChart:
    """Boxes: quartiles of the recordings' medians. Whiskers: medians of their 5th and 95th percentiles."""
    grouped = kept.groupby("speaker")
    table = _quartiles(kept, "speaker", "f0_median").assign(
        low=grouped["f0_low"].median(), high=grouped["f0_high"].median())
    shown, some = _furthest(table, grouped["f0_pressed"].mean(), "speakers")
    rows = [Spread(_plain(name, table.index), **row, limits=f0_ranges.get(name, ()))
            for name, row in shown.to_dict("index").items()]
    note = f"Hz, 5th to 95th percentile of voiced frames{some}"
    return DataChart("F0", note, spreads_svg(rows, _description(f"F0: {note}", _medians(rows, 0))),
                     {"limit": "floor and ceiling"})


def _ratios(ratios: pd.DataFrame) -> DataChart:
    usual, outliers = ratios[~ratios["outlier"]], dict(list(ratios[ratios["outlier"]].groupby("direction")))
    table = _quartiles(usual, "direction", "ratio")
    shown, some = _furthest(table, ratios.groupby("direction")["outlier"].sum(), "directions")
    rows = [Spread(_plain(name, table.index), **row, outliers=_furthest_ratios(outliers.get(name, ratios[:0])))
            for name, row in shown.to_dict("index").items()]
    note = f"target's seconds over the source's{some}"
    summaries = {name: f"{median} and {len(row.outliers)} outliers"
                 for row, (name, median) in zip(rows, _medians(rows, 2).items(), strict=True)}
    return DataChart("Duration ratio", note, spreads_svg(rows, _description(f"Duration ratio: {note}", summaries)),
                     {"outlier": "outliers"})


def _furthest_ratios(outliers: pd.DataFrame) -> list[float]:
    return outliers.nlargest(_MOST_OUTLIERS, "distance")["ratio"].tolist()


def _quartiles(table: pd.DataFrame, by: str, column: str) -> pd.DataFrame:
    """`low`, `first`, `median`, `third`, `high` of a column in each group: minimum, quartiles, maximum."""
    names = {0.0: "low", 0.25: "first", 0.5: "median", 0.75: "third", 1.0: "high"}
    return table.groupby(by)[column].quantile(list(names)).unstack().rename(columns=names)


def _furthest(table: pd.DataFrame, interest: pd.Series, what: str) -> tuple[pd.DataFrame, str]:
    """The MOST_ROWS rows of highest interest, in the table's order, and a note if the table has more."""
    if len(table) <= MOST_ROWS:
        return table, ""
    chosen = interest.reindex(table.index).sort_values(ascending=False, kind="stable").index[:MOST_ROWS]
    return table[table.index.isin(chosen)], f"; {MOST_ROWS} of {len(table)} {what}, the least usual"


def _plain(name: str, names: pd.Index) -> str:
    """A speaker or direction without its corpus, if all are of the same corpus."""
    corpora = {part.partition("/")[0] for other in names for part in other.split(" → ")}
    return name.replace(f"{corpora.pop()}/", "") if len(corpora) == 1 else name


def _medians(rows: list[Spread], digits: int) -> dict[str, str]:
    return {row.name: f"{row.median:.{digits}f}" for row in rows}


def _description(title: str, values: Mapping[str, object]) -> str:
    """A chart in words, for screen readers."""
    return f"{title}. {', '.join(f'{name} {value}' for name, value in values.items())}"
