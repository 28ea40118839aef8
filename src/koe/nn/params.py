"""Sizes of the networks that several models are made of."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from koe.params.section import Section
from koe.params.types import Dropout, OddKernel, Positive

Norm = Literal["layer", "batch"]


class ConformerParams(Section):
    layers: Positive
    hidden: Positive
    attention: Positive
    heads: Positive
    feed_forward: Positive
    convolution: Positive
    kernel: OddKernel
    positions: Literal["rotary", "relative", "absolute"]
    norm: Norm
    dropout: Dropout
    inner_dropout: Dropout
    attention_dropout: Dropout

    def contradictions(self, name: str) -> Iterator[str]:
        if self.attention % self.heads or (self.attention // self.heads) % 2:
            yield (f"{name}.heads: {name}.attention ({self.attention}) over {self.heads} heads must be an even whole "
                   "number")
        if self.positions == "absolute" and self.hidden % 2:
            yield f"{name}.hidden: {self.hidden} is odd; sines and cosines come in pairs"


class PredictorParams(Section):
    layers: Positive
    kernel: OddKernel
    filter: Positive
    dropout: Dropout
    stop_gradient: bool


class PostnetParams(Section):
    layers: Annotated[int, Field(ge=0)]
    kernel: OddKernel
    filter: Positive
    norm: Norm
    dropout: Dropout
