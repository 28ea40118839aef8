"""Transfer of weights between models: what fits and what does not, reported before training (lessons 14, 19, 27)."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Size, Tensor


@dataclass(frozen=True)
class Transfer:
    """Names of the tensors of two models: one to be filled, and the other from which it is."""

    taken: tuple[str, ...]  # in both, with the same shape
    missing: tuple[str, ...]  # only in the model to be filled
    unused: tuple[str, ...]  # only in the other
    differing: Mapping[str, tuple[Size, Size]]  # in both: the other's shape, and that of the model to be filled

    @classmethod
    def between(cls, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> "Transfer":
        """Which tensors of the state `theirs` fit into `ours`."""
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
        """Lines to print: counts of tensors, a module a line; then each pair of shapes that differ, once."""
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
    """How many tensors are in one state only or differ in shape, and the first of them; empty if there are none."""
    transfer = Transfer.between(left, right)
    names = sorted([*transfer.missing, *transfer.unused, *transfer.differing])
    return f"{len(names)} tensors, {', '.join(names[:6])}" if names else ""
