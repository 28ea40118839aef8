"""Utterances were dropped silently and source and target went out of step: every recording is kept or has a row."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from koe.corpus.importers import import_corpus
from koe.corpus.resampling import resample_corpus
from koe.params import CorpusParams, Params


@pytest.mark.parametrize("seed", range(3))
def test_lesson_23_what_goes_in_comes_out_or_is_listed(voice, params: Params, tmp_path: Path, seed: int) -> None:
    """Twenty sentences of two speakers with damage sown at random, through import and resample."""
    generator = np.random.default_rng(seed)
    damages = {"none": voice(0.4), "silent": np.zeros(9000), "short": voice(0.1), "empty": np.zeros(0),
               "nan": np.full(9000, np.nan), "missing": None, "twice": voice(0.4)}
    files = []
    for speaker in ("ann", "bob"):
        (tmp_path / "in" / speaker).mkdir(parents=True)
        for number in range(20):
            damage = generator.choice(list(damages), p=[0.7, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
            if damage == "missing":
                continue
            for suffix in (".wav", ".WAV") if damage == "twice" else (".wav",):
                path = tmp_path / "in" / speaker / f"s{number}{suffix}"
                soundfile.write(path, damages[damage], 22050, subtype="FLOAT")
            files.append(f"my/{speaker}/s{number}")
    corpus = CorpusParams(importer="folders", path=str(tmp_path / "in"), source="ann", target="bob")
    imported = import_corpus("my", corpus, tmp_path / "corpus")
    table, refused = resample_corpus(tmp_path / "corpus", tmp_path / "resampled", 22050, params.resample, 1)
    listed = [row["utterance"] for row in imported.quarantine.rows + refused.rows]
    assert sorted([*table["utterance"], *listed]) == sorted(files)
    sides = imported.table.groupby("speaker")["sentence"].agg(list)
    assert sides["ann"] == sides["bob"]
