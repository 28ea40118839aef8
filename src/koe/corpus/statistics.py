"""Mean and standard deviation of features, from training pairs only, in one pass over the data.

Features are stored unnormalised; the statistics are applied when features are read. Three groupings are measured at
once, by merging the moments of utterances: each side (all sources, all targets), each speaker, and everything;
`stats.mel`, `stats.pitch` and `stats.energy` say which of them is used. Each utterance counts once in each group,
however many pairs it is in. Log F0 is that of voiced frames: the values between them are interpolated.

The outlier rule: in each utterance, log F0 and energy further than `stats.outliers` interquartile ranges outside the
quartiles are left out (Tukey's fences, as in FastSpeech 2's public preprocessing): octave errors, clicks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import enrolment_utterances
from koe.corpus.params import StatsParams
from koe.errors import KoeError
from koe.files import read_json, understood, write_json
from koe.progress import progress
from koe.statistics import Moments, Values
from koe.store import compare_contracts

FILE = "stats.json"
_AGAIN = "run dvc repro stats, which writes it again"
FEATURES = ("mel", "log_f0", "energy")


@dataclass(frozen=True)
class Statistics:
    """Moments of one group's features. The methods take arrays or tensors, and return the same type."""

    mel: Moments  # of the log-mel, by band: (n_mels,)
    log_f0: Moments  # of the log of F0 in Hz, voiced frames only
    energy: Moments  # of the log energy

    @classmethod
    def from_json(cls, value: Mapping[str, Any], n_mels: int) -> "Statistics":
        return cls(mel=Moments.from_json(value["mel"], (n_mels,)), log_f0=Moments.from_json(value["log_f0"]),
                   energy=Moments.from_json(value["energy"]))

    def to_json(self) -> dict[str, Any]:
        return {feature: getattr(self, feature).to_json() for feature in FEATURES}

    def merge(self, other: "Statistics") -> "Statistics":
        return Statistics(mel=self.mel.merge(other.mel), log_f0=self.log_f0.merge(other.log_f0),
                          energy=self.energy.merge(other.energy))

    def normalize_mel(self, mel: Values) -> Values:
        """Log-mel (..., n_mels) to zero mean and unit variance in every band."""
        return self.mel.normalize(mel)

    def denormalize_mel(self, mel: Values) -> Values:
        return self.mel.denormalize(mel)

    def normalize_log_f0(self, log_f0: Values) -> Values:
        """Log of F0 in Hz, any shape."""
        return self.log_f0.normalize(log_f0)

    def denormalize_log_f0(self, log_f0: Values) -> Values:
        return self.log_f0.denormalize(log_f0)

    def normalize_energy(self, energy: Values) -> Values:
        """Log energy, any shape."""
        return self.energy.normalize(energy)

    def denormalize_energy(self, energy: Values) -> Values:
        return self.energy.denormalize(energy)


@dataclass(frozen=True)
class Normalization:
    """Statistics in every grouping, and the grouping by which each feature is normalised."""

    levels: StatsParams  # the grouping of each feature
    source: Statistics  # of all sources
    target: Statistics  # of all targets
    overall: Statistics  # of all utterances in training pairs
    speakers: dict[str, Statistics] = field(default_factory=dict)  # by `<corpus>/<speaker>`

    def of_source(self, speaker: str) -> Statistics:
        """What normalises recordings of a source speaker. Raises KoeError for one that is not measured, if needed."""
        return self._of(self.source, speaker)

    def of_target(self, speaker: str) -> Statistics:
        """What normalises, and denormalises, recordings of a target speaker."""
        return self._of(self.target, speaker)

    def _of(self, side: Statistics, speaker: str) -> Statistics:
        levels = (self.levels.mel, self.levels.pitch, self.levels.energy)
        if "speaker" in levels and speaker not in self.speakers:
            raise KoeError(f"no statistics of speaker {speaker}, and stats: normalises by speaker; there are "
                           f"{', '.join(sorted(self.speakers))}")
        groups = {"side": side, "global": self.overall, "speaker": self.speakers.get(speaker, side)}
        return Statistics(mel=groups[self.levels.mel].mel, log_f0=groups[self.levels.pitch].log_f0,
                          energy=groups[self.levels.energy].energy)

    def with_speaker(self, speaker: str, statistics: Statistics) -> "Normalization":
        """A copy with one more speaker."""
        speakers = {**self.speakers, speaker: statistics}
        return Normalization(self.levels, self.source, self.target, self.overall, speakers)

    def to_json(self) -> dict[str, Any]:
        speakers = {name: statistics.to_json() for name, statistics in sorted(self.speakers.items())}
        groups = {name: getattr(self, name).to_json() for name in ("source", "target", "overall")}
        return {"levels": self.levels.model_dump(mode="json"), **groups, "speakers": speakers}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], n_mels: int) -> "Normalization":
        """Raises KeyError, TypeError or ValueError if `value` is not what `to_json` makes."""
        source, target, overall = (Statistics.from_json(value[name], n_mels)
                                   for name in ("source", "target", "overall"))
        speakers = {name: Statistics.from_json(speaker, n_mels) for name, speaker in value["speakers"].items()}
        return cls(StatsParams.model_validate(value["levels"]), source, target, overall, speakers)


