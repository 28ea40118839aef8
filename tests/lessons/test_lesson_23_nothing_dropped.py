"""Utterances were dropped silently and source and target went out of step: every recording is kept or has a row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.filled_tables import write_filled

from koe.align.tables import ALIGNMENT
from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.corpus.importers.registry import import_corpus
from koe.corpus.pairing import pair_corpora
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.resampling import resample_corpus
from koe.corpus.trimming import trim_corpus
from koe.report.checks import count_data
from koe.tasks.conversion.schema import Params

SPEAKERS = ("ann", "bob", "cid")


@pytest.fixture(params=range(3))
def recorded(voice: Any, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Twenty sentences of three speakers with damage sown at random, in `in`; the utterances that there are."""
    generator = np.random.default_rng(request.param)
    damages = {"none": voice(0.4), "silent": np.zeros(9000), "short": voice(0.1), "empty": np.zeros(0),
               "nan": np.full(9000, np.nan), "missing": None, "twice": voice(0.4), "slow": voice(1.2),
               "noise": 0.1 * generator.standard_normal(9000)}
    names = []
    for speaker in SPEAKERS:
        (tmp_path / "in" / speaker).mkdir(parents=True)
        for number in range(20):
            damage = generator.choice(list(damages), p=[0.6, *[0.05] * 8])
            if damage == "missing":
                continue
            for suffix in (".wav", ".WAV") if damage == "twice" else (".wav",):
                path = tmp_path / "in" / speaker / f"s{number}{suffix}"
                soundfile.write(path, damages[damage], 22050, subtype="FLOAT")
            names.append(f"my/{speaker}/s{number}")
    return names


def test_lesson_23_what_goes_in_comes_out_or_is_listed(params: Params, tmp_path: Path, recorded: list[str]) -> None:
    corpus = CorpusParams(importer="folders", path=str(tmp_path / "in"))
    imported = import_corpus("my", corpus, tmp_path / "corpus")
    table, refused = resample_corpus(tmp_path / "corpus", tmp_path / "resampled", 22050, params.resample, 1)
    listed = [row["utterance"] for row in imported.quarantine.rows + refused.rows]
    assert sorted([*table["utterance"], *listed]) == sorted(recorded)


def test_lesson_23_every_recording_ends_in_a_pair_or_in_a_quarantine(
    params: Params, tmp_path: Path, recorded: list[str]
) -> None:
    """Three speakers to each other, so that a recording can have a partner in one direction and none in another."""
    stage = {name: tmp_path / "data" / name / "my" for name in ("corpus", "resampled", "trim", "features")}
    imported = import_corpus("my", CorpusParams(importer="folders", path=str(tmp_path / "in")), stage["corpus"])
    resample_corpus(stage["corpus"], stage["resampled"], 22050, params.resample, 1)
    trim_corpus(stage["resampled"], stage["trim"], params.trim, 1)
    dataset = Dataset(["my"], params.mel, tmp_path / "data")
    kept, _ = extract_corpus(dataset, stage["features"], params.speaker_pitch, 1)
    rule = params.pair.model_copy(update={"rule": "all", "validation": 2, "test": 2})
    pairs = pair_corpora(dataset, rule, params.seed, tmp_path / "data/pairs")
    aligned = pairs[["pair"]].assign(suspect=0)
    write_filled(ALIGNMENT, tmp_path / "data/alignment", aligned)
    Quarantine("align").write(tmp_path / "data/alignment")
    counts = count_data(dataset, params.speaker_pitch)
    assert counts["unaccounted"] == 0
    assert counts["utterances"] == {"imported": len(imported.table), "kept": len(kept)}
    assert len(imported.table) + len(imported.quarantine) == len(recorded)
    assert sum(counts["pairs"].values()) == len(pairs)
