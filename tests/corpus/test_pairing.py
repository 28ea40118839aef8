"""Who is paired with whom, the split, and what becomes of those without a partner."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filled_tables import write_filled

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import (
    PAIRS,
    assign_splits,
    choose_directions,
    directions_of,
    enrolment_utterances,
    pair_corpora,
    read_pairs,
)
from koe.corpus.params import PairParams
from koe.corpus.quarantine import QUARANTINE, read_quarantine
from koe.corpus.tables.features import FEATURES
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import KoeError, ParameterError
from koe.names import Direction, parts_of, utterance_name
from koe.tasks.conversion.params import ConditioningParams
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import require_conditioning

ROLES = {"heart": "source", "joe": "target"}
FOUR = {"ann": "", "bob": "", "cat": "", "dan": ""}
NONE = ConditioningParams(by="none", level="speaker", size=8)


def write_corpus(
    data: Path, names: list[str], missing: dict[str, str] | None = None, corpus: str = "demo",
    texts: dict[str, str] | None = None, frames: dict[str, int] | None = None, speakers: dict[str, str] | None = None,
    styles: tuple[str, ...] = ("",),
) -> None:
    """What import and extract leave. `missing`: utterances that are in the tables of import only → the reason.

    `texts`: by sentence, or by utterance.
    """
    missing, texts = missing or {}, texts or {}
    rows = []
    for sentence in names:
        for (speaker, role), style in product((speakers or ROLES).items(), styles):
            utterance = utterance_name(corpus, speaker, sentence, style)
            text = texts.get(utterance, texts.get(sentence, f"This is {sentence}."))
            rows.append({"utterance": utterance, "speaker": speaker, "sentence": sentence, "style": style, "text": text,
                         "role": role})
    table = pd.DataFrame(rows)
    write_filled(UTTERANCES, data / "corpus" / corpus, table)
    kept = table[~table["utterance"].isin(missing)][["utterance"]]
    kept = kept.assign(frames=[(frames or {}).get(name, 100) for name in kept["utterance"]])
    write_filled(FEATURES, data / "features" / corpus, kept)
    for stage in ("corpus", "resampled", "trim", "features"):
        excluded = [(name, "trim", why, "") for name, why in missing.items() if stage == "trim"]
        QUARANTINE.write(data / stage / corpus, pd.DataFrame(excluded, columns=list(QUARANTINE.columns)))


def numbered(count: int, first: int = 0) -> list[str]:
    return [f"{number:03d}" for number in range(first, first + count)]


def rules(**updates: Any) -> PairParams:
    plain = {"rule": "one_way", "targets_per_source": None, "chosen": [], "across_corpora": False,
             "duration_ratio": (0.5, 2.0), "train": None, "validation": 3, "test": 4, "validation_speakers": [],
             "test_speakers": []}
    return PairParams.model_validate(plain | updates)


class Data:
    """A data folder, and pairing what lies there."""

    def __init__(self, folder: Path, params: Params) -> None:
        self.folder = folder
        self.mel = params.mel

    def dataset(self, *corpora: str) -> Dataset:
        return Dataset(list(corpora or ["demo"]), self.mel, self.folder)

    def pair(self, *corpora: str, seed: int = 1, **updates: Any) -> pd.DataFrame:
        return pair_corpora(self.dataset(*corpora), rules(**updates), seed, self.folder / "pairs")

    @property
    def quarantine(self) -> pd.DataFrame:
        return read_quarantine([self.folder / "pairs"])


@pytest.fixture()
def data(tmp_path: Path, params: Params) -> Data:
    return Data(tmp_path, params)


def splits_of(pairs: pd.DataFrame) -> dict[str, str]:
    return dict(zip(pairs["sentence"], pairs["split"], strict=True))


def test_one_way_joins_the_sources_recording_with_the_targets(data: Data) -> None:
    write_corpus(data.folder, numbered(10), speakers={**ROLES, "other": ""})
    pairs = data.pair()
    assert list(pairs["pair"]) == [f"demo/{number}/heart-joe" for number in numbered(10)]
    assert list(pairs["source"]) == [f"demo/heart/{number}" for number in numbered(10)]
    assert list(pairs["target"]) == [f"demo/joe/{number}" for number in numbered(10)]
    assert pairs["split"].value_counts().to_dict() == {"test": 4, "validation": 3, "train": 3}
    assert set(data.quarantine["reason"]) == {"not_in_rule"} and len(data.quarantine) == 10  # of speaker other
    pd.testing.assert_frame_equal(read_pairs(data.folder / "pairs"), pairs)


def test_both_directions_of_a_sentence_share_a_split(data: Data) -> None:
    write_corpus(data.folder, numbered(10))
    pairs = data.pair(rule="both")
    assert len(pairs) == 20
    assert set(pairs["source"]) == set(pairs["target"])
    assert (pairs.groupby("sentence")["split"].nunique() == 1).all()
    assert {"demo/003/heart-joe", "demo/003/joe-heart"} <= set(pairs["pair"])


def test_all_pairs_every_speaker_with_every_other(data: Data) -> None:
    write_corpus(data.folder, numbered(10), speakers=FOUR)
    pairs = data.pair(rule="all")
    assert len(pairs) == 10 * 4 * 3
    assert pairs["pair"].is_unique
    assert (pairs["source"] != pairs["target"]).all()
    assert (pairs.groupby("sentence")["split"].nunique() == 1).all()


def test_lesson_25_each_speaker_to_so_many_others(data: Data) -> None:
    speakers = {f"jvs{number:03d}": "" for number in range(1, 21)}
    write_corpus(data.folder, numbered(10), speakers=speakers)
    pairs = data.pair(rule="sampled", targets_per_source=4)
    targets = pd.DataFrame(directions_of(pairs), columns=["source", "target"]).groupby("source")["target"].nunique()
    assert len(targets) == 20 and (targets == 4).all()
    assert splits_of(pairs) == splits_of(data.pair(rule="all"))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(3, 30), targets=st.integers(1, 5), seed=st.integers(0, 1000))
def test_lesson_25_a_new_speaker_does_not_reshuffle_the_others(count: int, targets: int, seed: int) -> None:
    speakers = [f"c/{number}" for number in range(count)]
    asked = rules(rule="sampled", targets_per_source=targets)

    def chosen(names: list[str]) -> dict[str, set[str]]:
        possible = {Direction(source, target) for source in names for target in names if source != target}
        found = choose_directions(possible, {}, [], asked, seed)
        return {name: {target for source, target in found if source == name} for name in names}

    before, after = chosen(speakers), chosen([*speakers, "c/new"])
    for name in speakers:
        assert after[name] - before[name] <= {"c/new"}
        assert len(before[name] - after[name]) <= 1
        assert len(after[name]) == min(targets, count)


def test_chosen_pairs_are_those_and_no_others(data: Data) -> None:
    write_corpus(data.folder, numbered(10), speakers=FOUR)
    pairs = data.pair(rule="chosen", chosen=[["ann", "bob"], ["demo/cat", "ann"]])
    assert set(directions_of(pairs)) == {("demo/ann", "demo/bob"), ("demo/cat", "demo/ann")}
    assert set(data.quarantine["reason"]) == {"not_in_rule"}
    assert {name.split("/")[1] for name in data.quarantine["utterance"]} == {"dan"}


@pytest.mark.parametrize(("name", "message"), [
    ("eve", r"pair\.chosen: no speaker 'eve'; there are demo/ann, .*demo/dan"),
    ("ann", r"pair\.chosen: speaker 'ann' is in demo/ann, other/ann; write corpus/speaker"),
])
def test_a_speaker_that_is_not_there_or_twice_is_named(data: Data, name: str, message: str) -> None:
    write_corpus(data.folder, numbered(10), speakers=FOUR)
    write_corpus(data.folder, numbered(10), speakers={"ann": ""}, corpus="other")
    with pytest.raises(KoeError, match=message):
        data.pair("demo", "other", rule="chosen", chosen=[[name, "bob"]])


def test_sentences_pair_across_corpora_only_if_asked(data: Data) -> None:
    write_corpus(data.folder, numbered(10), corpus="jsut", speakers={"jsut": "source"})
    write_corpus(data.folder, numbered(10), corpus="jsss", speakers={"jsss": "target"})
    pairs = data.pair("jsut", "jsss", across_corpora=True)
    assert pairs["pair"].iloc[0] == "jsut+jsss/000/jsut-jsss"
    assert set(directions_of(pairs)) == {("jsut/jsut", "jsss/jsss")}
    with pytest.raises(KoeError, match=r"pair\.rule: one_way finds no two .* pair\.across_corpora pairs those"):
        data.pair("jsut", "jsss")
    assert len(data.quarantine) == 20


def test_recordings_pair_with_those_of_their_style(data: Data) -> None:
    write_corpus(data.folder, numbered(12), {"demo/joe/003/whisper": "silence_only"}, styles=("", "whisper"))
    pairs = data.pair()
    assert len(pairs) == 23 and pairs["pair"].is_unique
    assert {"demo/000/heart-joe", "demo/000/heart-joe/whisper"} <= set(pairs["pair"])
    for row in pairs.itertuples():
        source, target = parts_of(row.source), parts_of(row.target)
        assert (source.sentence, source.style) == (target.sentence, target.style) == (row.sentence, source.style)
    [lonely] = data.quarantine.to_dict("records")
    assert (lonely["utterance"], lonely["reason"]) == ("demo/heart/003/whisper", "partner_missing")
    assert lonely["detail"] == "excluded earlier: demo/joe/003/whisper: trim, silence_only"


@pytest.mark.parametrize("across", [False, True])
def test_lesson_03_all_styles_of_a_sentence_are_in_one_split(data: Data, across: bool) -> None:
    write_corpus(data.folder, numbered(12))
    before = splits_of(data.pair(across_corpora=across))
    write_corpus(data.folder, numbered(12), styles=("falsetto", "", "whisper"), texts=dict.fromkeys(numbered(12), ""))
    pairs = data.pair(across_corpora=across)
    assert len(pairs) == 36
    assert (pairs.groupby("sentence")["split"].nunique() == 1).all()
    write_corpus(data.folder, numbered(12), styles=("", "whisper"))
    assert splits_of(data.pair(across_corpora=across)) == before  # more styles move nothing


def test_a_dash_in_a_speakers_name_makes_no_two_pairs_one(data: Data) -> None:
    write_corpus(data.folder, numbered(10), speakers={"a": "", "b-c": "", "a-b": "", "c": ""})
    pairs = data.pair(rule="chosen", chosen=[["a", "b-c"], ["a-b", "c"], ["a", "c"]])
    assert pairs["pair"].is_unique and len(pairs) == 30
    assert {"demo/000/a/to/b-c", "demo/000/a-b/to/c", "demo/000/a-c"} <= set(pairs["pair"])


def test_lesson_23_a_missing_partner_is_named_with_its_reason(data: Data) -> None:
    write_corpus(data.folder, numbered(12), {"demo/joe/003": "silence_only", "demo/heart/007": "too_short"})
    pairs = data.pair()
    rows = data.quarantine
    assert list(rows["utterance"]) == ["demo/heart/003", "demo/joe/007"]
    assert set(rows["reason"]) == {"partner_missing"} and set(rows["stage"]) == {"pair"}
    assert "demo/joe/003" in rows["detail"][0] and "silence_only" in rows["detail"][0]
    used = {*pairs["source"], *pairs["target"]}
    kept = set(FEATURES.read(data.folder / "features/demo")["utterance"])
    assert used | set(rows["utterance"]) == kept  # every utterance is somewhere


def test_lesson_23_a_partner_never_recorded(data: Data) -> None:
    write_corpus(data.folder, numbered(12))
    for folder, table in (("corpus/demo", UTTERANCES), ("features/demo", FEATURES)):
        rows = table.read(data.folder / folder)
        table.write(data.folder / folder, rows[rows["utterance"] != "demo/joe/005"])
    data.pair()
    assert list(data.quarantine["utterance"]) == ["demo/heart/005"]
    assert data.quarantine["detail"][0] == "no other speaker's recording of 005 was found"


def test_a_duration_ratio_out_of_bounds_is_quarantined_with_its_sides(data: Data) -> None:
    write_corpus(data.folder, numbered(12), frames={"demo/joe/001": 201, "demo/joe/002": 200, "demo/joe/003": 49})
    pairs = data.pair()
    rows = data.quarantine.set_index("utterance")
    assert set(rows.index) == {"demo/001/heart-joe", "demo/heart/001", "demo/joe/001",
                               "demo/003/heart-joe", "demo/heart/003", "demo/joe/003"}
    assert rows["reason"].value_counts().to_dict() == {"duration_ratio": 2, "in_no_pair": 4}
    detail = rows.loc["demo/001/heart-joe", "detail"]
    assert "2.01" in detail and "pair.duration_ratio" in detail
    assert "002" in set(pairs["sentence"]) and not {"001", "003"} & set(pairs["sentence"])


def test_one_name_for_two_texts_is_no_pair(data: Data) -> None:
    write_corpus(data.folder, numbered(12), texts={
        "demo/joe/004": "Something else.", "demo/joe/005": "this IS 005!", "demo/heart/006": ""})
    pairs = data.pair()
    assert "004" not in set(pairs["sentence"]) and {"005", "006"} <= set(pairs["sentence"])
    rows = data.quarantine.set_index("utterance")
    assert rows.loc["demo/004/heart-joe", "reason"] == "text_differs"
    assert "Something else." in rows.loc["demo/004/heart-joe", "detail"]


def test_a_second_recording_of_a_sentence_by_the_same_speaker_is_quarantined(data: Data) -> None:
    write_corpus(data.folder, numbered(10))
    for folder, table in (("corpus/demo", UTTERANCES), ("features/demo", FEATURES)):
        rows = table.read(data.folder / folder)
        again = rows[rows["utterance"] == "demo/joe/004"].assign(utterance="demo/joe/004 again")
        table.write(data.folder / folder, pd.concat([rows, again]))
    pairs = data.pair()
    assert list(data.quarantine["utterance"]) == ["demo/joe/004 again"]
    assert list(data.quarantine["reason"]) == ["sentence_twice"]
    assert list(pairs.loc[pairs["sentence"] == "004", "target"]) == ["demo/joe/004"]


@pytest.mark.parametrize(("count", "parameter"), [(1, "test"), (5, "validation"), (7, "train")])
def test_too_few_sentences_name_the_parameter(data: Data, count: int, parameter: str) -> None:
    write_corpus(data.folder, numbered(8), {f"demo/joe/{number}": "too_short" for number in numbered(8 - count)})
    with pytest.raises(KoeError, match=rf"pair\.{parameter}: .*of the {count} that have pairs"):
        data.pair()
    assert len(data.quarantine) == 8 - count


def test_no_pair_at_all_says_where_to_look(data: Data) -> None:
    write_corpus(data.folder, numbered(8), speakers={"lj": ""})
    with pytest.raises(KoeError, match=r"pair\.rule: all finds no two .*; all recordings are of one speaker, demo/lj"):
        data.pair(rule="all")
    write_corpus(data.folder, numbered(8), speakers=FOUR)
    with pytest.raises(KoeError, match=r"no recording of a source or of a target speaker was kept"):
        data.pair()
    assert set(data.quarantine["reason"]) == {"not_in_rule"}


def test_a_speaker_whose_sentences_are_all_held_out_is_left_out(data: Data) -> None:
    write_corpus(data.folder, numbered(30), speakers=FOUR)
    held_out = splits_of(data.pair(rule="all"))
    only = next(sentence for sentence, split in held_out.items() if split == "test")
    kept = FEATURES.read(data.folder / "features/demo")
    dans = kept["utterance"].str.startswith("demo/dan/")
    FEATURES.write(data.folder / "features/demo", kept[~dans | (kept["utterance"] == f"demo/dan/{only}")])
    pairs = data.pair(rule="all")
    assert not pairs["source"].str.contains("/dan/").any() and not pairs["target"].str.contains("/dan/").any()
    rows = data.quarantine.set_index("utterance")
    assert rows.loc[f"demo/dan/{only}", "reason"] == "left_out_by_split"
    assert set(enrolment_utterances(data.dataset(), pairs)) == {"demo/ann", "demo/bob", "demo/cat"}


def test_a_held_out_speaker_whom_nothing_introduces_is_refused(data: Data) -> None:
    write_corpus(data.folder, numbered(30), speakers=FOUR)
    pairs = data.pair(rule="all", test_speakers=["dan"])
    tested = set(pairs.loc[pairs["split"] == "test", "sentence"])
    kept = FEATURES.read(data.folder / "features/demo")
    dans = kept["utterance"].str.startswith("demo/dan/")
    FEATURES.write(data.folder / "features/demo", kept[~dans | kept["utterance"].str[-3:].isin(tested)])
    with pytest.raises(KoeError, match=r"demo/dan have recorded no training sentence"):
        data.pair(rule="all", test_speakers=["dan"])


def test_one_speaker_held_out_for_both_in_two_spellings(data: Data) -> None:
    write_corpus(data.folder, numbered(20), speakers=FOUR)
    with pytest.raises(KoeError, match=r"pair\.test_speakers: demo/dan cannot be held out for both"):
        data.pair(rule="all", test_speakers=["demo/dan"], validation_speakers=["dan"])


def test_shares_of_the_sentences(data: Data) -> None:
    write_corpus(data.folder, numbered(400))
    counts = data.pair(train=0.5, validation=0.1, test=0.2)["split"].value_counts()
    assert 60 < counts["test"] < 100 and 25 < counts["validation"] < 55 and 165 < counts["train"] < 235
    assert set(data.quarantine["reason"]) == {"left_out_by_split"}
    assert len(data.quarantine) == 2 * (400 - counts.sum())


def test_lesson_03_the_split_is_seeded_and_survives_new_sentences(data: Data) -> None:
    def split_of(names: list[str], seed: int = 1, **updates: Any) -> dict[str, str]:
        write_corpus(data.folder, names)
        return splits_of(data.pair(seed=seed, **updates))

    before = split_of(numbered(40))
    assert split_of(numbered(40)[::-1]) == before
    assert split_of(numbered(40), seed=2) != before
    after = split_of(numbered(41))
    assert sum(after[sentence] != before[sentence] for sentence in before) <= 2
    shares = split_of(numbered(40), test=0.2, validation=0.1)
    more = split_of(numbered(60), test=0.2, validation=0.1)
    assert shares.items() <= more.items()  # by shares, nothing moves


def test_lesson_03_a_new_speaker_leaves_the_split_as_it_was(data: Data) -> None:
    write_corpus(data.folder, numbered(40), speakers=FOUR)
    before = splits_of(data.pair(rule="all"))
    write_corpus(data.folder, numbered(40), speakers={**FOUR, "aaa": ""})
    assert splits_of(data.pair(rule="all")) == before


def test_lesson_03_the_same_text_under_another_name_stays_in_one_split(data: Data) -> None:
    texts = {name: f"Sentence {int(name) % 20}." for name in numbered(20)}
    texts |= {name: f"  sentence  {int(name) % 20}. " for name in numbered(20, 20)}
    write_corpus(data.folder, numbered(20), corpus="one", texts=texts)
    write_corpus(data.folder, numbered(20, 20), corpus="two", texts=texts)
    pairs = data.pair("one", "two")
    splits = splits_of(pairs)
    assert all(splits[f"{number:03d}"] == splits[f"{number + 20:03d}"] for number in range(20))
    assert pairs["split"].value_counts().to_dict() == {"train": 26, "test": 8, "validation": 6}


def test_lesson_03_the_same_texts_in_another_corpus_move_nothing(data: Data) -> None:
    texts = {name: f"Text number {name}." for name in numbered(60)}
    write_corpus(data.folder, numbered(60), texts=texts)
    shares = {"test": 0.2, "validation": 0.2}
    before = splits_of(data.pair(**shares))
    again = {f"a{name}": text.upper() for name, text in texts.items()}
    write_corpus(data.folder, list(again), corpus="aaa", texts=again)
    after = splits_of(data.pair("demo", "aaa", **shares))
    assert before.items() <= after.items()
    assert all(after[f"a{name}"] == split for name, split in before.items())


def test_sentences_without_text_are_not_taken_for_one() -> None:
    names = numbered(10)
    kept = pd.DataFrame({"sentence": names, "text": ""}, index=names)
    pairs = assign_splits(pd.DataFrame({"sentence": names, "source": names, "target": names}), kept, rules(), 1)
    assert pairs["split"].value_counts().to_dict() == {"test": 4, "validation": 3, "train": 3}


def test_held_out_speakers_are_heard_in_test_alone(data: Data) -> None:
    write_corpus(data.folder, numbered(20), speakers=FOUR)
    pairs = data.pair(rule="all", test_speakers=["dan"], validation_speakers=["demo/cat"])
    speakers = {split: {name.split("/")[1] for name in [*rows["source"], *rows["target"]]}
                for split, rows in pairs.groupby("split")}
    assert speakers["train"] == {"ann", "bob"}
    assert speakers["validation"] == {"ann", "bob", "cat"}
    assert speakers["test"] == {"ann", "bob", "dan"}
    test = pairs[pairs["split"] == "test"]
    assert all("/dan" in source + target for source, target in zip(test["source"], test["target"], strict=True))
    used, rows = {*pairs["source"], *pairs["target"]}, data.quarantine
    assert set(rows["reason"]) == {"left_out_by_split"}
    assert used | set(rows["utterance"]) == set(data.dataset().features["utterance"])


def test_a_held_out_speaker_is_known_by_training_sentences(data: Data) -> None:
    write_corpus(data.folder, numbered(20), speakers=FOUR)
    pairs = data.pair(rule="all", test_speakers=["dan"])
    train = set(pairs.loc[pairs["split"] == "train", "sentence"])
    known = enrolment_utterances(data.dataset(), pairs)
    assert set(known) == {"demo/ann", "demo/bob", "demo/cat", "demo/dan"}
    for names in known.values():
        assert {name.split("/")[2] for name in names} == train


def test_holding_out_everybody_is_refused(data: Data) -> None:
    write_corpus(data.folder, numbered(10))
    with pytest.raises(KoeError, match=r"pair\.test_speakers: no pair is left for train, validation"):
        data.pair(test_speakers=["joe"])


@pytest.mark.parametrize("column", ["sentence", "source", "target"])
def test_lesson_03_an_overlap_is_found_when_the_split_is_read(data: Data, column: str) -> None:
    write_corpus(data.folder, numbered(10))
    pairs = data.pair()
    train, test = (pairs.index[pairs["split"] == split][0] for split in ("train", "test"))
    pairs.loc[test, column] = pairs.loc[train, column]
    PAIRS.write(data.folder / "pairs", pairs)
    with pytest.raises(KoeError, match=rf"pairs.csv: {column} .* in more than one split"):
        read_pairs(data.folder / "pairs")


@pytest.mark.parametrize("change", [{"test": "tset"}, {"validation": "train"}])
def test_unknown_and_empty_splits_are_refused(data: Data, change: dict[str, str]) -> None:
    write_corpus(data.folder, numbered(10))
    pairs = data.pair()
    PAIRS.write(data.folder / "pairs", pairs.replace({"split": change}))
    with pytest.raises(KoeError, match="unknown or empty"):
        read_pairs(data.folder / "pairs")


@pytest.mark.parametrize("changes", [
    {"rule": "both"}, {"rule": "all"}, {"rule": "sampled", "targets_per_source": 4},
    {"rule": "chosen", "chosen": [["a", "b"], ["b", "a"]]},
], ids=lambda changes: changes["rule"])
def test_lesson_22_mixed_directions_without_conditioning_are_refused(
    values: dict[str, Any], changes: dict[str, Any]
) -> None:
    values["pair"] |= changes
    with pytest.raises(ParameterError, match=r"pair\.(rule|chosen), acoustic\.conditioning\.by"):
        check_params(values)
    values["acoustic"]["conditioning"]["by"] = "learned"
    assert check_params(values).pair.rule == changes["rule"]


def test_lesson_22_what_only_the_data_shows_is_refused_before_training(data: Data) -> None:
    for corpus in ("one", "two"):
        write_corpus(data.folder, numbered(10, 0 if corpus == "one" else 10), corpus=corpus)
    with pytest.raises(KoeError, match=r"acoustic\.conditioning\.by: none, but the pairs have 2 directions"):
        require_conditioning(data.pair("one", "two"), NONE)
    assert len(data.pair("one", "two")) == 20
