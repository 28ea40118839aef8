"""Weights of one model for another: what differs, said before anything is trained (lessons 14 and 19)."""

from collections.abc import Mapping

from torch import Tensor


def differing_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> str:
    """How many tensors only one state has, or differ in shape, and the first of them; empty if none do."""
    names = [
        name for name in sorted(left.keys() | right.keys())
        if name not in left or name not in right or left[name].shape != right[name].shape
    ]
    return f"{len(names)} tensors, {', '.join(names[:6])}" if names else ""
