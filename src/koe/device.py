"""Where tensors are computed: decided by whoever starts a run, never at import."""

import torch


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
