"""Held-out items under every condition: recordings, metrics and transcripts."""

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.params import MelParams
from koe.corpus.pairing import read_pairs
from koe.evaluation.measure import read_evaluation
from koe.evaluation.metric import Metric, Values
from koe.files import read_json, understood
from koe.pipeline.declaration import EVALUATION, Evaluation, PipelineFolder
from koe.report.clips import Clip, clip_of, direction_of, players, spread
from koe.report.results import conditions, style_of
from koe.store import ShardReader
from koe.text.normalization import normalize

Row = Mapping[Hashable, Any]  # a table's row, by column
_SENTENCES = 8  # on the page, if the parameters do not set it


@dataclass(frozen=True)
class Rendering:
    """A held-out item under one condition."""

    condition: str
    clip: Clip
    metrics: Values
    transcript: str | None  # None: no recogniser was run


@dataclass(frozen=True)
class HeldOut:
    """A held-out item under every condition."""

    pair: str
    direction: str  # source speaker → target speaker; empty if the items are not pairs
    text: str
    renderings: Sequence[Rendering]


def rendering_of(
    condition: str, audio: np.ndarray, row: Row, mel_params: MelParams, evaluation: Evaluation
) -> Rendering:
    """A rendering from 16-bit samples (samples,) and their row of metrics/evaluation.csv."""
    metrics = {metric.name: None if pd.isna(row[metric.name]) else float(row[metric.name])
               for metric in evaluation.metrics}
    transcribed = any(metric.needs == "text" and metrics[metric.name] is not None for metric in evaluation.metrics)
    transcript = row["transcript"] if transcribed else None  # an empty one: the recogniser found no words
    return Rendering(condition, clip_of(audio, mel_params), metrics, transcript)


def load_held_out(folder: PipelineFolder) -> list[HeldOut]:
    """`report.utterances` of the held-out items, evenly spaced by name, so that the choice does not depend on results.
    """
    evaluation = folder.pipeline.evaluation
    table = folder.path / f"{EVALUATION}.csv"
    if not table.exists():
        return []
    rows = read_evaluation(table.parent)
    with understood(summary := folder.path / f"{EVALUATION}.json"):
        order = list(conditions(read_json(summary), evaluation))
    folders = {evaluation.condition(name).folder for name in order}
    readers = {place: ShardReader(folder.path / place) for place in folders}
    pairs = read_pairs(folder.path / evaluation.pairs).set_index("pair") if evaluation.pairs else None
    held_out = []
    for name in spread(sorted(set(rows["pair"])), folder.limit("utterances", _SENTENCES)):
        by_condition = rows[rows["pair"] == name].set_index("condition").to_dict("index")
        renderings = [
            rendering_of(condition, readers[evaluation.condition(condition).folder].get(name, condition),
                         by_condition[condition], folder.params.mel, evaluation)
            for condition in order if condition in by_condition]
        direction = "" if pairs is None else direction_of(*pairs.loc[name, ["source", "target"]])
        text = next(iter(by_condition.values())).get("text", "")
        held_out.append(HeldOut(name, direction, text, renderings))
    return held_out


def load_listening(folder: PipelineFolder) -> dict[str, Any] | None:
    """For listen.html.jinja, which handles a missing metrics/evaluation.csv. None if the pipeline has no audio."""
    return None if not folder.pipeline.evaluation.audio else draw_listening(load_held_out(folder), folder)


def draw_listening(items: Sequence[HeldOut], folder: PipelineFolder) -> dict[str, Any]:
    """Held-out items for the template: players, pictures, metrics and transcripts."""
    return {"held_out": [_held_out(item, folder) for item in items]}


def _held_out(item: HeldOut, folder: PipelineFolder) -> dict[str, Any]:
    evaluation = folder.pipeline.evaluation
    drawn = players([rendering.clip for rendering in item.renderings], folder.params.mel.sample_rate)
    return {
        "pair": item.pair,
        "direction": item.direction,
        "text": item.text,
        "renderings": [
            {**player, "label": evaluation.label(rendering.condition),
             "kind": style_of(rendering.condition, evaluation), "metrics": beside(rendering, evaluation.beside_player),
             "words": words_of(rendering, item.text)}
            for rendering, player in zip(item.renderings, drawn, strict=True)
        ],
    }


def beside(rendering: Rendering, metrics: Sequence[Metric]) -> list[tuple[Metric, str]]:
    """The metrics beside a player, with their values as text."""
    return [(metric, metric.text(rendering.metrics.get(metric.name))) for metric in metrics]


def words_of(rendering: Rendering, text: str) -> list[tuple[str, str]] | None:
    """A rendering's transcript compared with the text; None without a transcript."""
    return None if rendering.transcript is None else list(compare_words(text, rendering.transcript))


def compare_words(text: str, transcript: str) -> Iterator[tuple[str, str]]:
    """The transcript's words as (`same`, word) or (`wrong`, word), with (`missing`, word) for words of the text
    that it lacks. Both are normalised as for the word error rate.
    """
    expected, recognised = normalize(text).split(), normalize(transcript).split()
    matcher = difflib.SequenceMatcher(None, expected, recognised, False)
    for operation, start, end, first, last in matcher.get_opcodes():
        yield from (("same" if operation == "equal" else "wrong", word) for word in recognised[first:last])
        if operation == "delete":
            yield from (("missing", word) for word in expected[start:end])
