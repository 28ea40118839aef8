"""Names are put together and taken apart in one way, and no two things share one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.errors import KoeError
from koe.names import (
    LONGEST_FILE_NAME,
    Utterance,
    file_name,
    find_speaker,
    pair_name,
    parts_of,
    sentence_of,
    speaker_key,
    utterance_name,
)

PART = st.text(st.sampled_from("ab-@_to"), min_size=1, max_size=4)  # no part has a slash
UTTERANCES = st.builds(Utterance, st.sampled_from("xy"), PART, PART, st.just("") | PART)


def test_a_style_stands_behind_the_sentence() -> None:
    assert utterance_name("jvs", "jvs001", "BASIC_01") == "jvs/jvs001/BASIC_01"
    whispered = utterance_name("jvs", "jvs001", "BASIC_01", "whisper")
    assert whispered == "jvs/jvs001/BASIC_01/whisper"
    assert parts_of(whispered) == ("jvs", "jvs001", "BASIC_01", "whisper")
    assert (speaker_key(whispered), sentence_of(whispered)) == ("jvs/jvs001", "BASIC_01")


@given(UTTERANCES)
def test_an_utterance_is_taken_apart_into_what_it_was_put_together_of(utterance: Utterance) -> None:
    assert parts_of(utterance_name(*utterance)) == utterance


def test_names_of_pairs() -> None:
    assert pair_name("demo/heart/en-001", "demo/joe/en-001") == "demo/en-001/heart-joe"
    assert pair_name("jsut/jsut/B1", "jsss/jsss/B1") == "jsut+jsss/B1/jsut-jsss"
    assert pair_name("jvs/jvs001/B1/whisper", "jvs/jvs002/B1/whisper") == "jvs/B1/jvs001-jvs002/whisper"
    assert pair_name("c/a/s", "c/b-c/s") == "c/s/a/to/b-c"
    assert pair_name("c/a-b/s", "c/c/s") == "c/s/a-b/to/c"


@given(st.lists(st.tuples(st.sampled_from("xy"), PART, st.sampled_from("xy"), PART, PART, st.just("") | PART),
                min_size=2, max_size=2))
def test_no_two_pairs_share_a_name(pairs: list[tuple[str, ...]]) -> None:
    names = [pair_name(utterance_name(corpus, source, sentence, style), utterance_name(other, target, sentence, style))
             for corpus, source, other, target, sentence, style in pairs]
    assert (names[0] == names[1]) == (pairs[0] == pairs[1])


def test_a_speaker_is_found_with_and_without_corpus() -> None:
    speakers = ["a/ann", "b/ann", "b/bob"]
    assert find_speaker("bob", speakers, "x") == find_speaker("b/bob", speakers, "x") == "b/bob"
    with pytest.raises(KoeError, match="x: speaker 'ann' is in a/ann, b/ann; write corpus/speaker"):
        find_speaker("ann", speakers, "x")


@pytest.mark.parametrize("letter", ["x", "声", "é"])
@pytest.mark.parametrize("count", [1, 100, 120, 240, 5000])
def test_a_file_s_name_is_short_whatever_the_sentence_is_called(tmp_path: Path, letter: str, count: int) -> None:
    name = file_name(f"demo/{letter * count}/ann-bob")
    assert len(name.encode()) <= LONGEST_FILE_NAME
    (tmp_path / name).mkdir()
    assert name != file_name(f"demo/{letter * count}/ann-bot")


def test_short_names_stay_readable() -> None:
    assert file_name("demo/en-001/heart-joe") == "demo_en-001_heart-joe"
    assert file_name("声/文.1/話者") == "声_文.1_話者"


@given(st.lists(st.text(st.sampled_from("ab_/.-"), min_size=1, max_size=8), unique=True))
def test_no_two_names_share_a_file_or_are_hidden(names: list[str]) -> None:
    files = {file_name(name) for name in names}
    assert len(files) == len(names)
    assert not any("/" in file or file.startswith(".") for file in files)
