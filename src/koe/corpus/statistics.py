"""Mean and standard deviation of each side's features, from training pairs only, in one pass over the data.

Features are stored as they are; these are applied when they are read. Each utterance of the training part
counts once per side, however many pairs it is in. The log F0 is that of voiced frames: what stands between
them is interpolation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from torch import Tensor

from koe.corpus.dataset import Dataset
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.params import MelParams
from koe.progress import progress
from koe.store import compare_contracts

FILE = "stats.json"
STD_FLOOR = 0.01  # natural log units: a band that never changes must not amplify what a model makes of it

Values = TypeVar("Values", np.ndarray, Tensor)


class RunningMoments:
    """Mean and variance of rows that arrive in pieces, in float64 (Chan, Golub & LeVeque 1983, eq. 1.5)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self._squares: np.ndarray = np.zeros(())  # sum of squared distances from the mean

    def add(self, rows: np.ndarray) -> None:
        """Adds values of shape (count,) or (count, columns)."""
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        mean = rows.mean(axis=0)
        squares = np.square(rows - mean).sum(axis=0)
        total = self.count + len(rows)
        shift = mean - self.mean
        self._squares = self._squares + squares + np.square(shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation."""
        return np.sqrt(self._squares / max(1, self.count))


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of one feature: (n_mels,) for mel, scalars for log F0 and energy."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, running: RunningMoments) -> "Moments":
        return cls(running.mean, np.maximum(running.std, STD_FLOOR))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Moments":
        return cls(np.asarray(value["mean"], dtype=np.float64), np.asarray(value["std"], dtype=np.float64))

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def normalize(self, values: Values) -> Values:
        """(values - mean) / std, of the type, device and precision of `values` (..., n_mels) or any shape."""
        mean, std = _like(values, self.mean), _like(values, self.std)
        return (values - mean) / std

    def denormalize(self, values: Values) -> Values:
        """The inverse of `normalize`."""
        mean, std = _like(values, self.mean), _like(values, self.std)
        return values * std + mean


def _like(values: Values, constant: np.ndarray) -> Values:
    if isinstance(values, np.ndarray):
        return constant.astype(values.dtype)
    return values.new_tensor(constant)


@dataclass(frozen=True)
class Statistics:
    """One side's statistics, and what is done with them. Arrays and tensors alike, in and out of one type."""

    mel: Moments
    log_f0: Moments
    energy: Moments

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Statistics":
        return cls(*(Moments.from_json(value[field]) for field in ("mel", "log_f0", "energy")))

    def to_json(self) -> dict[str, Any]:
        return {field: getattr(self, field).to_json() for field in ("mel", "log_f0", "energy")}

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


def measure(dataset: Dataset, utterances: Iterable[str]) -> Statistics:
    """Statistics of `utterances`, each read once. Raises KoeError if there is none, or none is voiced."""
    mel, log_f0, energy = RunningMoments(), RunningMoments(), RunningMoments()
    for utterance in utterances:
        f0 = dataset.f0(utterance)
        mel.add(dataset.mel(utterance))
        energy.add(dataset.energy(utterance))
        log_f0.add(np.log(f0[f0 > 0]))
    if not log_f0.count:
        raise KoeError("no voiced frame in the training part of the pairs; see data/pairs/pairs.csv")
    return Statistics(Moments.of(mel), Moments.of(log_f0), Moments.of(energy))


def measure_pairs(dataset: Dataset, pairs: pd.DataFrame, folder: str | Path) -> tuple[Statistics, Statistics]:
    """Statistics of both sides of the training pairs (columns source, target, split), written to `folder`."""
    train = pairs[pairs["split"] == "train"]
    names = {side: sorted(set(train[side])) for side in ("source", "target")}
    source, target = (measure(dataset, progress(names[side], f"stats {side}")) for side in names)
    contract = dataset.mel_params.contract()
    written = {"mel": contract, "source": source.to_json(), "target": target.to_json()}
    write_json(Path(folder) / FILE, written)
    return source, target


def read_statistics(folder: str | Path, mel: MelParams) -> tuple[Statistics, Statistics]:
    """Source's and target's statistics. Raises ContractError if they are of other mel settings (lesson 13)."""
    path = Path(folder) / FILE
    if not path.exists():
        raise KoeError(f"{path} does not exist; run dvc repro stats")
    value = read_json(path)
    compare_contracts(str(path), value["mel"], "the parameters", mel.contract())
    return Statistics.from_json(value["source"]), Statistics.from_json(value["target"])
