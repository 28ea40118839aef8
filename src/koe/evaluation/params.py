"""Parameters of the evaluation of held-out sentences."""

from typing import Literal

from koe.params.section import Section
from koe.params.types import Decibels, Positive


class EvaluationParams(Section):
    headline: Literal["trained", "griffin_lim"]
    pairs: Positive
    pairs_per_direction: Positive | None
    mcd_order: Positive
    mcd_silence_db: Decibels
    wer: bool
    mos: bool
    speaker: bool