def within_fences(values: np.ndarray, reach: float | None) -> np.ndarray:
    """Whether each value (count,) is at most `reach` interquartile ranges outside the quartiles: bool, (count,).

    With `reach` None, all are.
    """
    if reach is None or not len(values):
        return np.ones(len(values), dtype=bool)
    low, high = np.quantile(values, (0.25, 0.75))
    margin = reach * (high - low)
    return (values >= low - margin) & (values <= high + margin)


def without_octave_errors(f0: np.ndarray, outliers: float | None) -> np.ndarray:
    """F0 (frames,) in Hz with outliers by the rule above set to unvoiced, as it is measured and learned."""
    voiced = np.flatnonzero(f0 > 0)
    kept = np.zeros_like(f0)
    inside = voiced[within_fences(np.log(f0[voiced].astype(np.float64)), outliers)]
    kept[inside] = f0[inside]
    return kept


def statistics_of(mel: np.ndarray, f0: np.ndarray, energy: np.ndarray, outliers: float | None) -> Statistics:
    """Statistics of one utterance: mel (frames, n_mels), F0 (frames,) in Hz, energy (frames,)."""
    kept = without_octave_errors(f0, outliers)
    log_f0 = np.log(kept[kept > 0].astype(np.float64))
    return Statistics(
        Moments.of(mel), Moments.of(log_f0), Moments.of(energy[within_fences(energy, outliers)]))


_NO_VALUES = Moments(0, np.zeros(()), np.zeros(()))
NOTHING = Statistics(mel=_NO_VALUES, log_f0=_NO_VALUES, energy=_NO_VALUES)


def measure(dataset: Dataset, groups: Mapping[str, Iterable[str]], outliers: float | None) -> dict[str, Statistics]:
    """Statistics of groups of utterances, each utterance read once however many groups it is in."""
    member_of: dict[str, list[str]] = defaultdict(list)
    for group, utterances in groups.items():
        for utterance in utterances:
            member_of[utterance].append(group)
    statistics = dict.fromkeys(groups, NOTHING)
    for utterance in progress(sorted(member_of), "stats", len(member_of), "utterance"):
        features = dataset.mel(utterance), dataset.f0(utterance), dataset.energy(utterance)
        measured = statistics_of(*features, outliers)
        for group in member_of[utterance]:
            statistics[group] = statistics[group].merge(measured)
    return statistics


def measure_pairs(dataset: Dataset, pairs: pd.DataFrame, params: StatsParams, folder: str | Path) -> Normalization:
    """Statistics of the training pairs, written to `folder`; those of held-out speakers by their enrolment recordings.

    Raises KoeError if no training frame is voiced.
    """
    train = pairs[pairs["split"] == "train"]
    sides = {side: set(train[side]) for side in ("source", "target")}
    enrolment = enrolment_utterances(dataset, pairs)
    speakers = {f"speaker {name}": utterances for name, utterances in enrolment.items()}
    statistics = measure(dataset, {**sides, "overall": sides["source"] | sides["target"], **speakers}, params.outliers)
    if not statistics["overall"].log_f0.count:
        raise KoeError("no voiced frame in the training part of the pairs; see data/pairs/pairs.csv")
    normalization = Normalization(
        params, statistics["source"], statistics["target"], statistics["overall"],
        {name: statistics[f"speaker {name}"] for name in enrolment})
    write_json(Path(folder) / FILE, {"mel": mel_contract(dataset.mel_params), **normalization.to_json()})
    return normalization


def read_statistics(folder: str | Path, mel_params: MelParams) -> Normalization:
    """What `measure_pairs` wrote. Raises ContractError if its mel settings are others (lesson 13)."""
    path = Path(folder) / FILE
    value = read_json(path, _AGAIN, ["mel"])
    with understood(path, _AGAIN):
        compare_contracts(str(path), value["mel"], "the parameters", mel_contract(mel_params))
        return Normalization.from_json(value, mel_params.n_mels)
