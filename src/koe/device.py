"""The device and the precision of a computation: chosen by the code that starts a run, never at import."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from koe.errors import KoeError

_OUT_OF_MEMORY = (
    "DefaultCPUAllocator", "not enough memory",  # main memory: on Linux and macOS, on Windows
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",  # a GPU's memory, outside PyTorch's own allocator
)
_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_precision(precision: str, device: torch.device, parameter: str) -> str:
    """`float32`, `bfloat16` or `float16`; `auto` is bfloat16 where the hardware has it.

    On a CPU without bfloat16 instructions it is emulated, which is slow. Raises KoeError naming `parameter` for float16
    on anything but an NVIDIA GPU: its range is too small without loss scaling, which is made for those.
    """
    if precision == "float16" and device.type != "cuda":
        raise KoeError(f"{parameter}: float16 needs an NVIDIA GPU, and this run is on {device.type}; "
                       "use auto, bfloat16 or float32")
    if precision != "auto":
        return precision
    capable = torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bfloat16()
    return "bfloat16" if capable else "float32"


def described(device: torch.device, precision: str, asked: str) -> str:
    """Device and precision in words, for people who wonder why it is slow; asked: the parameter, perhaps `auto`."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type.upper()}"
    if asked == "auto" and precision == "float32":
        return f"{where} in float32; it has no bfloat16 instructions, and training takes several times as long without"
    return f"{where} in {precision}"


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context for a precision returned by `resolve_precision`. Weights stay float32 in every one of them."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, _TYPES[precision])


def _processor_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def compiled(network: nn.Module, device: torch.device, parameter: str) -> Callable[..., Any]:
    """`network` compiled: for one input size at first and, once a second size occurs, for any size (asking for dynamic
    sizes from the start makes Inductor of torch 2.14 fail). The network's methods, names and weights stay as they are.

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
    """The device called `name`; `auto` is the GPU if there is one, otherwise the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of a GPU or the main memory was full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
