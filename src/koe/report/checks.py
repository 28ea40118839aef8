"""Counts and statistics of what the data stages kept, excluded and marked: the content of `metrics/data.json`.

Every imported utterance is counted (lesson 23 in docs/lessons.md).
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from koe.align.tables import ALIGNMENT
from koe.audio.downmix import QUIETER_DB
from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import pitch_range
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import PAIRS
from koe.corpus.quarantine import QUARANTINE, read_quarantine
from koe.corpus.tables.features import FEATURES
from koe.files import read_json
from koe.names import corpus_of
from koe.report.advice import advice, pitch_warning
from koe.report.recordings import ratios_table, recordings_table
from koe.tables import Table

LISTED = 20  # names in a list of metrics/data.json, at most
_UTTERANCE_STAGES = ("corpus", "resampled", "trim", "features")
_SPLITS = ("train", "validation", "test")


def quarantine_folders(dataset: Dataset) -> list[Path]:
    """Every folder in which a stage left a quarantine table, in the order of the stages."""
    folders = [dataset.data / stage / corpus for stage in _UTTERANCE_STAGES for corpus in dataset.corpora]
    folders += [dataset.data / "pairs", dataset.data / "alignment"]
    return [folder for folder in folders if (folder / QUARANTINE.file).exists()]


def count_present(
    corpora: Iterable[str], mel_params: MelParams, pitch: SpeakerPitch, data: Path
) -> dict[str, Any] | None:
    """`count_data` of the corpora that have features, whether or not they were paired; None if no corpus has any."""
    present = [corpus for corpus in corpora if (data / "features" / corpus / FEATURES.file).exists()]
    return count_data(Dataset(present, mel_params, data), pitch) if present else None


def count_data(dataset: Dataset, pitch: SpeakerPitch) -> dict[str, Any]:
    """The content of `metrics/data.json`: totals, then the same and more for each corpus and each speaker.

    `imported` counts what the import stage read, `kept` what has features. `unaccounted` counts utterances that are
    neither in a pair nor in a quarantine, and pairs that are neither aligned nor in a quarantine: anything but 0 is a
    bug of a stage. It is null before pairs are aligned. `pitch` holds the F0 search ranges. Statistics of nothing are
    null; lists hold at most LISTED names.
    """
    quarantine = read_quarantine(quarantine_folders(dataset))
    recordings = recordings_table(dataset)
    pairs = _written(PAIRS, dataset.data / "pairs")
    pairs = pairs[pairs["source"].isin(recordings.index) & pairs["target"].isin(recordings.index)]
    alignment = _written(ALIGNMENT, dataset.data / "alignment")
    missing = unaccounted_utterances(recordings["utterance"], pairs, quarantine)
    missing += sorted(set(pairs["pair"]) - set(alignment["pair"]) - set(quarantine["utterance"]))
    counts = {
        **_kept(recordings),
        "quarantined": _by_stage_and_reason(quarantine),
        "unaccounted": len(missing) if (dataset.data / "alignment" / ALIGNMENT.file).exists() else None,
        "trim_suspects": int(recordings["trim_suspect"].sum()),
        "alignment_suspects": int(alignment["suspect"].sum()),
        "upsampled": int(recordings["upsampled"].sum()),
        "clipped": int((recordings["clipped"] > 0).sum()),
        "duplicates": _duplicates(recordings),
        "pairs": {split: int((pairs["split"] == split).sum()) for split in _SPLITS},
        "directions": _directions(ratios_table(pairs, recordings)),
        "corpora": _corpora(dataset, recordings, quarantine, pitch),
    }
    return {**counts, "warnings": advice(counts)}


def _written(table: Table, folder: Path) -> pd.DataFrame:
    """The table that a stage wrote, or an empty one if it has not run."""
    return table.read(folder) if (folder / table.file).exists() else table.empty()


def unaccounted_utterances(utterances: pd.Series, pairs: pd.DataFrame, quarantine: pd.DataFrame) -> list[str]:
    """Utterances that are neither in a pair nor in a quarantine."""
    return sorted(set(utterances) - set(pairs["source"]) - set(pairs["target"]) - set(quarantine["utterance"]))


def _corpora(
    dataset: Dataset, recordings: pd.DataFrame, quarantine: pd.DataFrame, pitch: SpeakerPitch
) -> dict[str, dict[str, Any]]:
    """For each corpus: the content of its corpus.json, its statistics, and those of its speakers."""
    by_speaker = dict(list(quarantine.groupby(_speakers_of(quarantine, recordings))))
    by_corpus = dict(list(quarantine.groupby(quarantine["utterance"].map(corpus_of))))
    corpora = {}
    for corpus in dataset.corpora:
        own = recordings[recordings["corpus"] == corpus]
        speakers = {}
        for speaker, rows in own.groupby("speaker"):
            name = speaker.partition("/")[2]
            numbers = _numbers(rows, by_speaker.get(speaker, quarantine[:0]))
            floor, ceiling = pitch_range(pitch, speaker)
            limits = {"floor": floor, "ceiling": ceiling}
            warning = pitch_warning(speaker, numbers["f0"]["pressed"], floor, ceiling)
            speakers[name] = {**numbers, "f0": {**numbers["f0"], **limits, "warning": warning}}
        about = read_json(dataset.data / "corpus" / corpus / "corpus.json")
        corpora[corpus] = {**about, **_numbers(own, by_corpus.get(corpus, quarantine[:0])), "speakers": speakers}
    return corpora


def _speakers_of(quarantine: pd.DataFrame, recordings: pd.DataFrame) -> pd.Series:
    """The speaker (`<corpus>/<speaker>`) of each row of a quarantine; missing in rows that exclude a pair."""
    speaker = quarantine["utterance"].str.extract(r"^([^/]*/[^/]*)/", expand=False)
    before_pairing = ~quarantine["stage"].isin(["pair", "align"])  # a pair's name begins `<corpus>/<sentence>/`
    return speaker.where(quarantine["utterance"].isin(recordings["utterance"]) | before_pairing)


def _numbers(rows: pd.DataFrame, quarantine: pd.DataFrame) -> dict[str, Any]:
    """Statistics of the recordings of a corpus or of a speaker."""
    return {
        **_kept(rows),
        "quarantined": _by_stage_and_reason(quarantine),
        "sample_rates": {str(rate): count for rate, count in _histogram(rows["sample_rate"]).items()},
        "formats": _histogram(rows["format"]),
        "channels": _histogram(rows["channels"].dropna()),
        "quieter": int((rows["downmix_db"] < QUIETER_DB).sum()),
        "notes": _histogram(rows["note"][rows["note"].notna() & (rows["note"] != "")]),
        "loudness_lufs": _loudness(rows["lufs"].dropna()),
        "clipped": {"count": int((rows["clipped"] > 0).sum()), "share": _rounded((rows["clipped"] > 0).mean(), 4)},
        "noise_db": _rounded(rows["noise_db"].median(), 2),
        "f0": _pitch(rows[rows["kept"]]),
        "letters_per_second": _speaking_rate(rows[rows["kept"]]),
        "upsampled": int(rows["upsampled"].sum()),
        "trim_suspects": int(rows["trim_suspect"].sum()),
    }


def _kept(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    seconds = {"imported": rows["imported_seconds"], "kept": rows["kept_seconds"]}
    return {"utterances": {"imported": len(rows), "kept": int(rows["kept"].sum())},
            "hours": {name: _rounded(column.sum() / 3600, 5) for name, column in seconds.items()}}


def _loudness(lufs: pd.Series) -> dict[str, float | str | None]:
    """Mean and deviation over recordings, and the level and name of the quietest and the loudest."""
    names = {"quietest": lufs.idxmin(), "loudest": lufs.idxmax()} if len(lufs) else {}
    return {"mean": _rounded(lufs.mean(), 2), "std": _rounded(lufs.std(ddof=0), 2),
            "lowest": _rounded(lufs.min(), 2), "highest": _rounded(lufs.max(), 2), **names}


def _pitch(kept: pd.DataFrame) -> dict[str, float | None]:
    """Medians of the recordings' own median, 5th and 95th percentile (Hz), and the share of pressed voiced frames."""
    voiced = kept["frames"] * kept["voiced"]
    pressed = (kept["f0_pressed"] * voiced).sum() / voiced.sum() if voiced.sum() else math.nan
    ranges = {name: _rounded(kept[f"f0_{name}"].median(), 1) for name in ("median", "low", "high")}
    return {**ranges, "pressed": _rounded(pressed, 4)}


