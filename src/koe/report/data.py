"""What the recordings are like and what was left out of them: two sections of the page."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from koe.audio.params import SpeakerPitch
from koe.audio.pitch import pitch_range
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import CorpusParams, speaker_pitch
from koe.corpus.quarantine import read_quarantine
from koe.corpus.voices import VOICES, Voice
from koe.files import read_json
from koe.names import corpus_of
from koe.pipeline.declaration import PipelineFolder
from koe.report.checks import quarantine_folders
from koe.report.clips import dataset_of
from koe.report.data_charts import data_charts
from koe.report.drawing import number_text
from koe.report.recordings import ratios_table, recordings_table

_QUARANTINE_ROWS = 50  # of each stage and reason
_OUTLIERS = 50


def load_quarantine(folder: PipelineFolder) -> dict[str, Any]:
    """For quarantine.html.jinja: what the stages excluded, and why."""
    return draw_quarantine(read_quarantine(quarantine_folders(dataset_of(folder))))


def draw_quarantine(quarantine: pd.DataFrame) -> dict[str, Any]:
    """The first rows of each stage and reason, and how many there are."""
    by_reason = quarantine.groupby(["stage", "reason"], sort=False)
    return {"quarantine": by_reason.head(_QUARANTINE_ROWS).to_dict("records"),
            "quarantine_counts": by_reason.size().to_dict()}


@dataclass(frozen=True)
class Tables:
    """The tables of `koe.report.recordings`, and floor and ceiling of F0 by `<corpus>/<speaker>`."""

    recordings: pd.DataFrame
    ratios: pd.DataFrame
    f0_ranges: Mapping[str, tuple[float, float]]


def load_data(folder: PipelineFolder) -> dict[str, Any]:
    """For data.html.jinja: counts, drawings and, of the demo, whose voices they are."""
    params, dataset = folder.params, dataset_of(folder)
    tables = load_tables(dataset, speaker_pitch(params.pitch, params.corpora))
    counts = folder.path / "metrics" / "data.json"
    return draw_data(read_json(counts) if counts.exists() else {}, tables,
                     demo_voices(params.corpora, dataset.utterances))


def draw_data(counts: Mapping[str, Any], tables: Tables | None = None, voices: Sequence[Voice] = ()) -> dict[str, Any]:
    """Counts as `koe.report.checks` has them, and the tables' drawings."""
    return {
        "counts": counts,
        "number": number_text,
        "outliers": list(_outliers(counts)),
        "data_charts": [] if tables is None else list(data_charts(tables.recordings, tables.ratios, tables.f0_ranges)),
        "voices": voices,
    }


def load_tables(dataset: Dataset, pitch: SpeakerPitch) -> Tables:
    """What was measured on each recording and, where they are paired, on each pair."""
    recordings = recordings_table(dataset)
    ranges = {speaker: pitch_range(pitch, speaker) for speaker in recordings["speaker"].unique()}
    where = dataset.data / "pairs"
    pairs = read_pairs(where) if where.exists() else pd.DataFrame(columns=["pair", "source", "target"])
    return Tables(recordings, ratios_table(pairs, recordings), ranges)


def demo_voices(corpora: Mapping[str, CorpusParams], utterances: pd.DataFrame) -> list[Voice]:
    """The packaged voices that speak in `utterances` of the demo's corpora, in their order, each once."""
    spoken = utterances[["utterance", "speaker"]].drop_duplicates("speaker")
    return [VOICES[row.speaker] for row in spoken.itertuples()
            if corpora[corpus_of(row.utterance)].importer == "demo" and row.speaker in VOICES]


def _outliers(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Direction, pair and ratio of pairs whose duration ratio is an outlier: the worst of each direction in turn."""
    worst = {name: list(direction["outliers"]["worst"].items())
             for name, direction in counts.get("directions", {}).items()}
    ranked = itertools.chain.from_iterable(itertools.zip_longest(
        *([(name, *pair) for pair in pairs] for name, pairs in worst.items())))
    return itertools.islice(filter(None, ranked), _OUTLIERS)
