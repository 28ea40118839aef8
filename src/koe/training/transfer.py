"""Weights of one model for another: what fits and what does not, said before training (lessons 14, 19 and 27)."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Size, Tensor


@dataclass(frozen=True)
class Transfer:
    """Names of tensors: `taken` are in both models with one shape, `missing` only in the model to be filled, `unused`
    only in the other; `differing` are in both, with the other's and its own shape.
    """

    taken: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    differing: Mapping[str, tuple[Size, Size]]

    @classmethod
    def between(cls, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> "Transfer":
        """What of the state `theirs` fits into `ours`."""
        both = [name for name in ours if name in theirs]
        differing = {name: (theirs[name].shape, ours[name].shape) for name in both
                     if theirs[name].shape != ours[name].shape}
        return cls(tuple(name for name in both if name not in differing), tuple(ours.keys() - theirs.keys()),
                   tuple(theirs.keys() - ours.keys()), differing)

    @property
    def complete(self) -> bool:
        """Whether the two models have the same tensors."""
        return not (self.missing or self.unused or self.differing)

    def table(self) -> list[str]:
        """Lines to print: how many tensors of each module are what; then each pair of shapes that differ, once."""
        groups = {"taken": self.taken, "missing": self.missing, "unused": self.unused, "shape differs": self.differing}
        counts = {title: Counter(name.partition(".")[0] for name in names) for title, names in groups.items()}
        modules = sorted(set().union(*counts.values()))
        width = max(map(len, ("module", *modules)))
        lines = ["  ".join([f"{'module':{width}}", *groups])]
        for module in modules:
            numbers = (f"{count[module]:{len(title)}}" for title, count in counts.items())
            lines.append("  ".join([f"{module:{width}}", *numbers]))
        shapes = Counter((re.sub(r"\.\d+\b", ".*", name), *pair) for name, pair in self.differing.items())
        return lines + [f"{name}: {_shape(theirs)} there, {_shape(ours)} here" + (f" ({count} tensors)" * (count > 1))
                        for (name, theirs, ours), count in shapes.items()]


def _shape(size: Size) -> str:
    return "×".join(map(str, size)) or "scalar"


def differing_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> str:
    """How many tensors only one state has, or differ in shape, and the first of them; empty if none do."""
    found = Transfer.between(left, right)
    names = sorted([*found.missing, *found.unused, *found.differing])
    return f"{len(names)} tensors, {', '.join(names[:6])}" if names else ""
