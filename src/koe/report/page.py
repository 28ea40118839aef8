"""The page to listen to: one HTML file with its sounds, pictures, style and script inside.

`build_page` is pure. It turns `ReportData` into what the template (`page.html.jinja`) prints: texts, data URIs and
drawings. The template escapes all texts.
"""

import difflib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from koe.audio.grid import frame_rate
from koe.report.data import (
    Curve,
    DrawnAlignment,
    DrawnTraining,
    DrawnTrim,
    HeardTraining,
    HeldOut,
    Recording,
    ReportData,
)
from koe.report.data_charts import data_charts
from koe.report.drawing import (
    PATH_CLASSES,
    alignment_svg,
    audio_uri,
    curve_class,
    curves_svg,
    mel_uri,
    paths_svg,
    picture_uri,
    waveform_svg,
)
from koe.report.metrics import METRICS, MISSING, Change, Metric, Values, change, condition_label, conditions
from koe.text.normalization import normalize

HERE = Path(__file__).parent
_HEADLINE = (
    "seed", "mel.sample_rate", "mel.hop_length", "pitch.method", "pair.rule", "align.method", "align.features",
    "acoustic.conditioning.by", "acoustic.reduction.by", "acoustic.reduction.factor", "acoustic.encoder.hidden",
    "acoustic.teacher_forcing.start", "acoustic.teacher_forcing.end",
    "acoustic.pitch.stop_gradient", "acoustic.training.steps",
    "acoustic.training.batch_size", "acoustic.training.schedule.learning_rate", "vocoder.model",
    "vocoder.init.from", "vocoder.training.steps", "vocoder.training.schedule.learning_rate",
)
_DIAGNOSTICS = (("cost", "{:.3f}", "max"), ("longest_run", "{:.2f}", "max"), ("skipped", "{:.1%}", "max"),
                ("focus", "{:.2f}", "min"))  # column, how it is written, which end is the worst
_BESIDE_A_PLAYER = ("mcd_db", "wer")
_LOUDEST_GAIN_DB = 30.0
_QUARANTINE_ROWS = 50  # of each stage and reason
_OUTLIERS = 50


def build_page(report: ReportData) -> str:
    """The page as one HTML document that refers to nothing outside itself."""
    parameters, tables = dict(flatten(report.parameters)), report.tables
    by_reason = report.quarantine.groupby(["stage", "reason"], sort=False)
    return templates(HERE).get_template("page.html.jinja").render(
        style=content(HERE / "page.css"),
        script=content(HERE / "page.js"),
        revision=report.revision,
        corpora=report.parameters.get("corpora", {}),
        headline={name: parameters[name] for name in _HEADLINE if name in parameters},
        parameters=parameters,
        metrics=METRICS,
        number=_number,
        results=list(_results(report)),
        directions=[{**row, "cells": [metric.text(row[metric.name]) for metric in METRICS]}
                    for row in report.directions],
        held_out=[_held_out(item, report) for item in report.held_out],
        trainings={title: [_chart(part, curves) for part, curves in parts.items()]
                   for title, parts in report.curves.items()},
        trained=[_trained(item) for item in report.trained],
        heard=[_heard(item, report.mel.sample_rate) for item in report.heard],
        alignments=[_alignment(item, report) for item in report.alignments],
        comparison=None if report.comparison is None else _comparison(report.comparison),
        trims=[_trim(item, report.mel.sample_rate) for item in report.trims],
        quarantine=by_reason.head(_QUARANTINE_ROWS).to_dict("records"),
        quarantine_counts=by_reason.size().to_dict(),
        counts=report.counts,
        outliers=list(_outliers(report.counts)),
        data_charts=[] if tables is None else list(data_charts(tables.recordings, tables.ratios, tables.f0_ranges)),
        voices=report.voices,
    )


def templates(*folders: Path) -> Environment:
    """The templates in these folders. They escape all texts, and a name that they do not get is an error."""
    return Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)


def content(*paths: Path) -> Markup:
    """Style sheets or scripts, one after the other, to stand in a page as they are."""
    return Markup("\n".join(path.read_text(encoding="utf-8") for path in paths))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of parameters as dotted names and values, lists whole."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@dataclass(frozen=True)
