"""Every metric of a pair's waveforms against its target, and their summary over a condition.

A metric that cannot be measured is None, never NaN, and the row gives the reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.samples import from_int16
from koe.corpus.pairing import directions_of
from koe.errors import StoreError
from koe.evaluation.cepstrum import Analysis, PitchRange, analyse
from koe.evaluation.f0 import f0_metrics
from koe.evaluation.intelligibility import count_errors
from koe.evaluation.mcd import align, mel_cepstral_distortion
from koe.evaluation.params import EvaluationParams
from koe.evaluation.pooling import POOLED
from koe.listeners.mos import estimate_mos
from koe.listeners.packaged import SAMPLE_RATE, at_16_khz
from koe.listeners.recogniser import LANGUAGES, transcribe
from koe.listeners.speaker import embed, similarity
from koe.parallel import thread_map
from koe.tables import Table, read_header
from koe.text.normalization import normalize

MEASURED = ("mcd_db", "log_f0_rmse", "f0_corr", "vuv_error", "duration_ratio", "speaker_similarity",
            "speaker_similarity_source", "nearer_to_target", "wer", "cer", "mos")
HEADLINE = ("mcd_db", "f0_corr", "speaker_similarity", "wer", "mos")
EVALUATION = Table("evaluation.csv", {
    "pair": str,
    "condition": str,  # source, griffin_lim.converted, …
    "seconds": float,
    **dict.fromkeys(MEASURED, float | None),
    **dict.fromkeys((*POOLED["wer"], *POOLED["cer"]), float | None),  # whole numbers
    "text": str,
    "transcript": str,  # also empty where nothing was transcribed: `wer` is empty then
    "missing": str,  # metrics that could not be measured, and why
})
REFERENCE = Table("reference.csv", EVALUATION.columns)
DIRECTIONS = Table("directions.csv", {
    "source": str,  # `<corpus>/<speaker>`
    "target": str,
    "condition": str,
    **dict.fromkeys(MEASURED, float | None),
    "utterances": int,
})
_SHORTEST_SECONDS = 0.1
_TOO_SHORT = f"shorter than {_SHORTEST_SECONDS:g} s"
_SEPARATOR = "; "  # between a row's reasons


@dataclass(frozen=True)
class Reference:
    """What the waveforms of a pair are measured against."""

    pair: str
    text: str
    language: str
    target: np.ndarray  # the target's trimmed recording, int16 (samples,)
    sample_rate: int  # Hz
    pitch: PitchRange
    target_embedding: np.ndarray  # (256,) of the speaker, from training utterances (koe.listeners.speaker.enrol)
    source_embedding: np.ndarray  # (256,), likewise


def measure(
    waves: Mapping[str, np.ndarray], reference: Reference, evaluation: EvaluationParams
) -> list[dict[str, Any]]:
    """Measures waveforms, int16 (samples,), named by their condition: a row of EVALUATION for each.

    These are the 16-bit, trimmed waveforms that are stored and that listeners hear.
    """
    target = _analysis(at_16_khz(from_int16(reference.target), reference.sample_rate), reference, evaluation)
    return [_row(condition, wave, target, reference, evaluation) for condition, wave in waves.items()]


def measure_pairs(
    jobs: Iterable[tuple[Mapping[str, np.ndarray], Reference]], evaluation: EvaluationParams
) -> Iterator[list[dict[str, Any]]]:
    """`measure` of each pair, in order, on all cores.

    In threads, unlike the data stages: nearly all of the time is spent in networks that release the interpreter's
    lock, and processes would take longer to load the networks than to measure.
    """
    yield from thread_map(lambda job: measure(job[0], job[1], evaluation), jobs)


def _analysis(wave: np.ndarray, reference: Reference, evaluation: EvaluationParams) -> Analysis | None:
    if _too_short(wave):
        return None
    return analyse(wave, reference.pitch, evaluation.mcd_order, evaluation.mcd_silence_db)


def _too_short(wave: np.ndarray) -> bool:
    return len(wave) < _SHORTEST_SECONDS * SAMPLE_RATE


def _row(
    condition: str, audio: np.ndarray, target: Analysis | None, reference: Reference, evaluation: EvaluationParams
) -> dict[str, Any]:
    wave = at_16_khz(from_int16(audio), reference.sample_rate)
    row: dict[str, Any] = dict.fromkeys(EVALUATION.columns) | {
        "pair": reference.pair,
        "condition": condition,
        "seconds": len(audio) / reference.sample_rate,
        "duration_ratio": len(audio) / len(reference.target),
        "text": reference.text,
        "transcript": "",
    }
    reasons: dict[str, str] = {}
    for values, reason in (
        _distances(_analysis(wave, reference, evaluation), target),
        _voice(wave, reference, evaluation),
        _intelligibility(wave, reference, evaluation),
        _naturalness(wave, evaluation),
    ):
        row |= values
        reasons |= {name: reason for name, value in values.items() if value is None and name in MEASURED}
    return row | {"missing": _SEPARATOR.join(f"{name}: {reason}" for name, reason in reasons.items())}


def _distances(wave: Analysis | None, target: Analysis | None) -> tuple[dict[str, Any], str]:
    if wave is None or target is None:
        return dict.fromkeys(("mcd_db", "log_f0_rmse", "f0_corr", "vuv_error")), _TOO_SHORT
    path = align(wave, target)
    values = {"mcd_db": mel_cepstral_distortion(wave.cepstra, target.cepstra, path)}
    return values | f0_metrics(wave.f0, target.f0, path), "no frames voiced in both, or F0 does not move"


def _voice(wave: np.ndarray, reference: Reference, evaluation: EvaluationParams) -> tuple[dict[str, Any], str]:
    names = ("speaker_similarity", "speaker_similarity_source", "nearer_to_target")
    if not evaluation.speaker:
        return dict.fromkeys(names), "evaluation.speaker is false"
    if _too_short(wave):
        return dict.fromkeys(names), _TOO_SHORT
    embedding = embed(wave)
    if embedding is None:
        return dict.fromkeys(names), "silence"
    to_target = similarity(embedding, reference.target_embedding)
    to_source = similarity(embedding, reference.source_embedding)
    return dict(zip(names, (to_target, to_source, int(to_target > to_source)), strict=True)), ""


def _intelligibility(
    wave: np.ndarray, reference: Reference, evaluation: EvaluationParams
) -> tuple[dict[str, Any], str]:
    unknown: dict[str, Any] = dict.fromkeys(("wer", "cer"))
    if not evaluation.wer:
        return unknown, "evaluation.wer is false"
    if reference.language not in LANGUAGES:
        return unknown, f"the recogniser does not know the language {reference.language}"
    if not normalize(reference.text):
        return unknown, "the corpus has no text for it"
    transcript = "" if _too_short(wave) else transcribe(wave)
    errors = count_errors(reference.text, transcript)
    return {
        **asdict(errors),
        "wer": errors.word_errors / errors.words,
        "cer": errors.character_errors / errors.characters,
        "transcript": transcript,
    }, ""


def _naturalness(wave: np.ndarray, evaluation: EvaluationParams) -> tuple[dict[str, Any], str]:
    if not evaluation.mos:
        return {"mos": None}, "evaluation.mos is false"
    if _too_short(wave):
        return {"mos": None}, _TOO_SHORT
    return {"mos": estimate_mos(wave)}, ""


def aggregate(rows: pd.DataFrame, metrics: Sequence[str] = MEASURED) -> dict[str, Any]:
    """Summary of one condition's rows: each of `metrics`, `utterances`, and `missing` where something is.

    Means over the rows that have the metric; `wer` and `cer` are the total of errors over the total of words or
    characters; `nearer_to_target` is a share. A metric that no row has is None. `missing` maps a metric to the number
    of rows without it and the reasons.
    """
    summary: dict[str, Any] = {}
    for metric in metrics:
        values = pd.to_numeric(rows[metric]).dropna()
        if values.empty:
            summary[metric] = None
        elif metric in POOLED:
            errors, total = (float(pd.to_numeric(rows[name]).sum()) for name in POOLED[metric])
            summary[metric] = _rounded(errors / total)
        else:
            summary[metric] = _rounded(float(values.mean()))
    summary["utterances"] = len(rows)
    missing = missing_metrics(rows["missing"]) if "missing" in rows else {}
    return summary | ({"missing": missing} if missing else {})


def summarize_directions(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """`aggregate` of each condition for each source and target speaker (columns source, target, condition).

    `pairs`: columns pair, source, target (utterances).
    """
    directions = dict(zip(pairs["pair"], directions_of(pairs), strict=True))
    grouped = rows.groupby([rows["pair"].map(directions), "condition"], sort=False)
    table = pd.DataFrame([
        {"source": direction[0], "target": direction[1], "condition": condition, **aggregate(members)}
        for (direction, condition), members in grouped
    ])
    return table[list(DIRECTIONS.columns)]


def headline(summary: Mapping[str, Any], vocoder: str) -> dict[str, float | None]:
    """The few metrics that represent a run in a table of runs: those of `vocoder`'s converted speech."""
    return headline_of(summary, f"{vocoder}.converted", HEADLINE)