def _speaking_rate(kept: pd.DataFrame) -> float | None:
    """Letters of text per second of trimmed speech, over recordings that have text."""
    with_text = kept[kept["letters"] > 0]
    return _rounded(with_text["letters"].sum() / with_text["kept_seconds"].sum(), 2) if len(with_text) else None


def _histogram(values: pd.Series) -> dict[Any, int]:
    return {value: int(count) for value, count in values.value_counts().sort_index().items()}


def _directions(ratios: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Target seconds over source seconds in each direction, and the pairs whose ratio is an outlier."""
    directions = {}
    outliers = dict(list(ratios[ratios["outlier"]].groupby("direction")))
    grouped = ratios.groupby("direction")["ratio"]
    table = pd.DataFrame({"count": grouped.size(), "mean": grouped.mean(), "std": grouped.std(ddof=0)})
    for direction, row in table.to_dict("index").items():
        furthest = outliers.get(direction, ratios[:0]).sort_values("distance", ascending=False, kind="stable")[:LISTED]
        worst = {pair: _rounded(ratio, 3) for pair, ratio in zip(furthest["pair"], furthest["ratio"], strict=True)}
        directions[direction] = {
            "count": int(row["count"]), "mean": _rounded(row["mean"], 4), "std": _rounded(row["std"], 4),
            "outliers": {"count": len(outliers.get(direction, ())), "worst": worst}}
    return directions


def _duplicates(recordings: pd.DataFrame) -> dict[str, Any]:
    """Utterances whose samples equal those of another utterance; the names in the largest such groups."""
    same = recordings[recordings["digest"].notna() & recordings.duplicated("digest", keep=False)]
    groups = sorted(same.groupby("digest")["utterance"].agg(list), key=len, reverse=True)
    return {"utterances": len(same), "groups": len(groups), "largest": [names[:LISTED] for names in groups[:LISTED]]}


def _by_stage_and_reason(quarantine: pd.DataFrame) -> dict[str, Any]:
    counts: dict[str, Any] = {"total": len(quarantine)}
    for (stage, reason), count in quarantine.groupby(["stage", "reason"], sort=False).size().items():
        counts.setdefault(stage, {})[reason] = int(count)
    return counts


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
