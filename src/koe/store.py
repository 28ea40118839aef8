"""Packed shards: many utterances' arrays in a few safetensors files, any of them readable without the rest.

DVC moves a few large files in seconds and many small ones in hours, so every bulky output is a folder of
shards. A shard's header names its arrays and carries the folder's metadata (for features: the mel contract).

    with ShardWriter(folder, metadata) as writer:
        writer.add("demo/heart/en-001", mel=mel, f0=f0)
    store = ShardReader(folder)
    mel = store.get("demo/heart/en-001", "mel")

The same arrays in the same order give the same bytes, which is what DVC hashes. Where a shard ends is decided by
the names in it, so that adding or removing an utterance changes the shard it belongs to and no other.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from koe.errors import ContractError, StoreError
from koe.files import kind_of, parse_json, reason, replacing, require_regular

SHARD_BYTES = 128 * 2**20  # a compromise: few files to move, little to move when one corpus changes
_SEPARATOR = "\t"  # between utterance and field; cannot occur in a table cell's identifier
_MOST_DIMENSIONS = 32  # of numpy's arrays
_DTYPES = {"BOOL": "?", "I8": "<i1", "U8": "<u1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
           "F16": "<f2", "F32": "<f4", "F64": "<f8"}  # safetensors' names and numpy's


class _Utterance(NamedTuple):
    """An utterance that waits to be written."""

    name: str
    arrays: dict[str, np.ndarray]  # by field
    size: int  # bytes


class ShardWriter:
    """Writes arrays into `folder/00000.safetensors`, `00001…`, each of at most `shard_bytes`.

    From half of `shard_bytes` on, a shard ends before the utterance whose name has the lowest hash, so that adding or
    removing an utterance moves other borders only if it changes which utterance that is.
    Memory use is bounded by one shard. `metadata` (JSON-able) goes into every shard. Leaving the `with` block by
    an exception writes nothing further, so that a reader never takes a partial folder for a complete one: only the
    last shard states how many there are.
    """

    def __init__(
        self, folder: str | Path, metadata: Mapping[str, Any] | None = None, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.folder = Path(folder)
        self.metadata = dict(metadata or {})
        self.shard_bytes = shard_bytes
        self._pending: list[_Utterance] = []
        self._pending_bytes = 0
        self._shards = 0
        self._names: set[str] = set()

    def add(self, utterance: str, **arrays: np.ndarray) -> None:
        """Adds an utterance's arrays. Raises StoreError for a second utterance of the same name or NaN in floats."""
        if utterance in self._names:
            raise StoreError(f"{self.folder}: utterance {utterance!r} was written twice")
        if not utterance or _SEPARATOR in utterance:
            raise StoreError(f"{self.folder}: {utterance!r} cannot name an utterance (empty, or contains a tab)")
        for field, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise StoreError(f"{self.folder}: {field} of {utterance!r} holds NaN or infinity")
        size = sum(array.nbytes for array in arrays.values())
        self._names.add(utterance)
        self._pending.append(_Utterance(utterance, arrays, size))
        self._pending_bytes += size
        while self._pending_bytes > self.shard_bytes and len(self._pending) > 1:
            self._write(self._border())

    def _border(self) -> int:
        """Number of waiting utterances, together more than a shard may hold, that make up the next shard."""
        filled = accumulate(utterance.size for utterance in self._pending[:-1])
        places = [count for count, size in enumerate(filled, 1) if size >= self.shard_bytes / 2]
        return min(places, key=lambda count: _hash(self._pending[count].name), default=len(self._pending) - 1)

    def _write(self, count: int, last: bool = False) -> None:
        """Writes a shard of the first `count` waiting utterances."""
        utterances, self._pending = self._pending[:count], self._pending[count:]
        self._pending_bytes -= sum(utterance.size for utterance in utterances)
        arrays = {utterance.name + _SEPARATOR + field: np.asarray(array, order="C")
                  for utterance in utterances for field, array in utterance.arrays.items()}
        # One metadata key only: safetensors writes several in an order that changes from run to run.
        header = json.dumps(
            {"metadata": self.metadata, "shards": self._shards + 1 if last else None}, sort_keys=True
        )
        with replacing(self.folder / f"{self._shards:05d}.safetensors") as temporary:
            save_file(arrays, temporary, {"koe": header})
        self._shards += 1

    def __enter__(self) -> "ShardWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        if list(self.folder.glob("*.safetensors")):
            raise StoreError(f"{self.folder} holds shards already; nothing is overwritten: remove it first")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write(len(self._pending), last=True)


class _Array(NamedTuple):
    """Location and layout of an array in a shard."""

    path: Path  # of the shard
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int  # bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> "_Array":
        rows, row = range(self.shape[0])[start:stop], math.prod(self.shape[1:]) * self.dtype.itemsize
        return self._replace(shape=(len(rows), *self.shape[1:]), offset=self.offset + rows.start * row)

    def read(self) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                if file.readinto(array) != self.size:  # type: ignore[arg-type]
                    raise OSError("it is shorter than when it was opened")
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error}); run dvc repro") from error
        return array