class Cell:
    """A number of the results' table. `change` and `difference` are there for converted speech."""

    text: str
    change: Change | None
    difference: str


def _results(report: ReportData) -> Iterator[dict[str, Any]]:
    rows = conditions(report.evaluation)
    for condition, values in rows.items():
        cells = []
        for metric in METRICS:
            moved = change(metric, rows, condition)
            difference = metric.text(moved.difference, sign="+") if moved else ""
            cells.append(Cell(metric.text(values.get(metric.name)), moved, difference))
        yield {"label": condition_label(condition), "kind": condition.rpartition(".")[2], "cells": cells}


def player(recording: Recording, rate: int, longest: float, top: float) -> dict[str, Any]:
    """A recording for the template: its picture is as wide as it is long, compared to `longest`, in frames."""
    return {
        "audio": audio_uri(recording.audio, rate),
        "seconds": len(recording.audio) / rate,
        "mel": mel_uri(recording.mel, top),
        "width": 100 * len(recording.mel) / longest,
    }


def _players(recordings: Sequence[Recording], rate: int) -> list[dict[str, Any]]:
    longest = max((len(recording.mel) for recording in recordings), default=1)
    top = max((float(recording.mel.max(initial=-np.inf)) for recording in recordings), default=0.0)
    return [player(recording, rate, longest, top) for recording in recordings]


def _held_out(item: HeldOut, report: ReportData) -> dict[str, Any]:
    players = _players([rendering.recording for rendering in item.renderings], report.mel.sample_rate)
    return {
        "pair": item.pair,
        "direction": item.direction,
        "text": item.text,
        "renderings": [
            {**player, "label": condition_label(rendering.condition), "kind": rendering.condition.rpartition(".")[2],
             "metrics": _beside(rendering.metrics),
             "words": None if rendering.transcript is None else list(compare_words(item.text, rendering.transcript))}
            for rendering, player in zip(item.renderings, players, strict=True)
        ],
    }


def _beside(values: Values) -> list[tuple[Metric, str]]:
    chosen = (metric for metric in METRICS if metric.name in _BESIDE_A_PLAYER)
    return [(metric, metric.text(values.get(metric.name))) for metric in chosen]


def compare_words(text: str, transcript: str) -> Iterator[tuple[str, str]]:
    """The transcript's words as (`same`, word) or (`wrong`, word), with (`missing`, word) for words of the text
    that were not heard. Both are normalised as for the word error rate.
    """
    spoken, heard = normalize(text).split(), normalize(transcript).split()
    for operation, start, end, first, last in difflib.SequenceMatcher(None, spoken, heard, False).get_opcodes():
        yield from (("same" if operation == "equal" else "wrong", word) for word in heard[first:last])
        if operation == "delete":
            yield from (("missing", word) for word in spoken[start:end])


