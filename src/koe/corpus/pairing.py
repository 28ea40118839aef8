"""Pairs of recordings of one sentence, and their split into training, validation and test (lesson 3).

Who is converted into whom is a rule of the parameters (`pair.rule`), not of file names (lesson 25). Everything drawn
depends only on the seed and on names, so that adding a speaker or a sentence does not reshuffle the others.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from koe.corpus.dataset import Dataset
from koe.corpus.params import PairParams
from koe.corpus.quarantine import Quarantine, read_quarantine
from koe.errors import KoeError
from koe.names import Direction, Pair, corpus_of, find_speaker, pair_name, parts_of, speaker_key
from koe.randomness import seed_for
from koe.tables import Table
from koe.text.comparison import canonical, same_text

PAIRS = Table("pairs.csv", {
    "pair": str,  # `koe.names.pair_name`
    "sentence": str,
    "source": str,  # utterance
    "target": str,
    "split": str,  # of SPLITS
})
SPLITS = ("train", "validation", "test")
STAGES_BEFORE = ("corpus", "resampled", "trim", "features")  # whose quarantine may explain a missing partner


def pair_corpora(dataset: Dataset, params: PairParams, seed: int, folder: str | Path) -> pd.DataFrame:
    """Pairs what `extract` kept and splits the pairs; writes pairs.csv and quarantine.csv; returns the pairs.

    Every utterance that is in no pair has a row in the quarantine (lesson 23). Raises KoeError if too few sentences
    are left, or if a parameter names an unknown speaker.
    """
    quarantine = Quarantine("pair")
    kept = _kept(dataset, quarantine)
    candidates, refused = make_pairs(dataset, kept, params, seed, quarantine)
    _account_for_partners(dataset, kept, candidates, refused, quarantine)
    quarantine.write(folder)  # before the split, which may find too few sentences: the table says why
    split = assign_splits(candidates, kept, params, seed)
    pairs = hold_out_speakers(split, params, set(kept["speaker_key"]))
    for utterance in sorted(_sides(candidates) - _sides(pairs)):
        quarantine.add(utterance, "left_out_by_split", "pair.train, the held-out speakers, or a speaker without a "
                       "training pair leave none of its pairs")
    quarantine.write(folder)
    enrolment_utterances(dataset, pairs)  # raises for a held-out speaker without enrolment recordings
    pairs = pairs[list(PAIRS.columns)]
    PAIRS.write(folder, pairs)
    return pairs


def _kept(dataset: Dataset, quarantine: Quarantine) -> pd.DataFrame:
    """The utterance table, reduced to what `extract` kept, with the columns `corpus` and `speaker_key`.

    A speaker's second recording of a sentence in one style is excluded.
    """
    kept = dataset.utterances.loc[dataset.features["utterance"]].copy()
    kept["corpus"] = [corpus_of(name) for name in kept["utterance"]]
    kept["speaker_key"] = kept["corpus"] + "/" + kept["speaker"]
    twice = kept.duplicated(["speaker_key", "sentence", "style"])
    for row in kept[twice].itertuples():
        quarantine.add(row.utterance, "sentence_twice", f"{row.speaker} has another recording of {row.sentence}")
    return kept[~twice]


def make_pairs(
    dataset: Dataset, kept: pd.DataFrame, params: PairParams, seed: int, quarantine: Quarantine
) -> tuple[pd.DataFrame, dict[str, str]]:
    """All pairs that the rule selects, PAIRS without split; and for utterances of refused pairs, an example.

    `kept`: utterances by name (columns corpus, speaker_key, sentence, style, text, role). Two recordings pair if their
    sentence has the same name and they are in one style, in the same corpus or, with `across_corpora`, in any. Refused,
    with a row in `quarantine`: pairs whose texts differ, because one name then stands for two sentences, and pairs
    whose duration ratio is out of bounds.
    """
    frames = dataset.features["frames"]
    low, high = params.duration_ratio
    matched = _matched(kept, params, seed)
    ratios = frames.loc[matched["target"]].to_numpy() / frames.loc[matched["source"]].to_numpy()
    texts = dict(zip(kept["utterance"], kept["text"], strict=True))
    rows = []
    refused: dict[str, str] = {}
    for row, ratio in zip(matched.itertuples(index=False), ratios, strict=True):
        source_text, target_text = texts[row.source], texts[row.target]
        if source_text and target_text and not same_text(source_text, target_text):
            reason, detail = "text_differs", f"{source_text[:60]!r} and {target_text[:60]!r}"
        elif not low <= ratio <= high:
            reason = "duration_ratio"
            detail = f"{ratio:.2f} (target over source), outside pair.duration_ratio [{low:g}, {high:g}]"
        else:
            rows.append(row)
            continue
        quarantine.add(row.pair, reason, detail)
        refused |= dict.fromkeys((row.source, row.target), f"{row.pair}: {reason}")
    return pd.DataFrame(rows, columns=[name for name in PAIRS.columns if name != "split"]), refused


def _matched(kept: pd.DataFrame, params: PairParams, seed: int) -> pd.DataFrame:
    """All source and target utterances of a chosen direction that share sentence and style: PAIRS without split."""
    speakers = sorted(set(kept["speaker_key"]))
    listed = [Direction(find_speaker(source, speakers, "pair.chosen"), find_speaker(target, speakers, "pair.chosen"))
              for source, target in params.chosen]
    if params.rule == "chosen":
        speakers = sorted({speaker for direction in listed for speaker in direction})
    elif params.rule in ("one_way", "both"):
        speakers = sorted(set(kept.loc[kept["role"] != "", "speaker_key"]))
    columns = ["utterance", "corpus", "speaker_key", "sentence", "style"]
    recordings = kept.loc[kept["speaker_key"].isin(speakers), columns]
    shared = ["sentence", "style"] if params.across_corpora else ["corpus", "sentence", "style"]
    groups = recordings.reset_index(drop=True).groupby(shared, sort=True).indices.values()
    pairs = [_ordered_pairs(np.sort(members)) for members in groups if len(members) > 1]
    sources, targets = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    names = recordings["speaker_key"].to_numpy()
    roles = dict(zip(kept["speaker_key"], kept["role"], strict=True))
    possible = {Direction(source, target) for source, target in set(zip(names[sources], names[targets], strict=True))}
    directions = choose_directions(possible, roles, listed, params, seed)
    chosen = [direction in directions for direction in zip(names[sources], names[targets], strict=True)]
    utterances, sentences = recordings["utterance"].to_numpy(), recordings["sentence"].to_numpy()
    matched = pd.DataFrame({
        "sentence": sentences[sources[chosen]],
        "source": utterances[sources[chosen]], "target": utterances[targets[chosen]],
    })
    matched.insert(0, "pair", [pair_name(row.source, row.target) for row in matched.itertuples(index=False)])
    return matched.sort_values(["sentence", "source", "target"], ignore_index=True)


def _no_pairs(kept: pd.DataFrame, params: PairParams) -> str:
    """A hint for the user at why the rule finds no pair."""
    if kept["speaker_key"].nunique() < 2:
        return f"all recordings are of one speaker, {kept['speaker_key'].iloc[0]}"
    if params.rule in ("one_way", "both") and not {"source", "target"} <= set(kept["role"]):
        return "no recording of a source or of a target speaker was kept (corpora.<name>.source, corpora.<name>.target)"
    across = "" if params.across_corpora else ", or pair.across_corpora pairs those of different corpora"
    return ("do the speakers share sentences by name (corpora.<name>.match: text goes by the text"
            f"{across})? data/pairs/quarantine.csv has a row for each recording")


def _ordered_pairs(members: np.ndarray) -> np.ndarray:
    """All ordered pairs of different members: (2, n * (n - 1))."""
    left, right = np.repeat(members, len(members)), np.tile(members, len(members))
    return np.stack([left, right])[:, left != right]


def choose_directions(
    possible: set[Direction], roles: dict[str, str], listed: Iterable[Direction], params: PairParams, seed: int
) -> set[Direction]:
    """The directions that the rule selects from the `possible` ones, those with a sentence in common.

    `listed` are those of `pair.chosen`. `sampled` ranks the targets of each source by a hash of the seed and both
    names, so that a new speaker takes at most one place in any source's list (highest random weight, Thaler &
    Ravishankar 1998).
    """
    if params.rule == "all":
        return possible
    if params.rule == "chosen":
        return possible & set(listed)
    if params.rule == "sampled":
        targets: dict[str, list[str]] = {}
        for direction in possible:
            targets.setdefault(direction.source, []).append(direction.target)
        ranked = {source: sorted(names, key=lambda target: (seed_for(seed, "pair", source, target), target))
                  for source, names in targets.items()}
        return {Direction(source, target)
                for source, names in ranked.items() for target in names[:params.targets_per_source]}
    forward = {direction for direction in possible
               if roles[direction.source] == "source" and roles[direction.target] == "target"}
    back = {Direction(source=direction.target, target=direction.source) for direction in forward}
    return forward | back if params.rule == "both" else forward


def assign_splits(pairs: pd.DataFrame, kept: pd.DataFrame, params: PairParams, seed: int) -> pd.DataFrame:
    """The pairs with their `split`; those beyond `pair.train` are left out.

    All pairs of a sentence, in whatever style, are in one split: the same words, whispered, would leak.
    Sentences are ranked by a hash of the seed and their name. Counts take the first of them, so that adding a
    sentence moves at most one other across each border; shares take those whose hash is below the share, so that it
    moves none. Sentences of the same text, in another corpus or under another name, stay together and count as one.
    Raises KoeError if a split is left empty.
    """
    units, draws = _units(kept.loc[sorted(_sides(pairs))], seed)
    waiting = sorted(draws, key=lambda unit: (draws[unit], unit))
    if not waiting:
        raise KoeError(f"pair.rule: {params.rule} finds no two recordings of a sentence to pair; "
                       f"{_no_pairs(kept, params)}")
    splits: dict[str, str] = {}
    border = 0.0
    for name in ("test", "validation", "train"):
        size: int | float | None = getattr(params, name)
        if isinstance(size, float):
            border += size
            taken = [unit for unit in waiting if draws[unit] < border]
        else:
            taken = waiting[:size]
            border = draws[taken[-1]] if taken else border
        if not taken or (isinstance(size, int) and len(taken) < size):
            raise KoeError(
                f"pair.{name}: {'the rest' if size is None else size} of the sentences, but only {len(taken)} of the "
                f"{len(draws)} that have pairs are left for it (test, validation and train take theirs in this order); "
                "lower pair.test or pair.validation, or add recordings")
        splits |= dict.fromkeys(taken, name)
        waiting = [unit for unit in waiting if unit not in splits]
    split = pairs["sentence"].map(lambda sentence: splits.get(units[sentence], ""))
    return pairs.assign(split=split)[split != ""].reset_index(drop=True)


def _units(rows: pd.DataFrame, seed: int) -> tuple[dict[str, str], dict[str, float]]:
    """The unit of each sentence, which goes into one split, and a draw for each unit.

    A unit has the name of one of its sentences, those that share a text directly or through others. The draw, from 0 to
    1, is the lowest of the unit's texts, or of its names where it has no text: the same texts under other names, in
    another corpus, change nothing.
    """
    parent: dict[str, str] = {sentence: sentence for sentence in rows["sentence"]}

    def root(sentence: str) -> str:
        while parent[sentence] != sentence:
            parent[sentence] = sentence = parent[parent[sentence]]
        return sentence

    first_of: dict[str, str] = {}
    for sentence, text in zip(rows["sentence"], rows["text"], strict=True):
        if key := canonical(text):
            parent[root(sentence)] = root(first_of.setdefault(key, sentence))
    units = {sentence: root(sentence) for sentence in parent}
    draws: dict[str, float] = {}
    named = set(units.values()) - {units[sentence] for sentence in first_of.values()}
    for text, sentence in [*first_of.items(), *((name, name) for name, unit in units.items() if unit in named)]:
        unit, draw = units[sentence], seed_for(seed, "split", text) / 2**63
        draws[unit] = min(draw, draws.get(unit, 1.0))
    return units, draws


def hold_out_speakers(pairs: pd.DataFrame, params: PairParams, speakers: Iterable[str]) -> pd.DataFrame:
    """The pairs without those that would expose a held-out speaker too early.

    Training has no pair with one. Where `pair.test_speakers` are named, every test pair has one of them, and neither
    training nor validation does; likewise for validation. Any other speaker without a training pair, because all of
    their few sentences are held out, is left out of validation and test too. Raises KoeError if that leaves a split
    empty.
    """
    speakers = set(speakers)
    held = {split: {find_speaker(name, speakers, f"pair.{split}_speakers")
                    for name in getattr(params, f"{split}_speakers")} for split in ("validation", "test")}
    if both := sorted(held["validation"] & held["test"]):
        raise KoeError(f"pair.validation_speakers, pair.test_speakers: {', '.join(both)} cannot be held out for both")

    def is_allowed(split: str, direction: Direction) -> bool:
        forbidden = set().union(*(names for name, names in held.items() if name != split))
        required = held.get(split, set())
        return not forbidden & set(direction) and (not required or bool(required & set(direction)))

    remaining = pairs[list(map(is_allowed, pairs["split"], directions_of(pairs)))]
    trained = {speaker_key(name) for name in _sides(remaining[remaining["split"] == "train"])}
    known = trained | held["validation"] | held["test"]
    remaining = remaining[[known.issuperset(direction) for direction in directions_of(remaining)]]
    empty = [split for split in SPLITS if split not in set(remaining["split"])]
    if empty:
        raise KoeError(f"pair.validation_speakers, pair.test_speakers: no pair is left for {', '.join(empty)}; hold "
                       "out fewer speakers, or let pair.rule make pairs with them")
    return remaining.reset_index(drop=True)


def directions_of(pairs: pd.DataFrame) -> list[Direction]:
    """Source and target speaker of each pair, in order."""
    sides = zip(pairs["source"], pairs["target"], strict=True)
    return [Direction(speaker_key(source), speaker_key(target)) for source, target in sides]


def _sides(pairs: pd.DataFrame) -> set[str]:
    return {*pairs["source"], *pairs["target"]}


def _account_for_partners(
    dataset: Dataset, kept: pd.DataFrame, candidates: pd.DataFrame, refused: dict[str, str], quarantine: Quarantine
) -> None:
    """A quarantine row for each utterance that is in no pair (lesson 23): the reason, as far as it is known."""
    paired = _sides(candidates)
    shared = kept.groupby(["sentence", "style"])["speaker_key"].transform("nunique") > 1
    excluded = _excluded_before(dataset)
    for row, has_partner in zip(kept.itertuples(), shared, strict=True):
        if row.utterance in paired:
            continue
        if row.utterance in refused:
            reason, detail = "in_no_pair", f"its pairs were refused, e.g. {refused[row.utterance]}"
        elif has_partner:
            reason, detail = "not_in_rule", "pair.rule and pair.across_corpora ask for none of its pairs"
        else:
            known = "; ".join(excluded.get((row.corpus, row.sentence, row.style), []))
            spoken = f"{row.sentence}, {row.style}," if row.style else row.sentence
            missing = f"no other speaker's recording of {spoken} was found"
            reason, detail = "partner_missing", f"excluded earlier: {known}" if known else missing
        quarantine.add(row.utterance, reason, detail)


def _excluded_before(dataset: Dataset) -> dict[tuple[str, str, str], list[str]]:
    """Exclusions by earlier stages, by (corpus, sentence, style)."""
    folders = [dataset.data / stage / corpus for corpus in dataset.corpora for stage in STAGES_BEFORE]
    excluded: dict[tuple[str, str, str], list[str]] = {}
    for row in read_quarantine(folders).itertuples():
        parts = parts_of(row.utterance)
        excluded.setdefault((parts.corpus, parts.sentence, parts.style), []).append(
            f"{row.utterance}: {row.stage}, {row.reason}")
    return excluded


def read_pairs(folder: str | Path) -> pd.DataFrame:
    """The pairs (columns of PAIRS), after checking that the splits share no sentence and no utterance.

    Raises KoeError if they do, or if a split has an unknown name or no pairs (lesson 3).
    """
    path = Path(folder) / PAIRS.file
    pairs = PAIRS.read(folder)
    invalid = sorted(set(pairs["split"]) ^ set(SPLITS))
    if invalid:
        raise KoeError(f"{path}: split {', '.join(invalid)} is unknown or empty; expected {', '.join(SPLITS)}, "
                       "each with pairs. Run dvc repro pair")
    for column in ("sentence", "source", "target"):
        splits = pairs.groupby(column)["split"].nunique()
        shared = list(splits.index[splits > 1])
        if shared:
            raise KoeError(f"{path}: {column} {shared[0]!r} is in more than one split ({len(shared)} such); "
                           "validation and test share nothing with training. Run dvc repro pair")
    return pairs


def pairs_in(pairs: pd.DataFrame, *splits: str) -> list[Pair]:
    """Name and sides of the pairs in the given splits, or of all."""
    chosen = pairs[pairs["split"].isin(splits)] if splits else pairs
    return [Pair(row.pair, row.source, row.target) for row in chosen.itertuples(index=False)]


def draw_pairs(pairs: list[Pair], most: int, seed: int) -> list[Pair]:
    """At most `most` of the pairs, in their order, drawn by a hash of the seed and their names."""
    if len(pairs) <= most:
        return pairs
    drawn = set(sorted(pairs, key=lambda pair: seed_for(seed, "draw", pair.name))[:most])
    return [pair for pair in pairs if pair in drawn]


def enrolment_utterances(dataset: Dataset, pairs: pd.DataFrame) -> dict[str, list[str]]:
    """Enrolment recordings of each speaker in the pairs, sorted, by `<corpus>/<speaker>`.

    They are those of the speaker's training pairs; for a held-out speaker, who has none, their recordings of training
    sentences, as one would have of a new speaker; nothing of validation or test. Raises KoeError for a speaker without.
    """
    train = pairs[pairs["split"] == "train"]
    speakers = {speaker_key(name) for name in _sides(pairs)}
    recordings: dict[str, list[str]] = {speaker: [] for speaker in sorted(speakers)}
    for name in sorted(_sides(train)):
        recordings[speaker_key(name)].append(name)
    held_out = {speaker for speaker, names in recordings.items() if not names}
    if held_out:
        kept = dataset.utterances.loc[dataset.features["utterance"]]
        for name in sorted(kept.loc[kept["sentence"].isin(set(train["sentence"])), "utterance"]):
            if speaker_key(name) in held_out:
                recordings[speaker_key(name)].append(name)
    unknown = [speaker for speaker, names in recordings.items() if not names]
    if unknown:
        raise KoeError(f"pair.validation_speakers, pair.test_speakers: {', '.join(unknown)} have recorded no "
                       "training sentence, so nothing could enrol them; hold out other speakers")
    return recordings
