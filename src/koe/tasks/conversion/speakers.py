"""The speakers that a model knows: their statistics, and their vectors as input of the model (lesson 22).

There are three methods, `acoustic.conditioning.by`. `none`: one source and one target speaker, no vectors. `learned`:
a vector for each speaker of the training. `encoder`: an embedding computed from audio (koe.listeners.speaker), so that
speakers who were not in the training can be converted from and to after `with_speaker` has introduced them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from koe.corpus.pairing import directions_of
from koe.corpus.statistics import Normalization, Statistics, statistics_of
from koe.errors import KoeError
from koe.names import Direction
from koe.tasks.conversion.params import ConditioningParams

EMBEDDING_SIZE = 256  # of koe.listeners.speaker's embeddings


@dataclass(frozen=True)
class Speakers:
    """The speakers of a model, each by `<corpus>/<speaker>`."""

    conditioning: ConditioningParams
    directions: tuple[Direction, ...]  # of the training, sorted
    normalization: Normalization
    normalize_target: bool  # whether the model predicts normalised mels (lesson 20)
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)  # (256,) of each speaker

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """All speakers of the training, sorted: the order of learned vectors."""
        return tuple(sorted({speaker for direction in self.directions for speaker in direction}))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {speaker: index for index, speaker in enumerate(self.trained)}

    @property
    def known(self) -> tuple[str, ...]:
        """All speakers that can be named, sorted: those of the training, and those introduced since."""
        return tuple(sorted({*self.trained, *self.embeddings}))

    def only(self, side: Literal["source", "target"]) -> str | None:
        """The one source or target of the training; None if there are several."""
        names = {getattr(direction, side) for direction in self.directions}
        return names.pop() if len(names) == 1 else None

    @property
    def outliers(self) -> float | None:
        """`stats.outliers` of the statistics."""
        return self.normalization.levels.outliers

    def of_source(self, speaker: str) -> Statistics:
        return self.normalization.of_source(speaker)

    def of_utterance(self, speaker: str, mel: np.ndarray, f0: np.ndarray, energy: np.ndarray) -> Statistics:
        """What normalises a source utterance with these features: mel (frames, n_mels), F0 (frames,), energy (frames,).

        If `conditioning.level` is `utterance`, its own statistics take the place of its speaker's, in training too: of
        a speaker that nobody has heard before there are no others.
        """
        known = self.of_source(speaker)
        if self.conditioning.level != "utterance":
            return known
        own = statistics_of(mel, f0, energy, self.outliers)
        if not own.log_f0.count:  # a whisper
            own = replace(own, log_f0=known.log_f0)
        return self.normalization.with_speaker(speaker, own).of_source(speaker)

    def of_target(self, speaker: str) -> Statistics:
        return self.normalization.of_target(speaker)

    def voices(self, direction: Direction, embedding: np.ndarray | None = None) -> np.ndarray | None:
        """The model's input for a source and a target speaker: (2,) indices, (2, 256) embeddings, or None.

        `embedding` is the source utterance's own, used if `conditioning.level` is `utterance`; the target's is always
        the speaker's mean, as there is no utterance of the target when speech is converted.
        """
        if self.conditioning.by == "none":
            return None
        if self.conditioning.by == "learned":
            return np.array([self._index(speaker) for speaker in direction], dtype=np.int64)
        vectors = [self.embedding(speaker) for speaker in direction]
        if self.conditioning.level == "utterance" and embedding is not None:
            vectors[0] = embedding
        return np.stack(vectors).astype(np.float32)

    def _index(self, speaker: str) -> int:
        if speaker not in self._indices:
            raise KoeError(f"speaker {speaker} was not in the training, and the model has learned vectors of its "
                           f"speakers only (acoustic.conditioning.by: learned): {', '.join(self.trained)}. To convert "
                           "other speakers, train with encoder")
        return self._indices[speaker]

    def embedding(self, speaker: str) -> np.ndarray:
        """The embedding (256,) of a speaker. Raises KoeError if there is none."""
        if speaker not in self.embeddings:
            raise KoeError(f"no embedding of speaker {speaker}; there are {', '.join(self.known)}")
        return self.embeddings[speaker]

    @property
    def takes_new(self) -> bool:
        """Whether a new speaker can be introduced by recordings."""
        return self.conditioning.by == "encoder"

    def require_encoder(self, speaker: str) -> None:
        """Raises KoeError unless a new speaker can be introduced by recordings."""
        if not self.takes_new:
            raise KoeError(f"this model cannot take a new speaker ({speaker}): acoustic.conditioning.by is "
                           f"{self.conditioning.by}; it knows {', '.join(self.trained)}. Train one with encoder")

    def with_speaker(self, speaker: str, embedding: np.ndarray, statistics: Statistics) -> "Speakers":
        """These speakers and a new one. Raises KoeError unless the model takes embeddings."""
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
    def from_json(
        cls, value: Mapping[str, Any], embeddings: Mapping[str, np.ndarray], n_mels: int
    ) -> "Speakers":
        """Raises KeyError, TypeError or ValueError if `value` is not what `to_json` makes."""
        directions = tuple(Direction(source, target) for source, target in value["directions"])
        if not directions or not all(isinstance(name, str) for direction in directions for name in direction):
            raise ValueError("directions: expected pairs of speakers' names")
        if not isinstance(value["normalize_target"], bool):
            raise ValueError("normalize_target: expected true or false")
        return cls(ConditioningParams.model_validate(value["conditioning"]), directions,
                   Normalization.from_json(value["statistics"], n_mels), value["normalize_target"], embeddings)


def require_conditioning(pairs: pd.DataFrame, conditioning: ConditioningParams) -> None:
    """Raises KoeError if several directions are mixed and speakers are not an input of the model (lesson 22)."""
    directions = sorted(set(directions_of(pairs)))
    if len(directions) > 1 and conditioning.by == "none":
        shown = ", ".join(f"{source} → {target}" for source, target in directions[:4])
        more = " …" if len(directions) > 4 else ""
        raise KoeError(f"acoustic.conditioning.by: none, but the pairs have {len(directions)} directions "
                       f"({shown}{more}); use learned or encoder, or a pair.rule with one direction")
