"""What a model is told of its speakers, and who can be introduced to it."""

import numpy as np
import pytest

from koe.corpus.params import StatsParams
from koe.corpus.statistics import Normalization, Statistics
from koe.errors import KoeError
from koe.names import Direction
from koe.statistics import Moments
from koe.tasks.conversion.params import ConditioningParams
from koe.tasks.conversion.speakers import Speakers

DIRECTIONS = (Direction("c/ann", "c/bob"), Direction("c/bob", "c/ann"), Direction("c/cat", "c/ann"))
EMBEDDINGS = {f"c/{name}": np.full(256, value, np.float32) for value, name in enumerate(("ann", "bob", "cat", "dan"))}


def statistics(level: float) -> Statistics:
    scalar = Moments(5, np.array(level), np.array(1.0))
    return Statistics(Moments(5, np.full(80, level), np.ones(80)), scalar, scalar)


def make(by: str, level: str = "speaker", directions: tuple[Direction, ...] = DIRECTIONS) -> Speakers:
    levels = StatsParams(mel="global", pitch="speaker", energy="side", outliers=None)
    known = {name: statistics(index) for index, name in enumerate(EMBEDDINGS)}
    normalization = Normalization(levels, statistics(10), statistics(20), statistics(30), known)
    conditioning = ConditioningParams.model_validate({"by": by, "level": level, "size": 4})
    return Speakers(conditioning, directions, normalization, True, EMBEDDINGS if by == "encoder" else {})


def test_nothing_is_told_where_there_is_nothing_to_tell() -> None:
    speakers = make("none", directions=(Direction("c/ann", "c/bob"),))
    assert speakers.voices(Direction("c/ann", "c/bob")) is None
    assert (speakers.only("source"), speakers.only("target")) == ("c/ann", "c/bob")


def test_learned_speakers_are_numbered_by_name_and_strangers_refused() -> None:
    speakers = make("learned")
    assert speakers.trained == ("c/ann", "c/bob", "c/cat")
    assert speakers.voices(Direction("c/cat", "c/ann")).tolist() == [2, 0]
    assert (speakers.only("source"), speakers.only("target")) == (None, None)
    with pytest.raises(KoeError, match=r"speaker c/dan was not in the training.*c/ann, c/bob, c/cat"):
        speakers.voices(Direction("c/ann", "c/dan"))


def test_an_utterances_own_embedding_counts_for_the_source_where_asked() -> None:
    heard, direction = np.full(256, 9, np.float32), Direction("c/bob", "c/dan")
    by_speaker = make("encoder").voices(direction, heard)
    by_utterance = make("encoder", "utterance").voices(direction, heard)
    assert (by_speaker[0, 0], by_speaker[1, 0]) == (1, 3)
    assert (by_utterance[0, 0], by_utterance[1, 0]) == (9, 3)
    assert make("encoder", "utterance").voices(direction)[0, 0] == 1  # none heard: the speaker's


def test_an_utterances_own_statistics_count_for_the_source_where_asked() -> None:
    mel, f0, energy = np.full((4, 80), 7.0), np.array([0.0, 100.0, 110.0, 0.0]), np.full(4, 8.0)
    by_speaker = make("encoder").of_utterance("c/bob", mel, f0, energy)
    own = make("encoder", "utterance").of_utterance("c/bob", mel, f0, energy)
    assert float(by_speaker.log_f0.mean) == 1  # the speaker's
    assert float(own.log_f0.mean) == pytest.approx(np.log(f0[1:3]).mean())
    assert (own.mel.mean[0], own.energy.mean) == (30, 10)  # which are not by speaker here
    whisper = make("encoder", "utterance").of_utterance("c/bob", mel, np.zeros(4), energy)
    assert float(whisper.log_f0.mean) == 1


def test_someone_new_is_introduced_by_embedding_and_statistics() -> None:
    known = make("encoder").with_speaker("eve", np.full(256, 7, np.float32), statistics(99))
    assert known.voices(Direction("c/ann", "eve"))[1, 0] == 7
    target = known.of_target("eve")
    assert (float(target.mel.mean[0]), float(target.log_f0.mean), float(target.energy.mean)) == (30, 99, 20)
    assert "eve" in known.known and "eve" not in known.trained
    with pytest.raises(KoeError, match="no embedding of speaker eve"):
        make("encoder").voices(Direction("c/ann", "eve"))
    for by in ("none", "learned"):
        with pytest.raises(KoeError, match=rf"cannot take a new speaker \(eve\): .* is {by}"):
            make(by).with_speaker("eve", np.zeros(256), statistics(0))


def test_speakers_come_back_from_json() -> None:
    for speakers in (make("learned"), make("encoder", "utterance")):
        again = Speakers.from_json(speakers.to_json(), speakers.embeddings, 80)
        assert again.to_json() == speakers.to_json()
        assert again.directions == DIRECTIONS