def _outliers(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Direction, pair and ratio of pairs whose duration ratio is an outlier: the worst of each direction in turn."""
    worst = {name: list(direction["outliers"]["worst"].items())
             for name, direction in counts.get("directions", {}).items()}
    ranked = itertools.chain.from_iterable(itertools.zip_longest(
        *([(name, *pair) for pair in pairs] for name, pairs in worst.items())))
    return itertools.islice(filter(None, ranked), _OUTLIERS)


def _chart(part: str, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """The curves of one part, and their last values in words."""
    ends = [(curve_class(name), "" if name == part else name, f"{curve[-1][1]:.4g}") for name, curve in curves.items()]
    label = f"{part} by step: " + ", ".join(f"{name} ends at {value}" for _, name, value in ends)
    return {"part": part, "ends": ends, "svg": curves_svg(curves, label)}


def _trained(item: DrawnTraining) -> dict[str, Any]:
    """A pair's pictures for the template, on one time scale: widths in per cent of the widest."""
    widths = {step: Image.open(io.BytesIO(picture)).width for step, picture in item.pictures.items()}
    return {"pair": item.pair, "direction": item.direction, "text": item.text, "pictures": [
        {"step": step, "uri": picture_uri(picture), "width": 100 * widths[step] / max(widths.values())}
        for step, picture in item.pictures.items()]}


def _heard(item: HeardTraining, rate: int) -> dict[str, Any]:
    """A pair's players for the template, in the order of the steps, and its recording last."""
    labels = [*(f"{step} steps" for step in item.made), "recording"]
    players = _players([*item.made.values(), item.recording], rate)
    return {"pair": item.pair, "direction": item.direction, "text": item.text,
            "players": [{**player, "label": label} for label, player in zip(labels, players, strict=True)]}


def _alignment(item: DrawnAlignment, report: ReportData) -> dict[str, Any]:
    row = item.row
    source, target = _players([item.source, item.target], report.mel.sample_rate)
    label = f"Each step of the source, above, and where it lies in the target, below: {row['pair']}"
    frames = len(item.source.mel), len(item.target.mel), report.reduction_factor
    drawing = alignment_svg(next(iter(item.durations.values())), *frames, label)
    rate = report.mel.sample_rate
    facts = {
        "Source": f"{len(item.source.audio) / rate:.2f} s", "Target": f"{len(item.target.audio) / rate:.2f} s",
        "Cost per frame": f"{row['cost']:.3g}", "Slope": f"{row['slope']:.2f}",
        "Longest step": f"{row['longest_run']:.2f} s", "Skipped steps": f"{100 * row['skipped']:.0f} %",
    }
    if np.isfinite(row["focus"]):
        facts["Focus rate"] = f"{row['focus']:.2f}"
    compared = {}
    if len(item.durations) > 1:
        label = f"How far {' and '.join(item.durations)} are ahead of a straight path, ms of the source: {row['pair']}"
        compared = {"methods": dict(zip(PATH_CLASSES, item.durations, strict=True)),
                    "svg": paths_svg(item.durations, *frames, frame_rate(report.mel), label)}
    return {"pair": row["pair"], "direction": item.direction, "text": item.text, "suspect": bool(row["suspect"]),
            "why": row["why"], "source": source, "target": target, "svg": drawing, "facts": facts,
            "compared": compared}


def _comparison(table: pd.DataFrame) -> dict[str, Any]:
    """The distance of two methods' paths, and their diagnostics, each as median and worst of all pairs."""
    methods = {}
    for method in dict.fromkeys(name.partition(".")[0] for name in table.columns if "." in name):
        cells = []
        for name, form, worst in _DIAGNOSTICS:
            values = table[f"{method}.{name}"].dropna()
            cells.append(f"{form.format(values.median())}, {form.format(getattr(values, worst)())}" if len(values)
                         else MISSING)
        methods[method] = cells
    distances = table["distance_ms"]
    return {"methods": methods, "median": f"{distances.median():.0f}", "worst": f"{distances.max():.0f}",
            "furthest": table.loc[distances.idxmax(), "pair"]}


def _trim(item: DrawnTrim, rate: int) -> dict[str, Any]:
    row, samples = item.row, len(item.audio)
    ends = {"head": (0, int(row["start"])), "tail": (int(row["end"]), samples)}
    cut = {end: span for end, span in ends.items() if span[1] > span[0]}
    label = f"Waveform of {row['utterance']}, kept from {row['start'] / rate:.2f} to {row['end'] / rate:.2f} s"
    return {
        "utterance": row["utterance"], "text": item.text, "suspect": bool(row["suspect"]), "why": row["why"],
        "audio": audio_uri(item.audio, rate), "seconds": samples / rate,
        "svg": waveform_svg(item.audio, list(cut.values()), label),
        "ends": [
            {"end": end, **_amplified(item.audio[start:stop], rate), "seconds": (stop - start) / rate,
             "level": _number(row[f"outside_{end}_db"], 0), "voicing": _number(row[f"voicing_{end}"], 2)}
            for end, (start, stop) in cut.items()
        ],
    }


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None or not np.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def _amplified(audio: np.ndarray, rate: int) -> dict[str, Any]:
    """What was cut off is quiet: played louder, so that a piece of a word can be told from noise. The gain is said."""
    peak = max(float(np.abs(audio.astype(np.float64)).max()), 1.0)
    gain = min(16384 / peak, 10 ** (_LOUDEST_GAIN_DB / 20)) if peak < 16384 else 1.0
    return {"audio": audio_uri(np.round(audio * gain).astype(np.int16), rate), "gain": round(20 * np.log10(gain))}
