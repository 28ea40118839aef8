"""Long recordings are cut in pauses, and their stretches are the prepared whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from koe.audio.checks import CLIPPING, SILENCE
from koe.audio.files import read_channels
from koe.audio.preparation import prepare
from koe.audio.trim import find_cuts
from koe.errors import AudioError
from koe.tasks.conversion.model_file import Preparation
from koe.tasks.conversion.schema import check_params
from koe.tasks.conversion.stretches import stretches, survey_recording

UNIT = 768


@pytest.fixture()
def preparation(values: dict[str, Any]) -> Preparation:
    values["resample"] |= {"loudness_lufs": -23.0, "max_seconds": 1000.0}
    params = check_params(values)
    return Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)


def test_stretches_are_the_whole_cut_in_pauses(voice: Any, tmp_path: Path, preparation: Preparation) -> None:
    rate, word = 44100, voice(0.7, rate=44100, silence=0.15)
    wave = np.concatenate([np.zeros(20000, np.float32), *[word] * 30, np.zeros(30000, np.float32)])
    soundfile.write(tmp_path / "long.wav", np.stack([wave, -wave], axis=1), rate, subtype="PCM_16")
    survey = survey_recording(tmp_path / "long.wav", preparation, 8.0, UNIT)
    pieces = list(stretches(tmp_path / "long.wav", preparation, survey))
    whole = prepare(*read_channels(tmp_path / "long.wav"), preparation.mel.sample_rate, preparation.resample).wave
    cuts = find_cuts(whole, preparation.mel.sample_rate, preparation.trim)
    start, *inner, end = survey.bounds
    assert np.allclose((start, end), (cuts.start, cuts.end), atol=0.01 * 22050)
    assert len(pieces) == 4 and all((joint - start) % UNIT == 0 for joint in inner)
    assert np.allclose(np.concatenate(pieces), whole[start:end], atol=2e-4)
    for joint in inner:  # words of 0.7 s begin every second, 0.3 s of pause between them
        assert np.abs(whole[joint - 1000 : joint + 1000]).max() < 0.02 * np.abs(whole).max()


@pytest.mark.parametrize("level, reason", [(1e-5, SILENCE), (40.0, CLIPPING)])
def test_what_cannot_be_used_is_told_before_the_first_stretch(
    voice: Any, tmp_path: Path, preparation: Preparation, level: float, reason: str
) -> None:
    wave = np.clip(level * np.concatenate([voice(1.0)] * 5), -1, 1)
    soundfile.write(tmp_path / "long.wav", wave, 22050, subtype="FLOAT")
    with pytest.raises(AudioError) as raised:
        survey_recording(tmp_path / "long.wav", preparation, 2.0, UNIT)
    assert raised.value.reason == reason
