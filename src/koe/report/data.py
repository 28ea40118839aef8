"""What the page shows, as plain arrays and numbers, and reading it from what the stages wrote.

Reading is apart from drawing (`koe.report.page`): a page can be built from a `ReportData` made by hand.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch

from koe.align.params import AlignParams
from koe.align.tables import ALIGNMENT, COMPARISON
from koe.audio.mel import log_mel, minimum_samples
from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import pitch_range
from koe.audio.samples import from_int16, to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import read_pairs
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import read_quarantine
from koe.corpus.voices import VOICES, Voice
from koe.evaluation.measure import DIRECTIONS, EVALUATION
from koe.files import read_json
from koe.names import corpus_of, speaker_of
from koe.report.checks import quarantine_folders
from koe.report.metrics import METRICS, Values, conditions
from koe.report.recordings import ratios_table, recordings_table
from koe.store import ShardReader
from koe.tasks.conversion.schema import Params

Row = Mapping[Hashable, Any]  # a table's row, by column
Curve = list[tuple[int, float]]  # optimizer step, value
TRAININGS = {"train_acoustic": "Acoustic model", "finetune_vocoder": "Vocoder"}
_REFERENCES = {"source", "target", "griffin_lim.ceiling"}  # fields of data/reference; the others: data/evaluation
_CURVES = {"train": "train", "validation": "validation", "validation_teacher_forced": "validation, teacher-forced",
           "average_best": "mean of the best"}  # folders of curves that every part has, and what the page calls them
_MOST_FOLLOWED, _MOST_STEPS = 4, 4  # pairs whose training is shown, and how often


@dataclass(frozen=True)
class Recording:
    """A waveform, int16 (samples,), with its log-mel (frames, n_mels)."""

    audio: np.ndarray
    mel: np.ndarray


@dataclass(frozen=True)
class Rendering:
    """A held-out sentence under one condition, with what was measured on it."""

    condition: str
    recording: Recording
    metrics: Values
    transcript: str | None  # None: nothing listened


@dataclass(frozen=True)
class HeldOut:
    pair: str
    direction: str  # who → whom
    text: str
    renderings: Sequence[Rendering]


@dataclass(frozen=True)
class DrawnAlignment:
    """A pair's durations (source steps,) by method, the one in use first, with its row of alignment.csv."""

    row: Row
    direction: str  # who → whom
    text: str
    source: Recording
    target: Recording
    durations: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DrawnTraining:
    """What the acoustic model made of a validation pair while it was trained: PNG files by optimizer step."""

    pair: str
    direction: str  # who → whom
    text: str
    pictures: Mapping[int, bytes]


@dataclass(frozen=True)
class HeardTraining:
    """A validation pair's target, and what the vocoder made of its mel while it was trained, by optimizer step."""

    pair: str
    direction: str  # who → whom
    text: str
    recording: Recording
    made: Mapping[int, Recording]


@dataclass(frozen=True)
class DrawnTrim:
    """An untrimmed recording, int16, with its row of trim.csv."""

    row: Row
    text: str
    audio: np.ndarray


@dataclass(frozen=True)
class Tables:
    """The tables of `koe.report.recordings`, and floor and ceiling of F0 by `<corpus>/<speaker>`."""

    recordings: pd.DataFrame
    ratios: pd.DataFrame
    f0_ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. An empty part is said to be empty there."""

    parameters: Mapping[str, Any]
    mel: MelParams
    reduction_factor: int
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    directions: Sequence[Row] = ()  # of metrics/directions.csv, where there is more than one
    held_out: Sequence[HeldOut] = ()
    curves: Mapping[str, Mapping[str, Mapping[str, Curve]]] = field(default_factory=dict)
    trained: Sequence[DrawnTraining] = ()
    heard: Sequence[HeardTraining] = ()
    alignments: Sequence[DrawnAlignment] = ()
    comparison: pd.DataFrame | None = None  # comparison.csv, where align.compare names a second method
    trims: Sequence[DrawnTrim] = ()
    quarantine: pd.DataFrame = field(default_factory=lambda: read_quarantine([]))
    counts: Mapping[str, Any] = field(default_factory=dict)
    tables: Tables | None = None
    voices: Sequence[Voice] = ()
    revision: str | None = None


def load_report(params: Params, root: str | Path = ".", revision: str | None = None) -> ReportData:
    """Reads what the stages left in `root/data` and `root/metrics`; StoreError where shards are damaged."""
    root = Path(root)
    dataset = Dataset(list(params.corpora), params.mel, root / "data")
    vocoder = params.vocoder.model if params.evaluation.headline == "trained" else "griffin_lim"
    return ReportData(
        parameters=params.model_dump(mode="json"),
        mel=params.mel,
        reduction_factor=params.acoustic.reduction.factor,
        evaluation=read_json(root / "metrics" / "evaluation.json"),
        directions=load_directions(root / "metrics", f"{vocoder}.converted"),
        held_out=load_held_out(dataset, root, params.report.utterances),
        curves={title: load_curves(root / "metrics" / stage)
                for stage, title in (aligner_trainings(params.align) | TRAININGS).items()},
        trained=load_trained(dataset, root / "metrics" / "train_acoustic" / "plots" / "images"),
        heard=load_heard(dataset, root / "metrics" / "finetune_vocoder" / "players"),
        alignments=load_alignments(dataset, params.align, params.report.alignments),
        comparison=COMPARISON.read(dataset.data / "comparison") if params.align.compare else None,
        trims=load_trims(dataset, params.report.trims),
        quarantine=read_quarantine(quarantine_folders(dataset)),
        counts=read_json(root / "metrics" / "data.json"),
        tables=load_tables(dataset, params.speaker_pitch),
        voices=demo_voices(params.corpora, dataset.utterances),
        revision=revision,
    )


def load_tables(dataset: Dataset, pitch: SpeakerPitch) -> Tables:
    """What was measured on each recording and each pair, for the drawings."""
    recordings = recordings_table(dataset)
    ranges = {speaker: pitch_range(pitch, speaker) for speaker in recordings["speaker"].unique()}
    return Tables(recordings, ratios_table(read_pairs(dataset.data / "pairs"), recordings), ranges)


def demo_voices(corpora: Mapping[str, CorpusParams], utterances: pd.DataFrame) -> list[Voice]:
    """The packaged voices that speak in `utterances` of the demo's corpora, in their order, each once."""
    spoken = utterances[["utterance", "speaker"]].drop_duplicates("speaker")
    return [VOICES[row.speaker] for row in spoken.itertuples()
            if corpora[corpus_of(row.utterance)].importer == "demo" and row.speaker in VOICES]


def direction_of(source: str, target: str) -> str:
    """Who is converted into whom, by their utterances; with the corpora's names where they differ."""
    inside = corpus_of(source) == corpus_of(target)
    names = (speaker_of(name) if inside else f"{corpus_of(name)}/{speaker_of(name)}" for name in (source, target))
    return " → ".join(names)


def load_directions(folder: Path, condition: str) -> list[Row]:
    """What was measured of `condition` from each speaker to each other; nothing where there is one direction."""
    table = DIRECTIONS.read(folder)
    rows = table[table["condition"] == condition].astype(object).where(table.notna(), None).to_dict("records")
    return rows if len(rows) > 1 else []


def load_held_out(dataset: Dataset, root: Path, count: int) -> list[HeldOut]:
    """`count` test pairs, evenly spread over their names: the same sentences whatever the results are."""
    rows = EVALUATION.read(root / "metrics")
    readers = {name: ShardReader(root / "data" / name) for name in ("reference", "evaluation")}
    order = list(conditions(read_json(root / "metrics" / "evaluation.json")))
    pairs, texts = read_pairs(dataset.data / "pairs").set_index("pair"), _texts(dataset)
    held_out = []
    for name in spread(sorted(set(rows["pair"])), count):
        by_condition = rows[rows["pair"] == name].set_index("condition").to_dict("index")
        renderings = [
            rendering_of(condition, readers[folder_of(condition)].get(name, condition), by_condition[condition],
                         dataset.mel_params) for condition in order if condition in by_condition]
        source, target = pairs.loc[name, ["source", "target"]]
        held_out.append(HeldOut(name, direction_of(source, target), texts[target], renderings))
    return held_out


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, the first and the last among them, at even distances."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def _texts(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.utterances.index, dataset.utterances["text"], strict=True))


def folder_of(condition: str) -> str:
    """The folder of data/ that has the recordings of a condition."""
    return "reference" if condition in _REFERENCES else "evaluation"


def rendering_of(condition: str, audio: np.ndarray, row: Row, params: MelParams) -> Rendering:
    """16-bit samples (samples,) with the row of evaluation.csv that is about them."""
    metrics = {metric.name: None if pd.isna(row[metric.name]) else float(row[metric.name]) for metric in METRICS}
    transcript = None if metrics["wer"] is None else row["transcript"]  # empty: listened to, and nothing was heard
    return Rendering(condition, recording_of(audio, params), metrics, transcript)


def recording_of(audio: np.ndarray, params: MelParams) -> Recording:
    """16-bit samples and their log-mel, for which what is too short, as a failed conversion can be, gets silence."""
    wave = from_int16(np.pad(audio, (0, max(0, minimum_samples(params) - len(audio)))))
    return Recording(audio, log_mel(torch.from_numpy(wave), params).numpy())


