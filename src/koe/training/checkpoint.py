"""Checkpoints of training runs: everything that decides the next step, in one safetensors file, no pickles.

A checkpoint holds named objects (models, optimizers, running means), the generators' states and the step. Writing
replaces the old file in one move, so a run killed at any moment leaves a whole checkpoint behind.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from koe.errors import StoreError
from koe.files import reason, replacing, require_regular, understood

_CHECKSUM = "checksum"  # among the plain values


class Stateful(Protocol):
    """An object that a checkpoint can hold: a model, an optimizer, or one whose state is tensors and JSON values."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


def save_checkpoint(path: Path, step: int, objects: Mapping[str, Stateful]) -> None:
    """Writes the objects' states and torch's generators, as they are after `step` steps, with a checksum."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"step": step}
    for name, item in objects.items():
        _flatten(item.state_dict(), name, tensors, plain)
    tensors["generator/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["generator/cuda"] = torch.cuda.get_rng_state()
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    plain[_CHECKSUM] = _checksum(tensors, plain)
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"koe": json.dumps(plain)})


def load_checkpoint(path: Path, objects: Mapping[str, Stateful]) -> int:
    """Puts the states back and returns the step after which they were saved.

    Raises StoreError for a file that is damaged, in whatever bit, before any state is changed.
    """
    tensors, plain = _read(path)
    if plain.get(_CHECKSUM) != _checksum(tensors, plain):
        raise StoreError(f"{path} is damaged: its checksum is not that of its content; remove it to train from "
                         "the start")
    for name, item in objects.items():
        item.load_state_dict(_unflatten(name, tensors, plain))
    torch.set_rng_state(tensors["generator/cpu"])
    if torch.cuda.is_available() and "generator/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator/cuda"])
    return int(plain["step"])


def read_checkpoint(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The states of those of the named objects that are in a checkpoint, without objects to put them into, and `step`.

    Raises StoreError for a damaged file; those of older versions have no checksum, and are read without.
    """
    tensors, plain = _read(path)
    if _CHECKSUM in plain and plain[_CHECKSUM] != _checksum(tensors, plain):
        raise StoreError(f"{path} is damaged: its checksum is not that of its content; start from another checkpoint")
    with understood(path, "start from another checkpoint"):
        return {"step": int(plain["step"]),
                **{name: _unflatten(name, tensors, plain) for name in names if name in plain}}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A checkpoint's tensors and everything else. Raises StoreError."""
    require_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            plain = json.loads((file.metadata() or {})["koe"])  # not parse_json: a best loss may be infinite
        if not isinstance(plain, dict):
            raise ValueError("the states are not named")
    except (SafetensorError, KeyError, OSError, ValueError, RuntimeError, RecursionError, MemoryError) as error:
        raise StoreError(f"{path} is not a checkpoint of Koe ({reason(error)}); remove it to train from the start, or "
                         "start from another") from error
    return tensors, plain


def _checksum(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> int:
    """CRC-32 of all that is in a checkpoint: it must notice accidents, at the speed of the memory."""
    rest = {name: value for name, value in plain.items() if name != _CHECKSUM}
    total = zlib.crc32(json.dumps(rest).encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _flatten(value: Any, path: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    if isinstance(value, Tensor):
        tensors[path] = value
    elif isinstance(value, dict):
        plain[path] = [[key, isinstance(key, int)] for key in value]
        for key, item in value.items():
            _flatten(item, f"{path}/{key}", tensors, plain)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        plain[path] = len(value)
        for index, item in enumerate(value):
            _flatten(item, f"{path}/{index}", tensors, plain)
    else:
        plain[path] = {"value": value}


def _unflatten(path: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Any:
    if path in tensors:
        return tensors[path]
    shape = plain[path]
    if isinstance(shape, list):
        return {(int(key) if whole else key): _unflatten(f"{path}/{key}", tensors, plain) for key, whole in shape}
    if isinstance(shape, int):
        return [_unflatten(f"{path}/{index}", tensors, plain) for index in range(shape)]
    return shape["value"]
