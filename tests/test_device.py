"""Precisions are those that the hardware has, and what it has not is refused by name."""

import pytest
import torch

from koe.device import described, mixed_precision, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(("capabilities", "expected"), [
    ({"avx512_bf16": True}, "bfloat16"), ({"amx_bf16": True}, "bfloat16"), ({"avx2": True}, "float32"),
])
def test_auto_is_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", CPU, "precision") == expected
    assert resolve_precision("float32", CPU, "precision") == "float32"
    assert ("no bfloat16 instructions" in described(CPU, expected, "auto")) == (expected == "float32")
    assert described(CPU, "float32", "float32") == "the CPU in float32"


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_computed_in_the_precision(precision: str, kind: torch.dtype) -> None:
    with mixed_precision(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind
