"""Weights of networks as safetensors files, the card beside them with the checksums of all, and networks built of them.

A bit that flips in a file of weights, or a digit of a card, changes every result a little and is noticed by nothing
else. Folders that were written before cards had checksums are read without them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from koe.errors import StoreError
from koe.files import read_json, reason, replacing, require_regular, shortened, write_json

Network = TypeVar("Network", bound=nn.Module)
_DIGEST_BYTES = 16


def write_card(path: Path, content: Mapping[str, Any], files: Iterable[str]) -> None:
    """Writes the card of a model: its content and the checksums of `files`, beside it, and of the content itself."""
    card = {**content, "checksums": {file: _checksum(path.parent / file) for file in files}}
    card["checksums"][path.name] = _checksum_of_card(card, path.name)
    write_json(path, card)


def read_card(path: Path, no_model: str, again: str) -> dict[str, Any]:
    """The content of a card.

    Raises StoreError naming the file as `read_json` does, with the advice `no_model`; with the advice `again` if it is
    not what was written.
    """
    card = read_json(path, no_model)
    sums = card.get("checksums")
    if isinstance(sums, dict) and sums.get(path.name, found := _checksum_of_card(card, path.name)) != found:
        raise StoreError(f"{path} is damaged, or was changed by hand: its checksum is {found}, and it says "
                         f"{sums[path.name]}; {again}")
    return card


def require_checksum(path: Path, expected: Mapping[str, str], advice: str) -> None:
    """Raises StoreError naming the file and the advice if it is not the one whose checksum the card has.

    `expected`: of the card; empty in those of older versions.
    """
    require_regular(path)
    if not expected:
        return
    if path.name not in expected:
        raise StoreError(f"{path} is not among the files of the card beside it ({', '.join(expected)}); {advice}")
    try:
        found = _checksum(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({reason(error)}); {advice}") from error
    if found != expected[path.name]:
        raise StoreError(f"{path} is damaged: its checksum is {found}, and the card beside it says "
                         f"{expected[path.name]}; {advice}")


def save_weights(path: Path, state: Mapping[str, Tensor], half: bool = False) -> None:
    """Writes tensors as a safetensors file; `half`: those of real numbers in half precision, for models that ship."""
    kept = {name: tensor.half() if half and tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}, temporary)


def read_weights(path: Path, expected: Mapping[str, str], advice: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises StoreError naming the file and the advice if it is missing or damaged, or the tensor that holds NaN or
    infinity. `expected`: see `require_checksum`.
    """
    require_checksum(path, expected, advice)
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise StoreError(f"{path} cannot be read ({reason(error)}); {advice}") from error
    require_finite(state, path, advice)
    return state


def require_finite(state: Mapping[str, Tensor], path: Path, advice: str) -> None:
    """Raises StoreError naming the tensors that hold NaN or infinity."""
    wrong = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if wrong:
        raise StoreError(f"{path}: {shortened(wrong)} of {len(state)} tensors hold NaN or infinity, so that nothing "
                         f"can be computed with them; {advice}")


def fitted(
    make: Callable[[], Network], state: Mapping[str, Tensor], path: Path, sizes: str,
    names: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> Network:
    """The network that `make` builds by the `sizes` of a card, with the tensors of a file.

    `names`: turns a state of the network into one with the names that messages have. Raises StoreError as `built` and
    `require_fit` do.
    """
    network = built(make, state, sizes)
    require_fit(names(dict(state)), names(network.state_dict()), path, sizes)
    network.load_state_dict(state)
    return network


def built(make: Callable[[], Network], state: Mapping[str, Tensor], sizes: str) -> Network:
    """The network that `make` builds for the tensors of a file.

    `sizes`, the place where its sizes are stated, may say anything: building stops where the network becomes much
    larger than the tensors, before numbers fill its memory. Raises StoreError naming the place.
    """
    # A normalised weight is registered as itself and then as its parts; and of a network of twice the width, which has
    # four times the numbers, the list of tensors that differ says more.
    tensors, numbers = 4 * len(state) + 100, 16 * sum(tensor.numel() for tensor in state.values()) + 10_000

    def count(_: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal tensors, numbers
        tensors, numbers = tensors - 1, numbers - (0 if parameter is None else parameter.numel())
        if tensors < 0 or numbers < 0:
            raise ValueError(f"it is much larger than the {len(state)} tensors of the file")

    hook = register_module_parameter_registration_hook(count)
    try:
        return make()
    except (RuntimeError, ValueError, TypeError, OverflowError, ArithmeticError, MemoryError) as error:
        raise StoreError(f"{sizes}: no network of these sizes can be built ({reason(error)})") from error
    finally:
        hook.remove()


def require_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, sizes: str) -> None:
    """Raises StoreError naming the file, the place of the `sizes`, and the tensors that differ in name or shape."""
    lines = [f"{name}: {tuple(state[name].shape)} in the file, {tuple(tensor.shape)} by the sizes"
             for name, tensor in sorted(expected.items()) if name in state and state[name].shape != tensor.shape]
    lines += [f"{name}: missing" for name in sorted(expected.keys() - state.keys())]
    lines += [f"{name}: unknown" for name in sorted(state.keys() - expected.keys())]
    if lines:
        raise StoreError(f"{path} does not fit {sizes}: {len(lines)} tensors differ; are the two of one model?\n  "
                         + shortened(lines, "\n  ", listed=20))


def _checksum_of_card(card: Mapping[str, Any], name: str) -> str:
    """The checksum of all that a card says but this."""
    others = {**card, "checksums": {file: value for file, value in card["checksums"].items() if file != name}}
    return hashlib.blake2b(json.dumps(others, sort_keys=True).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
