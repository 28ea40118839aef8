"""Everything random takes a generator seeded from the run's seed and a name, so that no draw affects another."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, *names: object) -> int:
    """A 63-bit seed from `seed` and the names of a draw, the same on every machine."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.default_rng(seed_for(seed, *names))


def torch_generator(seed: int, *names: object) -> "torch.Generator":
    import torch  # imported here, so that stages that draw with numpy alone start two seconds sooner

    return torch.Generator().manual_seed(seed_for(seed, *names))
