"""What fits from one model into another is told before anything is trained."""

import torch
from torch import Tensor

from koe.training.transfer import Transfer, differing_tensors

HERE = {"encoder.0.weight": (4, 4), "encoder.1.weight": (4, 4), "reduce.weight": (4, 2), "voices.weight": (2, 3)}
THERE = {"encoder.0.weight": (6, 6), "encoder.1.weight": (6, 6), "reduce.weight": (4, 2), "postnet.scale": ()}


def state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_every_tensor_is_taken_missing_unused_or_of_another_shape() -> None:
    found = Transfer.between(state(THERE), state(HERE))
    assert found.taken == ("reduce.weight",)
    assert found.missing == ("voices.weight",)
    assert found.unused == ("postnet.scale",)
    assert dict(found.differing) == {name: ((6, 6), (4, 4)) for name in ("encoder.0.weight", "encoder.1.weight")}
    assert not found.complete
    assert Transfer.between(state(HERE), state(HERE)).complete


def test_lesson_14_the_table_counts_by_module_and_shows_each_pair_of_shapes_once() -> None:
    assert Transfer.between(state(THERE), state(HERE)).table() == [
        "module   taken  missing  unused  shape differs",
        "encoder      0        0       0              2",
        "postnet      0        0       1              0",
        "reduce       1        0       0              0",
        "voices       0        1       0              0",
        "encoder.*.weight: 6×6 there, 4×4 here (2 tensors)",
    ]


def test_differing_tensors_are_named() -> None:
    assert differing_tensors(state(THERE), state(HERE)).startswith("4 tensors, encoder.0.weight, encoder.1.weight, ")
    assert differing_tensors(state(HERE), state(HERE)) == ""
