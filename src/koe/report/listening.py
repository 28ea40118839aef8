"""Held-out items as they sound under every condition, with what was measured on them."""

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
from koe.files import read_json
from koe.pipeline.declaration import EVALUATION, Evaluation, PipelineFolder
from koe.report.clips import Clip, clip_of, direction_of, players, spread
from koe.report.results import conditions, style_of
from koe.store import ShardReader
from koe.text.normalization import normalize

Row = Mapping[Hashable, Any]  # a table's row, by column
_SENTENCES = 8  # on the page, where the parameters do not say how many


@dataclass(frozen=True)
class Rendering:
    """A held-out item under one condition, with what was measured on it."""

    condition: str
    clip: Clip
    metrics: Values
    transcript: str | None  # None: nothing listened


@dataclass(frozen=True)
class HeldOut:
    """A held-out item under every condition."""

    pair: str
    direction: str  # who → whom; empty if the items are not pairs
    text: str
    renderings: Sequence[Rendering]


def rendering_of(
    condition: str, audio: np.ndarray, row: Row, mel_params: MelParams, evaluation: Evaluation
) -> Rendering:
    """16-bit samples (samples,) with the row of metrics/evaluation.csv that is about them."""
    metrics = {metric.name: None if pd.isna(row[metric.name]) else float(row[metric.name])
               for metric in evaluation.metrics}
    listened = any(metric.needs == "text" and metrics[metric.name] is not None for metric in evaluation.metrics)
    transcript = row["transcript"] if listened else None  # empty: listened to, and nothing was heard
    return Rendering(condition, clip_of(audio, mel_params), metrics, transcript)


def load_held_out(folder: PipelineFolder) -> list[HeldOut]:
    """`report.utterances` of the held-out items, evenly spread over their names: the same ones whatever the results."""
    evaluation = folder.pipeline.evaluation
    table = folder.path / f"{EVALUATION}.csv"
    if not table.exists():
        return []
    rows = read_evaluation(table.parent)
    order = list(conditions(read_json(folder.path / f"{EVALUATION}.json"), evaluation))
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
    """For listen.html.jinja, which says so where metrics/evaluation.csv is missing. None if there is no audio."""
    return None if not folder.pipeline.evaluation.audio else draw_listening(load_held_out(folder), folder)


def draw_listening(items: Sequence[HeldOut], folder: PipelineFolder) -> dict[str, Any]:
    """Players, pictures, metrics and transcripts of held-out items."""
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
    """What stands beside a player."""
    return [(metric, metric.text(rendering.metrics.get(metric.name))) for metric in metrics]


def words_of(rendering: Rendering, text: str) -> list[tuple[str, str]] | None:
    """A rendering's transcript compared with the text; None if nothing listened."""
    return None if rendering.transcript is None else list(compare_words(text, rendering.transcript))


def compare_words(text: str, transcript: str) -> Iterator[tuple[str, str]]:
    """The transcript's words as (`same`, word) or (`wrong`, word), with (`missing`, word) for words of the text
    that were not heard. Both are normalised as for the word error rate.
    """
    spoken, heard = normalize(text).split(), normalize(transcript).split()
    for operation, start, end, first, last in difflib.SequenceMatcher(None, spoken, heard, False).get_opcodes():
        yield from (("same" if operation == "equal" else "wrong", word) for word in heard[first:last])
        if operation == "delete":
            yield from (("missing", word) for word in spoken[start:end])
