"""Counting what the data stages kept, excluded and marked: nothing is missing from these numbers (lesson 23)."""

from pathlib import Path
from typing import Any

import pandas as pd

from koe.corpus.dataset import Dataset, corpus_of
from koe.corpus.quarantine import read_quarantine
from koe.files import read_table

_UTTERANCE_STAGES = ("corpus", "resampled", "trim", "features")


def quarantine_folders(dataset: Dataset) -> list[Path]:
    """Every folder in which a stage left a quarantine table, in the order of the stages."""
    folders = [dataset.data / stage / corpus for stage in _UTTERANCE_STAGES for corpus in dataset.corpora]
    return [*folders, dataset.data / "pairs", dataset.data / "alignment"]


def count_data(dataset: Dataset) -> dict[str, Any]:
    """The content of `metrics/data.json`: counts of utterances and pairs, and seconds, of all corpora.

    `imported` is what the import stage took over, `kept` what has features. `unaccounted` counts what is neither in
    a pair nor in a quarantine, and pairs neither aligned nor in a quarantine: anything but 0 is a fault of a stage.
    """
    quarantine = read_quarantine(quarantine_folders(dataset))
    pairs = read_table(dataset.data / "pairs" / "pairs.csv")
    alignment = read_table(dataset.data / "alignment" / "alignment.csv")
    utterances = _utterances(dataset)
    frames = dataset.features["frames"].astype(float)
    ratios = frames.loc[pairs["target"]].to_numpy() / frames.loc[pairs["source"]].to_numpy()
    missing = unaccounted_utterances(utterances["utterance"], pairs, quarantine)
    missing += sorted(set(pairs["pair"]) - set(alignment["pair"]) - set(quarantine["utterance"]))
    return {
        "utterances": {"imported": len(utterances), "kept": int(utterances["kept"].sum())},
        "seconds": {name: round(float(utterances[f"{name}_seconds"].sum()), 1) for name in ("imported", "kept")},
        "quarantined": {"total": len(quarantine), **_by_stage_and_reason(quarantine)},
        "unaccounted": len(missing),
        "trim_suspects": int(utterances["trim_suspects"].sum()),
        "alignment_suspects": int(alignment["suspect"].sum()),
        "upsampled": int(utterances["upsampled"].sum()),
        "clipped": int(utterances["clipped"].sum()),
        "pairs": {split: int((pairs["split"] == split).sum()) for split in ("train", "validation", "test")},
        "duration_ratio": round(float(ratios.mean()), 4) if len(ratios) else None,
        "speakers": {f"{corpus}/{speaker}": _speaker(rows, f"{corpus}/{speaker}/", quarantine)
                     for (corpus, speaker), rows in utterances.groupby(["corpus", "speaker"])},
    }


def unaccounted_utterances(utterances: pd.Series, pairs: pd.DataFrame, quarantine: pd.DataFrame) -> list[str]:
    """Utterances in no pair that no quarantine names, neither themselves nor as a side of an excluded pair."""
    excluded = set(quarantine["utterance"])
    accounted = set(pairs["source"]) | set(pairs["target"]) | excluded

    def in_excluded_pair(utterance: str) -> bool:
        corpus, speaker, sentence = utterance.split("/", 2)
        sides = (name.removeprefix(f"{corpus}/{sentence}/") for name in excluded
                 if name.startswith(f"{corpus}/{sentence}/"))
        return any(side.startswith(f"{speaker}-") or side.endswith(f"-{speaker}") for side in sides)

    return sorted(name for name in set(utterances) - accounted if not in_excluded_pair(name))


def _utterances(dataset: Dataset) -> pd.DataFrame:
    """All imported utterances, with what became of each in columns that can be summed."""
    table = dataset.utterances[["utterance", "speaker", "seconds"]].rename(columns={"seconds": "imported_seconds"})
    resampled = pd.concat(read_table(dataset.data / "resampled" / corpus / "table.csv") for corpus in dataset.corpora)
    resampled = resampled.set_index("utterance").reindex(table.index)
    frames = dataset.features["frames"].reindex(table.index)
    mel = dataset.mel_params
    return table.assign(
        corpus=table["utterance"].map(corpus_of),
        kept=frames.notna(),
        kept_seconds=frames.fillna(0) * mel.hop_length / mel.sample_rate,
        upsampled=resampled["native_rate"] < mel.sample_rate,
        clipped=resampled["clipped"] > 0,
        trim_suspects=dataset.cuts["suspect"].reindex(table.index).fillna(0) > 0,
    )


def _by_stage_and_reason(quarantine: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (stage, reason), rows in quarantine.groupby(["stage", "reason"], sort=False):
        counts.setdefault(str(stage), {})[str(reason)] = len(rows)
    return counts


def _speaker(rows: pd.DataFrame, prefix: str, quarantine: pd.DataFrame) -> dict[str, float]:
    return {
        "imported": len(rows),
        "imported_seconds": round(float(rows["imported_seconds"].sum()), 1),
        "kept": int(rows["kept"].sum()),
        "kept_seconds": round(float(rows["kept_seconds"].sum()), 1),
        "quarantined": int(quarantine["utterance"].str.startswith(prefix).sum()),
        "trim_suspects": int(rows["trim_suspects"].sum()),
        "upsampled": int(rows["upsampled"].sum()),
    }
