"""Pairs of recordings of one sentence, and their split into training, validation and test (lesson 3)."""

from pathlib import Path

import pandas as pd

from koe.corpus.dataset import Dataset, corpus_of, speaker_of
from koe.corpus.quarantine import Quarantine, read_quarantine
from koe.errors import KoeError
from koe.files import read_table, write_table
from koe.params import PairParams
from koe.randomness import seed_for

TABLE = "pairs.csv"
COLUMNS = ["pair", "sentence", "source", "target", "split"]
SPLITS = ("train", "validation", "test")
STAGES_BEFORE = ("corpus", "resampled", "trim", "features")  # whose quarantine may explain a partner


def pair_corpora(dataset: Dataset, params: PairParams, seed: int, folder: str | Path) -> pd.DataFrame:
    """Pairs what `extract` kept and splits it; writes pairs.csv and quarantine.csv; returns the pairs.

    Every utterance that is in no pair has a row in the quarantine. Raises KoeError if too few sentences are
    left.
    """
    quarantine = Quarantine("pair")
    pairs = make_pairs(dataset, params, quarantine)
    quarantine.write(folder)  # before the split, which may find too few: here is why
    pairs["split"] = assign_splits(pairs, dataset.utterances, params, seed)
    write_table(Path(folder) / TABLE, pairs[COLUMNS])
    return pairs[COLUMNS]


def make_pairs(dataset: Dataset, params: PairParams, quarantine: Quarantine) -> pd.DataFrame:
    """All pairs of a source's and a target's recording of a sentence of one corpus: COLUMNS without split.

    With direction `both`, each also the other way round. Excluded, with a row in `quarantine`: a second
    recording of a sentence by the same speaker, a recording without a partner (named, and why it is missing,
    where known: lesson 23), and pairs whose duration ratio is out of bounds.
    """
    kept = dataset.utterances.loc[dataset.features["utterance"]].reset_index(drop=True)
    kept["corpus"] = kept["utterance"].map(corpus_of)
    twice = kept.duplicated(["corpus", "speaker", "sentence"])
    for row in kept[twice].itertuples():
        detail = f"{row.speaker} has another recording of {row.sentence}"
        quarantine.add(row.utterance, "sentence_twice", detail)
    kept = kept[~twice]
    sides = kept[["corpus", "sentence", "utterance"]]
    sources = sides[kept["role"] == "source"].rename(columns={"utterance": "source"})
    targets = sides[kept["role"] == "target"].rename(columns={"utterance": "target"})
    matched = sources.merge(targets, on=["corpus", "sentence"])
    alone = kept[~kept["utterance"].isin([*matched["source"], *matched["target"]])]
    _account_for_partners(dataset, alone, quarantine)
    if params.direction == "both":
        swapped = matched.rename(columns={"source": "target", "target": "source"})
        matched = pd.concat([matched, swapped], ignore_index=True)
    rows = []
    frames = dataset.features["frames"]
    low, high = params.duration_ratio
    for row in matched.itertuples():
        pair = f"{row.corpus}/{row.sentence}/{speaker_of(row.source)}-{speaker_of(row.target)}"
        ratio = frames[row.target] / frames[row.source]
        if low <= ratio <= high:
            rows.append((pair, row.sentence, row.source, row.target))
        else:
            detail = f"{ratio:.2f} (target over source), outside pair.duration_ratio [{low:g}, {high:g}]"
            quarantine.add(pair, "duration_ratio", detail)
    return pd.DataFrame(rows, columns=COLUMNS[:-1])


def _account_for_partners(dataset: Dataset, alone: pd.DataFrame, quarantine: Quarantine) -> None:
    """A quarantine row for each utterance of `alone`, with what became of its partner (lesson 23)."""
    folders = [dataset.data / stage / corpus for corpus in dataset.corpora for stage in STAGES_BEFORE]
    excluded: dict[tuple[str, str], list[str]] = {}
    for row in read_quarantine(folders).itertuples():
        corpus, _, rest = row.utterance.partition("/")
        sentence = rest.partition("/")[2]
        excluded.setdefault((corpus, sentence), []).append(f"{row.utterance}: {row.stage}, {row.reason}")
    for row in alone.itertuples():
        partner = "target" if row.role == "source" else "source"
        known = "; ".join(excluded.get((row.corpus, row.sentence), []))
        missing = f"no {partner} recording of {row.sentence} was found"
        quarantine.add(row.utterance, "partner_missing", f"excluded earlier: {known}" if known else missing)


def assign_splits(pairs: pd.DataFrame, utterances: pd.DataFrame, params: PairParams, seed: int) -> pd.Series:
    """`train`, `validation` or `test` for each pair, the same for all pairs of a sentence.

    Sentences are ranked by a hash of the seed and their name, so that adding one moves at most one other
    across each border. Sentences of the same text, in another corpus or under another name, stay together and
    count as one. Raises KoeError unless one is left to train on.
    """
    units = _units(utterances.loc[pairs["source"]])
    ranked = sorted(set(units.values()), key=lambda unit: (seed_for(seed, "split", unit), unit))
    if len(ranked) < params.test + params.validation + 1:
        raise KoeError(
            f"pair.validation, pair.test: {params.validation} + {params.test} sentences are held out and at "
            f"least one is needed to train on, but {len(ranked)} have pairs; lower them or add recordings")
    splits = dict.fromkeys(ranked, "train")
    splits |= dict.fromkeys(ranked[: params.test], "test")
    splits |= dict.fromkeys(ranked[params.test : params.test + params.validation], "validation")
    return pairs["sentence"].map(lambda sentence: splits[units[sentence]])


def _units(rows: pd.DataFrame) -> dict[str, str]:
    """Sentence → what is split as one: the first name of those that share its text, directly or not."""
    units = {sentence: sentence for sentence in sorted(set(rows["sentence"]))}
    sentences_of: dict[str, set[str]] = {}
    for row in rows.itertuples():
        sentences_of.setdefault(" ".join(row.text.casefold().split()), set()).add(row.sentence)
    for text, sentences in sentences_of.items():
        if not text or len(sentences) == 1:
            continue
        same = {units[sentence] for sentence in sentences}
        units = {sentence: min(same) if unit in same else unit for sentence, unit in units.items()}
    return units


def read_pairs(folder: str | Path) -> pd.DataFrame:
    """The pairs (columns COLUMNS), after checking that the splits share no sentence and no utterance.

    Raises KoeError if they do, or if a split has an unknown name or no pairs (lesson 3).
    """
    path = Path(folder) / TABLE
    pairs = read_table(path)
    wrong = sorted(set(pairs["split"]) ^ set(SPLITS))
    if wrong:
        raise KoeError(f"{path}: split {', '.join(wrong)} is unknown or empty; expected {', '.join(SPLITS)}, "
                       "each with pairs. Run dvc repro pair")
    for column in ("sentence", "source", "target"):
        splits = pairs.groupby(column)["split"].nunique()
        shared = list(splits.index[splits > 1])
        if shared:
            raise KoeError(f"{path}: {column} {shared[0]!r} is in more than one split ({len(shared)} such); "
                           "validation and test share nothing with training. Run dvc repro pair")
    return pairs


def pairs_in(pairs: pd.DataFrame, *splits: str) -> list[tuple[str, str, str]]:
    """(pair, source, target) of the pairs in the given splits, or of all."""
    chosen = pairs[pairs["split"].isin(splits)] if splits else pairs
    return list(chosen[["pair", "source", "target"]].itertuples(index=False, name=None))
