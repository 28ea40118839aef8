"""Splitting at silence changed what was paired: it happens only where a corpus asks, and at the same places in both."""

from pathlib import Path

import pytest
from support.long_recordings import long_recording

from koe.corpus.importers.registry import import_corpus
from koe.corpus.params import CorpusParams, SegmentParams
from koe.corpus.sentences_file import read_sentences


@pytest.mark.slow
def test_lesson_09_long_recordings_are_cut_only_when_asked_and_both_at_the_same_place(
    root: Path, tmp_path: Path
) -> None:
    texts = list(read_sentences(root / "src/koe/corpus/sentences/en.tsv").values())[:10]
    recordings = {}
    for seed, voice in enumerate(("heart", "joe")):
        (tmp_path / "in" / voice).mkdir(parents=True)
        recordings[voice] = long_recording(tmp_path / "in" / voice / "story.wav", voice, texts, seed)
    whole = CorpusParams(importer="folders", path=str(tmp_path / "in"), source="heart", target="joe")
    table = import_corpus("own", whole, tmp_path / "whole").table
    assert sorted(table["sentence"]) == ["story", "story"]

    cut = SegmentParams(longer_than=20, min_seconds=3, max_seconds=15, min_pause_seconds=0.3)
    table = import_corpus("own", whole.model_copy(update={"segments": cut}), tmp_path / "cut").table
    said = {voice: {row.sentence: recordings[voice].said_in(row.start, row.end)
                    for row in table[table["speaker"] == voice].itertuples()} for voice in recordings}
    assert len(said["heart"]) > 2
    assert said["heart"] == said["joe"]
