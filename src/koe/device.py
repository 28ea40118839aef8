"""Where tensors are computed: decided by whoever starts a run, never at import."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context to compute in: `float32`, `bfloat16`, or `auto`, which is bfloat16 where the hardware has it.

    Weights stay float32 in all of them. On a processor without the instructions bfloat16 is emulated, and slow.
    """
    if precision == "auto":
        capable = torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bfloat16()
        precision = "bfloat16" if capable else "float32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def _processor_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
