"""Mean and standard deviation of values, merged from those of parts, and normalising by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

STD_FLOOR = 0.01  # natural log units: a band that never changes must not amplify what a model makes of it


Values = TypeVar("Values", np.ndarray, Tensor)


@dataclass(frozen=True)
class Moments:
    """How many values there were, their mean and population standard deviation: (n_mels,) for mel, else scalars."""

    count: int
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Moments":
        """Of values (count,) or (count, columns), in float64."""
        rows = rows.astype(np.float64)
        if not len(rows):
            return cls(0, np.zeros(rows.shape[1:]), np.zeros(rows.shape[1:]))
        return cls(len(rows), rows.mean(axis=0), rows.std(axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets of values together (Chan, Golub & LeVeque 1983, eq. 1.5)."""
        total = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        shift = other.mean - self.mean
        squares = self.count * np.square(self.std) + other.count * np.square(other.std)
        squares = squares + np.square(shift) * (self.count * other.count / total)
        return Moments(total, self.mean + shift * (other.count / total), np.sqrt(squares / total))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Moments":
        return cls(value["count"], *(np.asarray(value[name], dtype=np.float64) for name in ("mean", "std")))

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean.tolist(), "std": self.std.tolist()}

    def normalize(self, values: Values) -> Values:
        """(values - mean) / std, of the type, device and precision of `values` (..., n_mels) or any shape."""
        mean, std = _like(values, self.mean), _like(values, np.maximum(self.std, STD_FLOOR))
        return (values - mean) / std

    def denormalize(self, values: Values) -> Values:
        """The inverse of `normalize`."""
        mean, std = _like(values, self.mean), _like(values, np.maximum(self.std, STD_FLOOR))
        return values * std + mean


def _like(values: Values, constant: np.ndarray) -> Values:
    if isinstance(values, np.ndarray):
        return constant.astype(values.dtype)
    return values.new_tensor(constant)
