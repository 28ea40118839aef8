"""Packed shards: many utterances' arrays in a few safetensors files, any of them readable without the rest.

DVC moves a few large files in seconds and many small ones in hours, so every bulky output is a folder of
shards. A shard's header names its arrays and carries the folder's metadata (for features: the mel contract).

    with ShardWriter(folder, metadata) as writer:
        writer.add("demo/heart/en-001", mel=mel, f0=f0)
    store = ShardReader(folder)
    mel = store.get("demo/heart/en-001", "mel")

The same arrays in the same order give the same bytes, which is what DVC hashes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from koe.errors import ContractError, StoreError
from koe.files import replacing

SHARD_BYTES = 128 * 2**20  # a compromise: few files to move, little to move when one corpus changes
_SEPARATOR = "\t"  # between utterance and field; cannot occur in a table cell's identifier


class ShardWriter:
    """Writes arrays into `folder/00000.safetensors`, `00001…`; a shard is closed once it holds `shard_bytes`.

    Memory use is bounded by one shard. `metadata` (JSON-able) goes into every shard. Leaving the `with` block by
    an exception writes nothing further, so that a reader never takes a partial folder for a whole one: the last
    shard alone says how many there are.
    """

    def __init__(
        self, folder: str | Path, metadata: Mapping[str, Any] | None = None, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.folder = Path(folder)
        self.metadata = dict(metadata or {})
        self.shard_bytes = shard_bytes
        self._pending: dict[str, np.ndarray] = {}
        self._pending_bytes = 0
        self._shards = 0
        self._utterances: set[str] = set()

    def add(self, utterance: str, **arrays: np.ndarray) -> None:
        """Adds an utterance's arrays. Raises StoreError for a second utterance of the same name or NaN in floats."""
        if utterance in self._utterances:
            raise StoreError(f"{self.folder}: utterance {utterance!r} was written twice")
        if not utterance or _SEPARATOR in utterance:
            raise StoreError(f"{self.folder}: {utterance!r} cannot name an utterance (empty, or contains a tab)")
        for field, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise StoreError(f"{self.folder}: {field} of {utterance!r} holds NaN or infinity")
        size = sum(array.nbytes for array in arrays.values())
        if self._pending and self._pending_bytes + size > self.shard_bytes:
            self._flush(last=False)
        self._utterances.add(utterance)
        for field, array in arrays.items():
            self._pending[utterance + _SEPARATOR + field] = np.ascontiguousarray(array)
        self._pending_bytes += size

    def _flush(self, last: bool) -> None:
        # One metadata key only: safetensors writes several in an order that changes from run to run.
        header = json.dumps(
            {"metadata": self.metadata, "shards": self._shards + 1 if last else None}, sort_keys=True
        )
        with replacing(self.folder / f"{self._shards:05d}.safetensors") as temporary:
            save_file(self._pending, temporary, {"koe": header})
        self._shards += 1
        self._pending, self._pending_bytes = {}, 0

    def __enter__(self) -> "ShardWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        if list(self.folder.glob("*.safetensors")):
            raise StoreError(f"{self.folder} holds shards already; nothing is overwritten: remove it first")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush(last=True)


class ShardReader:
    """Random access to a folder of shards. Opens headers only; arrays are read from the file when asked for.

    Raises StoreError for a missing, damaged or incomplete folder, naming the file. Picklable: a copy in another
    process opens the files anew.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        paths = sorted(self.folder.glob("*.safetensors"))
        if not paths:
            raise StoreError(f"{self.folder} holds no shards; run the stage that writes it (dvc repro)")
        self._files = [_open(path) for path in paths]
        headers = [json.loads((file.metadata() or {}).get("koe", "{}")) for file in self._files]
        if headers[-1].get("shards") != len(paths):
            raise StoreError(f"{self.folder} is incomplete ({len(paths)} shards, the last is not the end); rebuild it")
        self.metadata: dict[str, Any] = headers[0]["metadata"]
        for path, header in zip(paths, headers, strict=True):
            if header["metadata"] != self.metadata:
                raise StoreError(f"{path}: its settings differ from those of {paths[0].name}; rebuild {self.folder}")
        self._where = {key: shard for shard, file in enumerate(self._files) for key in file.keys()}  # noqa: SIM118
        self._utterances = {key.partition(_SEPARATOR)[0] for key in self._where}

    def get(self, utterance: str, field: str) -> np.ndarray:
        """The array `field` of `utterance`. Raises StoreError if it is not there."""
        key = utterance + _SEPARATOR + field
        try:
            return self._files[self._where[key]].get_tensor(key)
        except KeyError:
            raise StoreError(f"{self.folder} has no {field!r} for utterance {utterance!r}") from None

    def shape(self, utterance: str, field: str) -> tuple[int, ...]:
        """The array's shape, from the header alone."""
        key = utterance + _SEPARATOR + field
        if key not in self._where:
            raise StoreError(f"{self.folder} has no {field!r} for utterance {utterance!r}")
        return tuple(self._files[self._where[key]].get_slice(key).get_shape())

    def slice(self, utterance: str, field: str, start: int, stop: int) -> np.ndarray:
        """Rows `start:stop` of the array, without reading the others."""
        key = utterance + _SEPARATOR + field
        if key not in self._where:
            raise StoreError(f"{self.folder} has no {field!r} for utterance {utterance!r}")
        return self._files[self._where[key]].get_slice(key)[start:stop]

    def utterances(self) -> list[str]:
        """All utterances, sorted."""
        return sorted(self._utterances)

    def __contains__(self, utterance: object) -> bool:
        return utterance in self._utterances

    def __iter__(self) -> Iterator[str]:
        return iter(self.utterances())

    def require(self, contract: Mapping[str, Any]) -> "ShardReader":
        """Raises ContractError unless the shards were written under `contract`; returns self (lesson 13)."""
        compare_contracts(str(self.folder), self.metadata.get("mel", {}), "the parameters", contract)
        return self

    def __reduce__(self) -> tuple[type["ShardReader"], tuple[Path]]:
        return ShardReader, (self.folder,)


def compare_contracts(
    left_name: str, left: Mapping[str, Any], right_name: str, right: Mapping[str, Any]
) -> None:
    """Raises ContractError showing both values of every mel setting in which two things differ."""
    names = sorted(set(left) | set(right))
    differing = [name for name in names if left.get(name) != right.get(name)]
    if differing:
        rows = "\n".join(
            f"  {name}: {left.get(name, 'not stated')} in {left_name}, {right.get(name, 'not stated')} in {right_name}"
            for name in differing
        )
        raise ContractError(f"mel settings differ, so these two cannot be used together:\n{rows}")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} cannot be read as a shard ({error}); remove it and run dvc repro") from error
