"""Arrays in .npy files of others, read without trust: nothing is allocated that the file does not hold, nothing is run.

The format: magic, version, length of a header that is a Python dict as text, and the numbers (numpy.lib.format).
"""

import ast
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from koe.errors import StoreError
from koe.files import reason, require_regular

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # bytes; numpy's own limit for untrusted files


def read_array(path: Path, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """The array of floating-point numbers in a .npy file, as `dtype`.

    Raises StoreError naming the file if it is missing or not a .npy, if its size is not what its header says, if it
    holds anything but such numbers, or NaN or infinity.
    """
    path = require_regular(Path(path))
    try:
        with path.open("rb") as file:
            stored, shape, in_columns = _header(file)
            size, held = math.prod(shape) * stored.itemsize, path.stat().st_size - file.tell()
            if size != held:
                raise ValueError(f"its header says {size} bytes of numbers, shape {shape}, and the file holds {held}")
            array = np.fromfile(file, stored, math.prod(shape)).reshape(shape, order="F" if in_columns else "C")
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
    except (OSError, ValueError, MemoryError) as error:
        raise StoreError(f"{path} cannot be read as a .npy file ({reason(error)}); expected one array of "
                         "floating-point numbers, as numpy.save writes it") from error
    if not np.isfinite(array).all():
        raise StoreError(f"{path} holds NaN or infinity, or numbers beyond {np.dtype(dtype).name}")
    return array


def _header(file: BinaryIO) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape, and whether columns come first. Raises ValueError."""
    start = file.read(8)
    if start[:4] == b"PK\x03\x04":
        raise ValueError("it is an archive of several arrays, .npz")
    if start[:6] != _MAGIC:
        raise ValueError("it is empty" if not start else "it does not begin as one")
    if start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError(f"version {start[6:].hex()} of the format is unknown")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes")
    header = _literal(file.read(length))
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not say type, order and shape")
    shape, kind, in_columns = header["shape"], header["descr"], header["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"its shape is {shape!s:.60}")
    if not isinstance(kind, str) or kind[-2:] not in ("f2", "f4", "f8") or kind[:-2] not in ("<", ">", "=", "|", ""):
        raise ValueError("it holds Python objects, which are not read" if kind == "|O" else
                         f"it holds numbers of type {kind!s:.60}")
    return np.dtype(kind), shape, bool(in_columns)


def _literal(text: bytes) -> Any:
    try:
        return ast.literal_eval(text.decode("latin-1").strip())
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header is damaged: {reason(error)}") from None
