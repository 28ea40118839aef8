"""Metrics as they are shown: name, unit, which direction is better, what they require.

The code that computes a metric documents how (`koe.evaluation.measure` and the modules that it calls). A pipeline
declares which metrics it has, and their order in its tables (`koe.pipeline.declaration`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from koe.evaluation.pooling import POOLED

Values = Mapping[str, float | None]  # of a condition, by the metric's name
MISSING = "–"
_Amount = TypeVar("_Amount", float, np.ndarray)


@dataclass(frozen=True)
class Metric:
    """One column of a table of results."""

    name: str  # in metrics/evaluation.csv and .json, and of a validation curve
    label: str  # on pages
    unit: str
    digits: int
    better: Literal["lower", "higher", "one"]
    meaning: str
    scale: float = 1.0  # shown value over stored value: shares are stored, percentages are shown
    needs: Literal["", "target", "text"] = ""  # beside the waveform: the target's, or a text to compare a transcript to
    pooled: tuple[str, str] | None = None  # columns of counts; the aggregate is the ratio of their sums. None: a mean

    def text(self, value: float | None, sign: str = "") -> str:
        """The value in the metric's unit, a dash where it was not measured. `sign="+"` for differences."""
        return MISSING if value is None else f"{value * self.scale:{sign}.{self.digits}f}".replace("-", "−")

    def badness(self, value: _Amount) -> _Amount:
        """A number that falls as the value gets better; for an array, elementwise."""
        return {"lower": value, "higher": -value, "one": abs(value - 1)}[self.better]


MCD = Metric("mcd_db", "MCD", "dB", 2, "lower", "mel-cepstral distortion to the target", needs="target")
LOG_F0_RMSE = Metric("log_f0_rmse", "F0 RMSE", "log", 3, "lower",
                     "root mean square error of log-F0 where both are voiced", needs="target")
F0_CORRELATION = Metric("f0_corr", "F0 corr.", "", 2, "higher", "correlation of log-F0 with the target's",
                        needs="target")
VOICING_ERROR = Metric("vuv_error", "V/UV", "%", 1, "lower", "share of frames voiced in one and unvoiced in the other",
                       100, needs="target")
DURATION_RATIO = Metric("duration_ratio", "Length", "×", 2, "one", "seconds over the target's seconds", needs="target")
SPEAKER_SIMILARITY = Metric("speaker_similarity", "Speaker", "", 2, "higher",
                            "speaker embedding's similarity to the target", needs="target")
WER = Metric("wer", "WER", "%", 1, "lower", "word error rate of speech recognition", 100, "text",
             POOLED["wer"])
CER = Metric("cer", "CER", "%", 1, "lower", "character error rate of speech recognition", 100, "text",
             POOLED["cer"])
MOS = Metric("mos", "MOS", "", 2, "higher", "estimated mean opinion score, 1 to 5")
PESQ = Metric("pesq", "PESQ", "", 2, "higher", "perceptual evaluation of speech quality, −0.5 to 4.5", needs="target")
