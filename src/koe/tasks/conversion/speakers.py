"""Everyone a model knows: whose statistics normalise what, and what tells the model who speaks (lesson 22).

Three ways, `acoustic.conditioning.by`. `none`: one source and one target speaker, nothing to tell. `learned`: a vector
for each speaker of the training. `encoder`: an embedding computed from audio (koe.listeners.speaker), so that a speaker
who was not in the training can be converted from and to once `with_speaker` has introduced them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from koe.corpus.pairing import directions_of
from koe.corpus.statistics import Normalization, Statistics
from koe.errors import KoeError
from koe.names import Direction
from koe.tasks.conversion.params import ConditioningParams

EMBEDDING_SIZE = 256  # of koe.listeners.speaker's embeddings


@dataclass(frozen=True)
class Speakers:
    """The speakers of a model, each by `<corpus>/<speaker>`.

    directions: source and target of the training, sorted; normalization: their statistics; normalize_target: whether
    the model predicts normalised mels (lesson 20); embeddings: (256,) of each speaker, for `encoder`.
    """

    conditioning: ConditioningParams
    directions: tuple[Direction, ...]
    normalization: Normalization
    normalize_target: bool
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Every speaker of the training, sorted: the order of learned vectors."""
        return tuple(sorted({speaker for direction in self.directions for speaker in direction}))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {speaker: index for index, speaker in enumerate(self.trained)}

    @property
    def known(self) -> tuple[str, ...]:
        """Every speaker that can be named, sorted: those of the training, and those introduced since."""
        return tuple(sorted({*self.trained, *self.embeddings}))

    def only(self, side: Literal["source", "target"]) -> str | None:
        """The one source or target of the training; None if there are several."""
        found = {getattr(direction, side) for direction in self.directions}
        return found.pop() if len(found) == 1 else None

    @property
    def outliers(self) -> float | None:
        """`stats.outliers` of the statistics."""
        return self.normalization.levels.outliers

    def of_source(self, speaker: str) -> Statistics:
        return self.normalization.of_source(speaker)

    def of_target(self, speaker: str) -> Statistics:
        return self.normalization.of_target(speaker)

    def voices(self, direction: Direction, heard: np.ndarray | None = None) -> np.ndarray | None:
        """What the model is told of a source and a target speaker: (2,) indices, or (2, 256) embeddings, or nothing.

        `heard` is the source utterance's own embedding, used where `conditioning.level` is `utterance`; the target's is
        always the mean of what is known, for an utterance of the target does not exist when speech is converted.
        """
        if self.conditioning.by == "none":
            return None
        if self.conditioning.by == "learned":
            return np.array([self._index(speaker) for speaker in direction], dtype=np.int64)
        vectors = [self._embedding(speaker) for speaker in direction]
        if self.conditioning.level == "utterance" and heard is not None:
            vectors[0] = heard
        return np.stack(vectors).astype(np.float32)

    def _index(self, speaker: str) -> int:
        if speaker not in self._indices:
            raise KoeError(f"speaker {speaker} was not in the training, and the model learned its speakers by name "
                           f"(acoustic.conditioning.by: learned): {', '.join(self.trained)}. With encoder it could")
        return self._indices[speaker]

    def _embedding(self, speaker: str) -> np.ndarray:
        if speaker not in self.embeddings:
            raise KoeError(f"no embedding of speaker {speaker}; there are {', '.join(self.known)}")
        return self.embeddings[speaker]

    def require_encoder(self, speaker: str) -> None:
        """Raises KoeError unless a new speaker can be introduced by recordings."""
        if self.conditioning.by != "encoder":
            raise KoeError(f"this model cannot take a new speaker ({speaker}): acoustic.conditioning.by is "
                           f"{self.conditioning.by}; it knows {', '.join(self.trained)}. Train one with encoder")

    def with_speaker(self, speaker: str, embedding: np.ndarray, statistics: Statistics) -> "Speakers":
        """The same, with a speaker introduced. Raises KoeError unless the model takes embeddings."""
        self.require_encoder(speaker)
        return replace(self, embeddings={**self.embeddings, speaker: embedding},
                       normalization=self.normalization.with_speaker(speaker, statistics))

    def to_json(self) -> dict[str, Any]:
        """Everything but the embeddings."""
        return {
            "conditioning": self.conditioning.model_dump(mode="json"),
            "directions": [list(direction) for direction in self.directions],
            "statistics": self.normalization.to_json(),
            "normalize_target": self.normalize_target,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], embeddings: Mapping[str, np.ndarray]) -> "Speakers":
        directions = tuple(Direction(source, target) for source, target in value["directions"])
        return cls(ConditioningParams.model_validate(value["conditioning"]), directions,
                   Normalization.from_json(value["statistics"]), value["normalize_target"], embeddings)


def require_conditioning(pairs: pd.DataFrame, conditioning: ConditioningParams) -> None:
    """Raises KoeError if more than one direction is mixed and nothing tells the model who speaks (lesson 22)."""
    directions = sorted(set(directions_of(pairs)))
    if len(directions) > 1 and conditioning.by == "none":
        shown = ", ".join(f"{source} → {target}" for source, target in directions[:4])
        raise KoeError(f"acoustic.conditioning.by: none, but the pairs have {len(directions)} directions ({shown}"
                       f"{' …' if len(directions) > 4 else ''}); use learned or encoder, or a rule that leaves one")
