"""The speech detector: where the demo's voices speak, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from support.long_recordings import long_recording

from koe.audio.files import read_audio
from koe.audio.vad import SHORTEST_PAUSE, speech_spans


def test_silence_noise_and_nothing_are_not_speech() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(3 * 22050).astype(np.float32)
    for wave in (noise, np.zeros(22050, np.float32), np.zeros(0, np.float32)):
        assert speech_spans(wave, 22050) == []


@pytest.mark.slow
@pytest.mark.parametrize("voice", ["heart", "joe"])
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_speech_is_found_to_a_tenth_of_a_second(voice: str, gain: float, tmp_path: Path) -> None:
    texts = ["What a strange noise!", "It stopped at noon.", "The river was frozen all winter."]
    recording = long_recording(tmp_path / "long.wav", voice, texts, seed=1)
    wave, rate = read_audio(recording.path)
    spans = np.array(speech_spans(gain * wave, rate))
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] - spans[:-1, 1] >= SHORTEST_PAUSE).all()
    assert spans[0, 0] == pytest.approx(recording.sentences[0, 0], abs=0.15)
    assert spans[-1, 1] == pytest.approx(recording.sentences[-1, 1], abs=0.25)
    for end, start in zip(recording.sentences[:-1, 1], recording.sentences[1:, 0], strict=True):
        middle = (start + end) / 2
        assert not ((spans[:, 0] < middle) & (middle < spans[:, 1])).any()
