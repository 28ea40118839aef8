"""Pairs by sentence, the split, and what becomes of those without a partner."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import assign_splits, make_pairs, pair_corpora, read_pairs
from koe.corpus.quarantine import COLUMNS, Quarantine, read_quarantine
from koe.errors import KoeError, ParameterError
from koe.files import read_table, write_table
from koe.params import PairParams, Params, check_params

ROLES = {"heart": "source", "joe": "target"}


def write_corpus(
    data: Path, names: list[str], missing: dict[str, str] | None = None, corpus: str = "demo",
    texts: dict[str, str] | None = None, frames: dict[str, int] | None = None,
) -> None:
    """What import and extract leave. `missing`: utterances that are in the tables of import only → the reason."""
    missing = missing or {}
    rows = [
        {"utterance": f"{corpus}/{speaker}/{sentence}", "speaker": speaker, "sentence": sentence,
         "text": (texts or {}).get(sentence, f"This is {sentence}."), "role": role}
        for sentence in names for speaker, role in ROLES.items()
    ]
    table = pd.DataFrame(rows)
    write_table(data / "corpus" / corpus / "table.csv", table)
    kept = table[~table["utterance"].isin(missing)][["utterance"]]
    kept = kept.assign(frames=[(frames or {}).get(name, 100) for name in kept["utterance"]])
    write_table(data / "features" / corpus / "table.csv", kept)
    for stage in ("corpus", "resampled", "trim", "features"):
        excluded = [(name, "trim", why, "") for name, why in missing.items() if stage == "trim"]
        write_table(data / stage / corpus / "quarantine.csv", pd.DataFrame(excluded, columns=COLUMNS))


def numbered(count: int, first: int = 0) -> list[str]:
    return [f"{number:03d}" for number in range(first, first + count)]


@pytest.fixture()
def pair_params() -> PairParams:
    return PairParams(direction="one_way", duration_ratio=(0.5, 2.0), validation=3, test=4)


def dataset(data: Path, params: Params, *corpora: str) -> Dataset:
    return Dataset(list(corpora or ["demo"]), params.mel, data)


def test_pairs_join_the_two_recordings_of_a_sentence(tmp_path: Path, params: Params, pair_params: PairParams) -> None:
    write_corpus(tmp_path, numbered(10))
    pairs = pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    assert list(pairs["pair"]) == [f"demo/{number}/heart-joe" for number in numbered(10)]
    assert list(pairs["source"]) == [f"demo/heart/{number}" for number in numbered(10)]
    assert list(pairs["target"]) == [f"demo/joe/{number}" for number in numbered(10)]
    assert pairs["split"].value_counts().to_dict() == {"test": 4, "validation": 3, "train": 3}
    assert len(read_quarantine([tmp_path / "pairs"])) == 0
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "pairs"), pairs, check_dtype=False)


def test_both_directions_of_a_sentence_share_a_split(tmp_path: Path, params: Params, pair_params: PairParams) -> None:
    write_corpus(tmp_path, numbered(10))
    both = pair_params.model_copy(update={"direction": "both"})
    pairs = pair_corpora(dataset(tmp_path, params), both, 1, tmp_path / "pairs")
    assert len(pairs) == 20
    assert set(pairs["source"]) == set(pairs["target"])
    assert (pairs.groupby("sentence")["split"].nunique() == 1).all()
    assert {"demo/003/heart-joe", "demo/003/joe-heart"} <= set(pairs["pair"])


def test_lesson_23_a_missing_partner_is_named_with_its_reason(
    tmp_path: Path, params: Params, pair_params: PairParams
) -> None:
    write_corpus(tmp_path, numbered(12), {"demo/joe/003": "silence_only", "demo/heart/007": "too_short"})
    pairs = pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    rows = read_quarantine([tmp_path / "pairs"])
    assert list(rows["utterance"]) == ["demo/heart/003", "demo/joe/007"]
    assert set(rows["reason"]) == {"partner_missing"} and set(rows["stage"]) == {"pair"}
    assert "demo/joe/003" in rows["detail"][0] and "silence_only" in rows["detail"][0]
    used = {*pairs["source"], *pairs["target"]}
    kept = set(read_table(tmp_path / "features/demo/table.csv")["utterance"])
    assert used | set(rows["utterance"]) == kept  # every utterance is somewhere


def test_lesson_23_a_partner_never_recorded(tmp_path: Path, params: Params, pair_params: PairParams) -> None:
    write_corpus(tmp_path, numbered(12))
    table = read_table(tmp_path / "corpus/demo/table.csv")
    write_table(tmp_path / "corpus/demo/table.csv", table[table["utterance"] != "demo/joe/005"])
    features = read_table(tmp_path / "features/demo/table.csv")
    write_table(tmp_path / "features/demo/table.csv", features[features["utterance"] != "demo/joe/005"])
    pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    rows = read_quarantine([tmp_path / "pairs"])
    assert list(rows["utterance"]) == ["demo/heart/005"]
    assert rows["detail"][0] == "no target recording of 005 was found"


def test_a_duration_ratio_out_of_bounds_is_quarantined(
    tmp_path: Path, params: Params, pair_params: PairParams
) -> None:
    write_corpus(tmp_path, numbered(12), frames={"demo/joe/001": 201, "demo/joe/002": 200, "demo/joe/003": 49})
    quarantine = Quarantine("pair")
    pairs = make_pairs(dataset(tmp_path, params), pair_params, quarantine)
    assert [row["utterance"] for row in quarantine.rows] == ["demo/001/heart-joe", "demo/003/heart-joe"]
    assert {row["reason"] for row in quarantine.rows} == {"duration_ratio"}
    assert "2.01" in quarantine.rows[0]["detail"] and "pair.duration_ratio" in quarantine.rows[0]["detail"]
    assert "002" in set(pairs["sentence"]) and not {"001", "003"} & set(pairs["sentence"])


def test_a_sentence_recorded_twice_is_used_once(tmp_path: Path, params: Params, pair_params: PairParams) -> None:
    write_corpus(tmp_path, numbered(10))
    for stage in ("corpus", "features"):
        path = tmp_path / stage / "demo" / "table.csv"
        table = read_table(path)
        again = table[table["utterance"] == "demo/joe/004"].assign(utterance="demo/joe/004 again")
        write_table(path, pd.concat([table, again]))
    pairs = pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    rows = read_quarantine([tmp_path / "pairs"])
    assert list(rows["utterance"]) == ["demo/joe/004 again"] and list(rows["reason"]) == ["sentence_twice"]
    assert list(pairs.loc[pairs["sentence"] == "004", "target"]) == ["demo/joe/004"]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_sentences_name_the_parameters(
    tmp_path: Path, params: Params, pair_params: PairParams, count: int
) -> None:
    write_corpus(tmp_path, numbered(8), {f"demo/joe/{number}": "too_short" for number in numbered(8 - count)})
    with pytest.raises(KoeError, match=rf"pair.validation, pair.test: 3 \+ 4 .*{count} have pairs"):
        pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    assert len(read_quarantine([tmp_path / "pairs"])) == 8 - count


def test_lesson_03_the_split_is_seeded_and_survives_new_sentences(
    tmp_path: Path, params: Params, pair_params: PairParams
) -> None:
    def split_of(names: list[str], seed: int) -> dict[str, str]:
        write_corpus(tmp_path, names)
        pairs = pair_corpora(dataset(tmp_path, params), pair_params, seed, tmp_path / "pairs")
        return dict(zip(pairs["sentence"], pairs["split"], strict=True))

    before = split_of(numbered(40), 1)
    assert split_of(numbered(40)[::-1], 1) == before
    assert split_of(numbered(40), 2) != before
    after = split_of(numbered(41), 1)
    assert sum(after[sentence] != before[sentence] for sentence in before) <= 2


def test_lesson_03_the_same_text_under_another_name_stays_in_one_split(
    tmp_path: Path, params: Params, pair_params: PairParams
) -> None:
    texts = {name: f"Sentence {int(name) % 20}." for name in numbered(20)}
    texts |= {name: f"  sentence  {int(name) % 20}. " for name in numbered(20, 20)}
    write_corpus(tmp_path, numbered(20), corpus="one", texts=texts)
    write_corpus(tmp_path, numbered(20, 20), corpus="two", texts=texts)
    pairs = pair_corpora(dataset(tmp_path, params, "one", "two"), pair_params, 1, tmp_path / "pairs")
    splits = dict(zip(pairs["sentence"], pairs["split"], strict=True))
    assert all(splits[f"{number:03d}"] == splits[f"{number + 20:03d}"] for number in range(20))
    assert pairs["split"].value_counts().to_dict() == {"train": 26, "test": 8, "validation": 6}


def test_sentences_without_text_are_not_taken_for_one(params: Params, pair_params: PairParams) -> None:
    names = numbered(10)
    utterances = pd.DataFrame({"sentence": names, "text": ""}, index=names)
    splits = assign_splits(pd.DataFrame({"sentence": names, "source": names}), utterances, pair_params, 1)
    assert splits.value_counts().to_dict() == {"test": 4, "validation": 3, "train": 3}


@pytest.mark.parametrize("column", ["sentence", "source", "target"])
def test_lesson_03_an_overlap_is_found_when_the_split_is_read(
    tmp_path: Path, params: Params, pair_params: PairParams, column: str
) -> None:
    write_corpus(tmp_path, numbered(10))
    pairs = pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    train, test = (pairs.index[pairs["split"] == split][0] for split in ("train", "test"))
    pairs.loc[test, column] = pairs.loc[train, column]
    write_table(tmp_path / "pairs/pairs.csv", pairs)
    with pytest.raises(KoeError, match=rf"pairs.csv: {column} .* in more than one split"):
        read_pairs(tmp_path / "pairs")


@pytest.mark.parametrize("change", [{"test": "tset"}, {"validation": "train"}])
def test_unknown_and_empty_splits_are_refused(
    tmp_path: Path, params: Params, pair_params: PairParams, change: dict[str, str]
) -> None:
    write_corpus(tmp_path, numbered(10))
    pairs = pair_corpora(dataset(tmp_path, params), pair_params, 1, tmp_path / "pairs")
    write_table(tmp_path / "pairs/pairs.csv", pairs.replace({"split": change}))
    with pytest.raises(KoeError, match="unknown or empty"):
        read_pairs(tmp_path / "pairs")


def test_lesson_22_both_directions_without_conditioning_are_refused(values: dict[str, Any]) -> None:
    values["pair"]["direction"] = "both"
    with pytest.raises(ParameterError, match=r"pair.direction, acoustic.conditioning"):
        check_params(values)