def load_curves(folder: Path) -> dict[str, dict[str, Curve]]:
    """DVCLive's tables as `{part: {curve: [(step, value)]}}`; a part's training and validation come together.

    `train/mel`, `validation/mel`, `validation_teacher_forced/mel` and `average_best/mel` are curves of part `mel`; what
    is none of these (`learning_rate`) is a part with one curve. `gap/…` is the distance of two curves that are drawn,
    and is left out. No folder: no curves.
    """
    parts: dict[str, dict[str, Curve]] = {}
    plots, order = folder / "plots" / "metrics", list(_CURVES)
    paths = {path: path.parent.relative_to(plots).as_posix() for path in sorted(plots.rglob("*.tsv"))}
    for path, state in sorted(paths.items(), key=lambda item: order.index(item[1]) if item[1] in order else -1):
        part = path.stem
        if state == "gap":
            continue
        table = pd.read_csv(path, sep="\t").dropna()
        curve = list(zip(table["step"].astype(int).tolist(), table.iloc[:, 1].astype(float).tolist(), strict=True))
        name = _CURVES.get(state, part)
        if state not in _CURVES and state != ".":
            part = f"{state}/{part}"
        if curve:
            parts.setdefault(part, {})[name] = curve
    return dict(sorted(parts.items(), key=lambda item: (-len(item[1]), "validation" not in item[1], item[0])))


def aligner_trainings(align: AlignParams) -> dict[str, str]:
    """Titles of the trainings of train_aligner, by the folders of their curves."""
    return {f"train_aligner/{method}": f"Aligner, {method}" for method in (align.method, align.compare)
            if method not in ("dtw", None)}


def load_trained(dataset: Dataset, folder: Path) -> list[DrawnTraining]:
    """Pictures `folder/<pair, / as _>/<step>.png` of a few pairs, the first by name, at a few steps spread over the
    training. No folder: none.
    """
    texts = _texts(dataset)
    return [DrawnTraining(pair, direction_of(source, target), texts[target],
                          {step: file.read_bytes() for step, file in files.items()})
            for pair, source, target, files in _series(dataset, folder, "png")]


def load_heard(dataset: Dataset, folder: Path) -> list[HeardTraining]:
    """Players `folder/<pair, / as _>/<step>.flac` of the vocoder's training, chosen as `load_trained` does."""
    texts = _texts(dataset)
    return [HeardTraining(pair, direction_of(source, target), texts[target], _trimmed(dataset, target),
                          {step: recording_of(soundfile.read(file, dtype="int16")[0], dataset.mel_params)
                           for step, file in files.items()})
            for pair, source, target, files in _series(dataset, folder, "flac")]


def _series(dataset: Dataset, folder: Path, kind: str) -> Iterator[tuple[str, str, str, dict[int, Path]]]:
    """Pair, source and target of the first few of `folder`, and a few of its files by step."""
    pairs = read_pairs(dataset.data / "pairs").set_index("pair")
    names = {pair.replace("/", "_"): pair for pair in pairs.index}
    for series in sorted(folder.glob("*/"))[:_MOST_FOLLOWED]:
        pair = names[series.name]
        files = spread(sorted(series.glob(f"*.{kind}")), _MOST_STEPS)
        yield pair, *pairs.loc[pair, ["source", "target"]], {int(file.stem): file for file in files}


def load_alignments(dataset: Dataset, align: AlignParams, count: int) -> list[DrawnAlignment]:
    """The `count` worst pairs: suspects first, then by cost."""
    folder = dataset.data / "alignment"
    table = ALIGNMENT.read(folder)
    table = table.sort_values(["suspect", "cost"], ascending=False, kind="stable")
    pairs = read_pairs(dataset.data / "pairs").set_index("pair")
    readers: dict[str, ShardReader] = {align.method: ShardReader(folder)}
    if align.compare:
        readers[align.compare] = ShardReader(dataset.data / "comparison")
    texts, drawn = _texts(dataset), []
    for row in table.head(count).to_dict("records"):
        source, target = pairs.loc[row["pair"], ["source", "target"]]
        durations = {method: reader.get(row["pair"], "durations") for method, reader in readers.items()}
        sides = _trimmed(dataset, source), _trimmed(dataset, target)
        drawn.append(DrawnAlignment(row, direction_of(source, target), texts[target], *sides, durations))
    return drawn


def _trimmed(dataset: Dataset, utterance: str) -> Recording:
    audio, _ = to_int16(dataset.wave(utterance))
    return Recording(audio, dataset.mel(utterance))


def load_trims(dataset: Dataset, count: int) -> list[DrawnTrim]:
    """The `count` worst cuts: suspects first, then by what is loudest outside them."""
    cuts, texts = dataset.cuts, _texts(dataset)
    loudest = cuts[["outside_head_db", "outside_tail_db"]].max(axis=1)
    worst = cuts.assign(loudest=loudest).sort_values(["suspect", "loudest"], ascending=False, kind="stable")
    drawn = []
    for row in worst.head(count).to_dict("records"):
        audio, _ = to_int16(dataset.untrimmed(row["utterance"]))
        drawn.append(DrawnTrim(row, texts[row["utterance"]], audio))
    return drawn
