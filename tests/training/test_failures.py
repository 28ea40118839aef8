"""Running out of memory is told from other errors."""

import pytest
import torch
from koe.training.failures import is_out_of_memory


def test_the_errors_that_torch_and_numpy_raise_are_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert is_out_of_memory(MemoryError())


def test_other_errors_are_not() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(raised.value)
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))
