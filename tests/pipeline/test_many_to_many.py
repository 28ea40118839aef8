"""Four voices, each into every other, and one that training never hears: the shipped experiments at tiny size."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from koe.corpus.pairing import PAIRS
from koe.corpus.tables.utterances import UTTERANCES
from koe.evaluation.measure import EVALUATION
from koe.store import ShardReader

from .conftest import Project, make_project

pytestmark = pytest.mark.slow

FOUR = {"demo/heart", "demo/joe", "demo/heart_slow", "demo/joe_fast"}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project after `koe exp run many_to_many`."""
    made = make_project(tmp_path_factory.mktemp("four") / "project")
    made.set("corpora.demo.utterances", 8)
    made.run("git", "commit", "-qam", "fewer sentences")
    made.output = made.run("koe", "exp", "run", "many_to_many", "-S", "pair.test=2")  # type: ignore[attr-defined]
    return made


def _record(project: Project, utterance: str, path: Path) -> str:
    """Writes an utterance of the corpus as a file a user would have."""
    table = UTTERANCES.read(project.folder / "data/corpus/demo").set_index("utterance")
    audio = ShardReader(project.folder / "data/corpus/demo").get(utterance, "audio")
    soundfile.write(path, audio, int(table.loc[utterance, "sample_rate"]))
    return str(path)


def test_every_voice_into_every_other(four: Project) -> None:
    pairs = PAIRS.read(four.folder / "data/pairs")
    assert len(pairs) == 8 * 4 * 3
    assert pairs.groupby("split")["sentence"].nunique().to_dict() == {"test": 2, "train": 4, "validation": 2}
    assert (pairs.groupby("sentence")["split"].nunique() == 1).all()
    card = json.loads((four.folder / "models/acoustic/model.json").read_text())
    assert len(card["speakers"]["directions"]) == 12
    assert set(card["speakers"]["statistics"]["speakers"]) == FOUR
    counts = json.loads((four.folder / "metrics/data.json").read_text())
    assert counts["unaccounted"] == 0


def test_each_direction_is_measured_on_the_same_sentences(four: Project) -> None:
    rows = EVALUATION.read(four.folder / "metrics")
    converted = rows[rows["condition"] == "griffin_lim.converted"]
    assert len(converted) == 12 * 2
    assert (converted["speaker_similarity"] > 0).all()
    page = (four.folder / "metrics/report/index.html").read_text(encoding="utf-8")
    assert "heart_slow" in page and "joe_fast" in page


def test_convert_between_named_voices(four: Project, tmp_path: Path) -> None:
    recording = _record(four, "demo/joe_fast/en-001", tmp_path / "in.wav")
    out = tmp_path / "out.wav"
    refused = four.run("koe", "convert", recording, str(out), check=False)
    assert "--from" in refused and "demo/heart_slow" in refused and not out.exists()
    four.run("koe", "convert", recording, str(out), "--from", "joe_fast", "--to", "heart_slow")
    wave, _ = soundfile.read(out)
    assert np.abs(wave).max() > 0.01


def test_a_speaker_who_is_heard_in_the_test_alone(four: Project, tmp_path: Path) -> None:
    four.run("git", "checkout", "-q", ".")
    output = four.run("koe", "exp", "run", "unseen_speaker", "-S", "pair.test=2")
    assert "import@demo" not in four.stages_run(output)  # the same recordings
    pairs = PAIRS.read(four.folder / "data/pairs")
    heard = {split: set(rows["source"].str.split("/").str[1]) | set(rows["target"].str.split("/").str[1])
             for split, rows in pairs.groupby("split")}
    assert "joe_fast" not in heard["train"] | heard["validation"] and "joe_fast" in heard["test"]
    recording = _record(four, "demo/joe/en-001", tmp_path / "in.wav")
    new = _record(four, "demo/joe_fast/en-002", tmp_path / "stranger.wav")
    four.run("koe", "convert", recording, str(tmp_path / "out.wav"), "--to", new)
    wave, _ = soundfile.read(tmp_path / "out.wav")
    assert np.abs(wave).max() > 0.01
