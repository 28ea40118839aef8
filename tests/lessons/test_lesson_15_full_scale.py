"""Clipping in one dataset script gave strange mels: what goes beyond full scale is counted wherever audio passes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.filled_tables import write_filled

from koe.corpus.resampling import resample_corpus
from koe.corpus.tables.utterances import UTTERANCES
from koe.store import ShardReader
from koe.tasks.conversion.schema import Params

RATE = 22050


def test_lesson_15_overshoot_of_the_resampler_is_counted_in_the_table(params: Params, tmp_path: Path) -> None:
    """A square wave at full scale rings beyond it when it is resampled; the samples stay in range and are counted."""
    square = np.where(np.sin(2 * np.pi * 90 * np.arange(48000) / 48000) > 0, 0.98, -0.98)
    soundfile.write(tmp_path / "a.wav", square, 48000, subtype="PCM_24")
    row = {"utterance": "my/ann/a", "path": str(tmp_path / "a.wav"), "start": None, "end": None,
           "sample_rate": 48000}
    write_filled(UTTERANCES, tmp_path / "corpus", pd.DataFrame([row]))
    table, _ = resample_corpus(tmp_path / "corpus", tmp_path / "out", RATE, params.resample, 1)
    assert -0.01 < table["peak_db"][0] <= 0
    audio = ShardReader(tmp_path / "out").get("my/ann/a", "audio")
    at_full_scale = np.count_nonzero((audio == 32767) | (audio == -32768))
    assert at_full_scale > 0
    assert table["clipped"][0] * len(audio) == pytest.approx(at_full_scale, abs=2)  # one may reach it without clipping