def headline_of(summary: Mapping[str, Any], condition: str, metrics: Sequence[str]) -> dict[str, float | None]:
    """The few metrics that represent a run, those of one condition: a pipeline writes them to metrics/summary.json.

    `summary`: as `summarize` returns it.
    """
    values = summary
    for part in condition.split("."):
        values = values[part]
    return {name: values[name] for name in metrics}


def evaluation_table(columns: Iterable[str]) -> Table:
    """The table evaluation.csv of any task, with these columns: `pair` (the item), `condition`, `text`, `transcript`
    and `missing` hold text, all others numbers.
    """
    texts = {name for name, kind in EVALUATION.columns.items() if kind is str}
    return Table(EVALUATION.file, {name: str if name in texts else float | None for name in columns})


def read_evaluation(folder: str | Path) -> pd.DataFrame:
    """Reads a task's evaluation.csv in `folder`, whatever its metrics. Raises StoreError as `Table.read` does."""
    path = Path(folder) / EVALUATION.file
    header = read_header(path)
    if missing := [name for name in ("pair", "condition") if name not in header]:
        raise StoreError(f"{path} has no column {', '.join(missing)}; run dvc repro, which writes it again")
    return evaluation_table(header).read(folder)


def missing_metrics(cells: Iterable[str]) -> dict[str, str]:
    """From a table's column `missing`: each metric that is missing in a row, in how many rows, and the reasons."""
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        for entry in filter(None, cell.split(_SEPARATOR)):
            metric, _, reason = entry.partition(": ")
            reasons.setdefault(metric, []).append(reason)
    return {metric: f"{len(causes)}: {', '.join(sorted(set(causes)))}" for metric, causes in reasons.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def summarize(rows: pd.DataFrame, metrics: Sequence[str] = MEASURED) -> dict[str, Any]:
    """`aggregate` of each condition, nested at its dot (`griffin_lim.ceiling` becomes griffin_lim: ceiling: …), and
    the number of `utterances` (pairs).
    """
    summary: dict[str, Any] = {}
    for condition, members in rows.groupby("condition", sort=False):
        *parents, name = str(condition).split(".")
        place = summary
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = aggregate(members, metrics)
    return summary | {"utterances": int(rows["pair"].nunique())}
