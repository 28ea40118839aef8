"""What ends a training: memory that does not suffice, numbers that are none; told so that one knows what to change."""

import torch

_IS_FULL = (
    "DefaultCPUAllocator", "not enough memory",  # the main memory, on Linux and macOS, on Windows
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",  # a GPU's, outside PyTorch's own allocator
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's or the main memory did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _IS_FULL)


def listed(values: dict[str, float]) -> str:
    """`name value, …`"""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