class ShardReader:
    """Random access to a folder of shards. Opens headers only; arrays are read from the file on request.

    Arrays are read, not mapped: a mapped file's pages count as the process's memory, and a large corpus would fill
    it. No file stays open, so a folder may have more shards than a process may have files. Threads can share a reader.

    Raises StoreError for a missing, damaged or incomplete folder, naming the file. Picklable: a copy in another
    process reads the headers anew.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        paths = sorted(self.folder.glob("*.safetensors"))
        if not paths:
            raise StoreError(f"{self.folder} holds no shards; run the stage that writes it (dvc repro)")
        self._arrays: dict[str, _Array] = {}
        headers = []
        for path in paths:
            header, arrays = _read_header(path)
            headers.append(header)
            self._arrays |= arrays
        if headers[-1].get("shards") != len(paths):
            raise StoreError(f"{self.folder} is incomplete ({len(paths)} shards, the last is not the end); rebuild it")
        self.metadata: dict[str, Any] = headers[0]["metadata"]
        for path, header in zip(paths, headers, strict=True):
            if header["metadata"] != self.metadata:
                raise StoreError(f"{path}: its settings differ from those of {paths[0].name}; rebuild {self.folder}")
        self._utterances = {key.partition(_SEPARATOR)[0] for key in self._arrays}

    def _array(self, utterance: str, field: str) -> _Array:
        try:
            return self._arrays[utterance + _SEPARATOR + field]
        except KeyError:
            raise StoreError(f"{self.folder} has no {field!r} for utterance {utterance!r}") from None

    def get(self, utterance: str, field: str) -> np.ndarray:
        """The array `field` of `utterance`. Raises StoreError if it is not there."""
        return self._array(utterance, field).read()

    def shape(self, utterance: str, field: str) -> tuple[int, ...]:
        """The array's shape, from the header alone."""
        return self._array(utterance, field).shape

    def slice(self, utterance: str, field: str, start: int, stop: int) -> np.ndarray:
        """Rows `start:stop` of the array, without reading the others."""
        return self._array(utterance, field).rows(start, stop).read()

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
    left_name: str, left: Mapping[str, Any], right_name: str, right: Mapping[str, Any], *advice: str
) -> None:
    """Raises ContractError showing both values of every mel setting that differs, and lines of `advice`."""
    if lines := differing_settings(left_name, left, right_name, right):
        raise ContractError("\n  ".join(
            ["mel settings differ, so the two cannot be used together:", *lines, *advice]))


def differing_settings(
    left_name: str, left: Mapping[str, Any], right_name: str, right: Mapping[str, Any]
) -> list[str]:
    """A line for each mel setting that differs, with both values."""
    return [f"{name}: {left.get(name, 'not stated')} in {left_name}, {right.get(name, 'not stated')} in {right_name}"
            for name in sorted(set(left) | set(right)) if left.get(name) != right.get(name)]


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _read_header(path: Path) -> tuple[dict[str, Any], dict[str, _Array]]:
    """A shard's header and the locations of its arrays. Raises StoreError if it is damaged or truncated.

    A safetensors file is the header's length in 8 bytes, the header as JSON, and the arrays without gaps.
    """
    try:
        with require_regular(path).open("rb") as file:
            size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
            if not 0 < length <= size - 8:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            entries = parse_json(file.read(length).decode("utf-8"))
        if not isinstance(entries, dict):
            raise ValueError(f"its header is {kind_of(entries)}")
        header = _checked_header(entries.pop("__metadata__", None))
        arrays = {key: _located(path, key, entry, 8 + length) for key, entry in entries.items()}
        end = 8 + length
        for array in sorted(arrays.values(), key=lambda array: (array.offset, array.size)):
            if array.offset != end:
                raise ValueError(f"an array begins at byte {array.offset}, and the one before it ends at {end}")
            end += array.size
        if size != end:
            raise ValueError(f"{size} bytes instead of {end}")
    except (OSError, ValueError, MemoryError) as error:
        raise StoreError(f"{path} cannot be read as a shard ({reason(error)}); remove it and run dvc repro") from error
    return header, arrays


def _checked_header(entry: Any) -> dict[str, Any]:
    """What `ShardWriter` states of a shard and its folder. Raises ValueError."""
    text = entry.get("koe") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise ValueError("it was not written by Koe")
    header = parse_json(text)
    shards = header.get("shards") if isinstance(header, dict) else False
    if not isinstance(header, dict) or not isinstance(header.get("metadata"), dict) \
            or not (shards is None or type(shards) is int):
        raise ValueError("its header does not state its settings and the number of shards")
    return header


def _located(path: Path, key: str, entry: Any, start: int) -> _Array:
    """The array `key` of a header whose arrays begin at byte `start`. Raises ValueError."""
    if _SEPARATOR not in key:
        raise ValueError(f"{key:.60} does not name an utterance and a field")
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise ValueError(f"{key:.60}: type, shape or place is not stated")
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise ValueError(f"{key:.60}: numbers of type {kind!s:.60}")
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"{key:.60}: shape {shape!s:.60} at {place!s:.60}")
    array = _Array(path, np.dtype(_DTYPES[kind]), tuple(shape), start + place[0] if place else start)
    if len(shape) > _MOST_DIMENSIONS or len(place) != 2 or place[1] - place[0] != array.size:
        raise ValueError(f"{key:.60}: shape {shape!s:.60} of {kind} at {place!s:.60}")
    return array
