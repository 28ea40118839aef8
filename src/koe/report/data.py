"""Two sections of the page: statistics of the recordings, and what was excluded."""

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
from koe.files import read_json, understood
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
    """The tables of `koe.report.recordings`, and the speakers' F0 ranges."""

    recordings: pd.DataFrame  # a row per utterance
    ratios: pd.DataFrame  # a row per pair
    f0_ranges: Mapping[str, tuple[float, float]]  # floor and ceiling in Hz, by `<corpus>/<speaker>`


def load_data(folder: PipelineFolder) -> dict[str, Any]:
    """For data.html.jinja: counts, charts and, for the demo's corpora, the credits of its voices."""
    params, dataset = folder.params, dataset_of(folder)
    tables = load_tables(dataset, speaker_pitch(params.pitch, params.corpora))
    counts = folder.path / "metrics" / "data.json"
    with understood(counts):
        return draw_data(read_json(counts) if counts.exists() else {}, tables,
                         demo_voices(params.corpora, dataset.utterances))


def draw_data(counts: Mapping[str, Any], tables: Tables | None = None, voices: Sequence[Voice] = ()) -> dict[str, Any]:
    """The counts of `koe.report.checks`, and charts of the tables."""
    return {
        "counts": counts,
        "number": number_text,
        "outliers": list(_outliers(counts)),
        "data_charts": [] if tables is None else list(data_charts(tables.recordings, tables.ratios, tables.f0_ranges)),
        "voices": voices,
    }


def load_tables(dataset: Dataset, pitch: SpeakerPitch) -> Tables:
    """The measurements of each recording and, if there are pairs, of each pair."""
    recordings = recordings_table(dataset)
    ranges = {speaker: pitch_range(pitch, speaker) for speaker in recordings["speaker"].unique()}
    folder = dataset.data / "pairs"
    pairs = read_pairs(folder) if folder.exists() else pd.DataFrame(columns=["pair", "source", "target"])
    return Tables(recordings, ratios_table(pairs, recordings), ranges)


def demo_voices(corpora: Mapping[str, CorpusParams], utterances: pd.DataFrame) -> list[Voice]:
    """The packaged voices that speak `utterances` of the demo's corpora, in order of appearance, each once."""
    spoken = utterances[["utterance", "speaker"]].drop_duplicates("speaker")
    return [VOICES[row.speaker] for row in spoken.itertuples()
            if corpora[corpus_of(row.utterance)].importer == "demo" and row.speaker in VOICES]


def _outliers(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Direction, pair and duration ratio of outliers: the worst of each direction in turn."""
    worst = {name: list(direction["outliers"]["worst"].items())
             for name, direction in counts.get("directions", {}).items()}
    ranked = itertools.chain.from_iterable(itertools.zip_longest(
        *([(name, *pair) for pair in pairs] for name, pairs in worst.items())))
    return itertools.islice(filter(None, ranked), _OUTLIERS)
