"""Speaker embeddings: from training sentences alone, and of utterances only where a model is told them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from koe.corpus.dataset import Dataset
from koe.errors import KoeError
from koe.tasks.conversion import embedding
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, embed_pairs, read_embeddings
from koe.tasks.conversion.params import ConditioningParams
from koe.tasks.conversion.schema import Params

PAIRS = pd.DataFrame([
    {"pair": f"demo/s{number}/heart-joe", "sentence": f"s{number}", "source": f"demo/heart/s{number}",
     "target": f"demo/joe/s{number}", "split": "train" if number <= 25 else "test"}
    for number in range(1, 28)
])
TOLD = ConditioningParams(by="encoder", level="utterance", size=8)


@pytest.fixture()
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the encoder: joe and heart along different axes, heart's s1 silent. What was heard, in order."""
    names: list[str] = []

    def embed(dataset: Dataset, utterances: list[str]) -> dict[str, np.ndarray | None]:
        names.extend(utterances)
        return {name: None if name == "demo/heart/s1" else np.eye(2, 256, dtype=np.float32)[int("joe" in name)]
                for name in utterances}

    monkeypatch.setattr(embedding, "embed_utterances", embed)
    return names


def test_speakers_are_known_by_training_alone(heard: list[str], params: Params, tmp_path: Path) -> None:
    speakers = embed_pairs(Dataset(["demo"], params.mel), PAIRS, params.acoustic.conditioning, tmp_path)
    assert len(heard) == len(set(heard)) == 40
    assert not {"demo/heart/s26", "demo/joe/s27"} & set(heard)
    assert set(speakers) == {"demo/heart", "demo/joe"}
    np.testing.assert_allclose(speakers["demo/joe"], np.eye(2, 256)[1])
    np.testing.assert_array_equal(read_embeddings(tmp_path / SPEAKERS)["demo/heart"], speakers["demo/heart"])
    assert read_embeddings(tmp_path / UTTERANCES) == {}


def test_each_source_utterance_where_the_model_is_told(heard: list[str], params: Params, tmp_path: Path) -> None:
    embed_pairs(Dataset(["demo"], params.mel), PAIRS, TOLD, tmp_path)
    assert set(read_embeddings(tmp_path / UTTERANCES)) >= set(PAIRS["source"]) - {"demo/heart/s1"}
    assert "demo/heart/s1" not in read_embeddings(tmp_path / UTTERANCES)


def test_a_speaker_of_silence_is_named(heard: list[str], params: Params, tmp_path: Path) -> None:
    with pytest.raises(KoeError, match=r"demo/heart.*silent"):
        embed_pairs(Dataset(["demo"], params.mel), PAIRS[:1], params.acoustic.conditioning, tmp_path)


@pytest.mark.slow
def test_the_real_encoder_tells_two_voices_apart(params: Params, voice: Any) -> None:
    class Two(Dataset):
        def wave(self, utterance: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
            return voice(1.2, 220.0 if "high" in utterance else 100.0, seed=int(utterance[-1]))

    found = embedding.embed_utterances(Two(["c"], params.mel), ["c/high/1", "c/high/2", "c/low/3", "c/low/4"])
    high, high_again, low, low_again = found.values()
    assert high @ high_again > high @ low and low @ low_again > high_again @ low_again
