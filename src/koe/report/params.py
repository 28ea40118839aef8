"""Parameters of the page."""

from typing import Annotated

from pydantic import Field

from koe.params.section import Section
from koe.params.types import Positive


class ReportParams(Section):
    utterances: Positive  # held-out items to listen to
    alignments: Annotated[int, Field(ge=0)]  # drawn
    trims: Annotated[int, Field(ge=0)]  # drawn
