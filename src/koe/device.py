"""Where and in which precision tensors are computed: decided by whoever starts a run, never at import."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from koe.errors import KoeError

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_precision(precision: str, device: torch.device, parameter: str) -> str:
    """`float32`, `bfloat16` or `float16`; `auto` is bfloat16 where the hardware has it.

    On a processor without the instructions bfloat16 is emulated, and slow. Raises KoeError naming `parameter` for
    float16 anywhere but on an NVIDIA GPU: its range is too small without scaled losses, which are made for those.
    """
    if precision == "float16" and device.type != "cuda":
        raise KoeError(f"{parameter}: float16 needs an NVIDIA GPU, and this run is on {device.type}; "
                       "use auto, bfloat16 or float32")
    if precision != "auto":
        return precision
    capable = torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bfloat16()
    return "bfloat16" if capable else "float32"


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context to compute in, for a precision that `resolve_precision` gave. Weights stay float32 in all of them."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, _TYPES[precision])


def _processor_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def compiled(network: nn.Module, device: torch.device, parameter: str) -> Callable[..., Any]:
    """`network` compiled, for one size of inputs first and, when a second occurs, for any (which all sizes at once
    would be too, but Inductor of torch 2.14 fails then); its own methods, names and weights stay as they are.

    Raises KoeError naming `parameter` if this machine cannot compile: a processor needs a C++ compiler, a GPU Triton.
    """
    try:
        torch.compile(F.silu)(torch.zeros(8, device=device))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise KoeError(f"{parameter}: torch.compile does not work on this machine ({reason}); install a C++ compiler "
                       "(on a GPU: Triton), or set it to false") from error
    return torch.compile(network)


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
