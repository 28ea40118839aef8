"""From pairs to measured conditions, on two synthetic voices; the models are stood in for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from koe.audio.samples import from_int16, to_int16
from koe.corpus.dataset import Dataset
from koe.errors import KoeError
from koe.evaluation.held_out import Condition, held_out_pairs, measure_conditions, references_of
from koe.store import ShardReader
from koe.tasks.conversion.schema import Params

PAIRS = pd.DataFrame([
    {"pair": f"demo/s{number}/heart-joe", "sentence": f"s{number}", "source": f"demo/heart/s{number}",
     "target": f"demo/joe/s{number}", "split": "train" if number <= 25 else "test"}
    for number in range(1, 28)
])
EMBEDDINGS = {f"demo/{name}": np.ones(256, np.float32) for name in ("heart", "joe")}


class Voices(Dataset):
    """heart at 200 Hz and joe at 100 Hz, in every sentence."""

    def __init__(self, params: Params, voice: Any) -> None:
        super().__init__(["demo"], params.mel, "nowhere")
        self.voice = voice
        names = [*PAIRS["source"], *PAIRS["target"]]
        self.utterances = pd.DataFrame({"utterance": names, "text": "Hello.", "language": "en"}).set_index("utterance")  # type: ignore[misc]

    def wave(self, utterance: str, first_frame: int = 0, frames: int | None = None) -> np.ndarray:
        return from_int16(to_int16(self.voice(seconds=0.4, f0=200.0 if "heart" in utterance else 100.0))[0])


@pytest.fixture()
def voices(params: Params, voice: Any) -> Voices:
    return Voices(params, voice)


def test_only_so_many_pairs_of_each_direction_and_the_same_sentences(params: Params) -> None:
    def measured_of(table: pd.DataFrame, seed: int, **limits: int | None) -> pd.DataFrame:
        return held_out_pairs(table, params.evaluation.model_copy(update=limits), seed)

    back = PAIRS.rename(columns={"source": "target", "target": "source"})
    back = back.assign(pair=back["pair"].str.replace("heart-joe", "joe-heart"))
    both = pd.concat([PAIRS, back], ignore_index=True).assign(split="test")
    measured = measured_of(both, 1, pairs_per_direction=3)
    assert len(measured) == 6
    sentences = [set(rows["sentence"]) for _, rows in measured.groupby(measured["source"].str.contains("heart"))]
    assert sentences[0] == sentences[1] and len(sentences[0]) == 3
    assert set(measured_of(both, 2, pairs_per_direction=3)["sentence"]) != sentences[0]
    few = measured_of(both, 1, pairs=5)
    assert len(few) == 5 and set(few["pair"]) < set(both["pair"])
    assert len(measured_of(PAIRS, 1)) == 2


def test_lesson_15_conditions_are_measured_as_stored(
    voices: Voices, params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = held_out_pairs(PAIRS, params.evaluation, seed=1)
    references = references_of(voices, test, params.speaker_pitch, EMBEDDINGS)
    assert [reference.pair for reference in references] == ["demo/s26/heart-joe", "demo/s27/heart-joe"]
    assert (references[0].pitch.floor, references[0].pitch.ceiling) == (50.0, 450.0)  # joe's floor, heart's ceiling
    off = params.evaluation.model_copy(update={"wer": False, "mos": False, "speaker": False})
    loud = [np.full(9000, 1.5, np.float32)] * 2
    conditions = [
        Condition("source", [voices.wave(name) for name in test["source"]]),
        Condition("target", [voices.wave(name) for name in test["target"]]),
        Condition("a.converted", loud),
    ]
    mels = [np.zeros((4, 80), np.float32)] * 2
    rows = measure_conditions(references, conditions, off, tmp_path / "out", mels)
    assert list(zip(rows["pair"], rows["condition"], strict=True))[:3] == [
        (references[0].pair, name) for name in ("source", "target", "a.converted")]
    assert len(rows) == 6
    assert (rows.loc[rows["condition"] == "target", "mcd_db"] == 0).all()
    assert (rows.loc[rows["condition"] == "source", "mcd_db"] > 1).all()
    stored = ShardReader(tmp_path / "out")
    assert stored.get(references[0].pair, "mel").shape == (4, 80)
    np.testing.assert_array_equal(stored.get(references[1].pair, "target"), references[1].target)
    printed = capsys.readouterr().out
    assert "a.converted: 18000 samples in 2 of 2 waveforms lay out of range and were clipped" in printed
    assert "wer is missing in 6: evaluation.wer is false" in printed


def test_a_waveform_with_nan_is_refused(voices: Voices, params: Params, tmp_path: Path) -> None:
    references = references_of(voices, PAIRS[-1:], params.speaker_pitch, EMBEDDINGS)
    broken = Condition("hifigan.converted", [np.array([0.0, np.nan], np.float32)])
    with pytest.raises(KoeError, match=r"hifigan\.converted of demo/s27/heart-joe"):
        measure_conditions(references, [broken], params.evaluation, tmp_path)
