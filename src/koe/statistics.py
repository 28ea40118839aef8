"""Mean and standard deviation of values, merged from those of subsets, and normalisation by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

STD_FLOOR = 0.01  # natural log units; dividing by the deviation of a band that never changes would amplify any error


Values = TypeVar("Values", np.ndarray, Tensor)


@dataclass(frozen=True)
class Moments:
    """Mean and population standard deviation of a set of values."""

    count: int  # number of values
    mean: np.ndarray  # float64, (n_mels,) for mel, () for F0 and energy
    std: np.ndarray  # as mean

    @classmethod
    def of(cls, rows: np.ndarray) -> "Moments":
        """The moments of values, (count,) or (count, columns), computed in float64."""
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
    def from_json(cls, value: Mapping[str, Any], shape: tuple[int, ...] = ()) -> "Moments":
        """What `to_json` makes of moments of this shape. Raises KeyError, TypeError or ValueError if it is not."""
        mean, std = np.asarray(value["mean"], dtype=np.float64), np.asarray(value["std"], dtype=np.float64)
        if mean.shape != shape or std.shape != shape:
            raise ValueError(f"mean and std of shapes {mean.shape} and {std.shape}; expected {shape}")
        if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std < 0).any():
            raise ValueError("mean and std: expected finite numbers, and std not below 0")
        if type(value["count"]) is not int or value["count"] < 0:
            raise ValueError(f"count: {value['count']!r}; expected a whole number, not below 0")
        return cls(value["count"], mean, std)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean.tolist(), "std": self.std.tolist()}

    def normalize(self, values: Values) -> Values:
        """(values - mean) / std, with the type, device and precision of `values` (..., n_mels) or any shape."""
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
