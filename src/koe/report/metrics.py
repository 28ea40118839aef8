"""The evaluation's metrics as a person reads them: names, units, direction. The page and the terminal share it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from koe.vocoder.params import vocoder_label

Values = Mapping[str, float | None]
MISSING = "–"
_Amount = TypeVar("_Amount", float, np.ndarray)


@dataclass(frozen=True)
class Metric:
    """One column. `scale` takes the stored value to the one shown: shares are stored, per cent are shown."""

    name: str
    label: str
    unit: str
    digits: int
    better: Literal["lower", "higher", "one"]
    meaning: str
    scale: float = 1.0

    def text(self, value: float | None, sign: str = "") -> str:
        """The value in the unit of the column, a dash where it was not measured. `sign="+"` for differences."""
        return MISSING if value is None else f"{value * self.scale:{sign}.{self.digits}f}".replace("-", "−")

    def badness(self, value: _Amount) -> _Amount:
        """A number, for each of an array, that falls as the value gets better."""
        return {"lower": value, "higher": -value, "one": abs(value - 1)}[self.better]


METRICS = (
    Metric("mcd_db", "MCD", "dB", 2, "lower", "mel-cepstral distortion to the target"),
    Metric("log_f0_rmse", "F0 RMSE", "log", 3, "lower", "root mean square error of log-F0 where both are voiced"),
    Metric("f0_corr", "F0 corr.", "", 2, "higher", "correlation of log-F0 with the target's"),
    Metric("vuv_error", "V/UV", "%", 1, "lower", "share of frames voiced in one and unvoiced in the other", 100),
    Metric("duration_ratio", "Length", "×", 2, "one", "seconds over the target's seconds"),
    Metric("speaker_similarity", "Speaker", "", 2, "higher", "speaker embedding's similarity to the target"),
    Metric("wer", "WER", "%", 1, "lower", "word error rate of speech recognition", 100),
    Metric("cer", "CER", "%", 1, "lower", "character error rate of speech recognition", 100),
    Metric("mos", "MOS", "", 2, "higher", "estimated mean opinion score, 1 to 5"),
)


def condition_label(condition: str) -> str:
    """`griffin_lim.converted` → `converted, Griffin-Lim`; `source` stays."""
    vocoder, _, kind = condition.rpartition(".")
    return f"{kind}, {vocoder_label(vocoder)}" if vocoder else kind


def conditions(evaluation: Mapping[str, Any]) -> dict[str, Values]:
    """evaluation.json as rows, from what one starts with to what one wants.

    Source; converted by each vocoder; each vocoder's ceiling; target. Only what is there.
    """
    vocoders = [name for name in evaluation if name not in ("source", "target") and isinstance(evaluation[name], dict)]
    names = ["source", *(f"{vocoder}.{kind}" for kind in ("converted", "ceiling") for vocoder in vocoders), "target"]
    rows = {}
    for name in names:
        vocoder, _, kind = name.rpartition(".")
        values = evaluation.get(vocoder, {}).get(kind) if vocoder else evaluation.get(kind)
        if values is not None:
            rows[name] = values
    return rows


@dataclass(frozen=True)
class Change:
    """How a converted value stands between the source's and the best that its vocoder can do."""

    difference: float
    better: bool
    share: float | None  # of the way from source to ceiling; None where the ceiling is not better than the source


def change(metric: Metric, rows: Mapping[str, Values], condition: str) -> Change | None:
    """The change from source to a `converted` row; None for other rows and where a value is missing."""
    value, start = rows[condition].get(metric.name), rows.get("source", {}).get(metric.name)
    if not condition.endswith(".converted") or value is None or start is None:
        return None
    end = rows.get(condition.replace(".converted", ".ceiling"), {}).get(metric.name)
    gained = metric.badness(start) - metric.badness(value)
    possible = metric.badness(start) - metric.badness(end) if end is not None else 0.0
    share = min(max(gained / possible, 0.0), 1.0) if possible > 0 else None
    return Change(value - start, gained > 0, share)
