"""Parameters of alignment."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from koe.audio.params import MelParams
from koe.params.section import Choice, Section
from koe.params.types import Decibels, Dropout, OddKernel, Positive, Seconds, Share


class AlignTraining(Section):
    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    gradient_clip: Annotated[float, Field(gt=0)]
    log_every: Positive
    validate_every: Positive
    validation_pairs: Positive
    checkpoint_every: Positive

    def contradictions(self, name: str) -> Iterator[str]:
        if self.warmup_steps >= self.steps:
            yield f"{name}.warmup_steps: {self.warmup_steps} is not below {name}.steps ({self.steps})"


class AttentionAlignParams(Section):
    """The autoregressive teacher; see `koe.align.attention`."""

    layers: Positive
    hidden: Positive
    kernel: OddKernel
    dropout: Dropout
    prenet_dropout: Dropout
    guided_weight: Annotated[float, Field(ge=0)]
    guided_width: Annotated[float, Field(gt=0)]
    training: AlignTraining


class LearnedAlignParams(Section):
    """Learned alignment search; see `koe.align.learned`."""

    layers: Positive
    hidden: Positive
    channels: Positive
    kernel: OddKernel
    binarization_from: Share
    training: AlignTraining


AlignMethod = Literal["dtw", "attention", "learned"]


class AlignParams(Choice):
    PARTS = ("attention", "learned")
    CHOOSERS = ("method", "compare")

    method: AlignMethod
    compare: AlignMethod | None
    features: Literal["mcep", "mel"]
    bands: Positive
    order: Positive
    normalize: bool
    delta: Annotated[float, Field(ge=0)]
    penalty: Annotated[float, Field(ge=0)]
    band_seconds: Annotated[float, Field(gt=0)]
    silence_db: Decibels
    spread_silence: bool
    suspect_cost: Annotated[float, Field(gt=0)]
    suspect_run_seconds: Seconds
    attention: AttentionAlignParams | None = None
    learned: LearnedAlignParams | None = None

    def contradictions(self, name: str) -> Iterator[str]:
        if self.compare == self.method:
            yield f"{name}.compare: {self.compare} is {name}.method too; name another method, or null"


def align_contradictions(align: AlignParams, mel_params: MelParams) -> Iterator[str]:
    """Contradictions between the features that are aligned and the mel that they are made of."""
    if align.features == "mel" and align.bands > mel_params.n_mels:
        yield f"align.bands: {align.bands} bands from mel.n_mels = {mel_params.n_mels}; at most {mel_params.n_mels}"
    if align.features == "mcep" and align.order >= mel_params.n_mels:
        yield (f"align.order: {align.order} cepstra from mel.n_mels = {mel_params.n_mels} bands; at most "
               f"{mel_params.n_mels - 1}")
