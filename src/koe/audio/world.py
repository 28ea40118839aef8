"""WORLD's F0 functions without the interpreter's lock, so that threads use every core.

pyworld holds the lock while WORLD works, which leaves processes, and those take longer to start than a corpus of a
few hundred sentences takes to analyse. The C functions are in pyworld's own library and keep no state; they are called
there directly. Where that library does not export them (Windows), pyworld's functions do the same under the lock. The
numbers are the same; a test compares them with pyworld's.
"""

import ctypes
import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyworld 0.3.5 imports pkg_resources, which warns of its own removal
    import pyworld

_ARRAY = np.ctypeslib.ndpointer(np.float64, ndim=1, flags="C_CONTIGUOUS")


class _DioOption(ctypes.Structure):  # dio.h
    _fields_ = (
        ("f0_floor", ctypes.c_double), ("f0_ceil", ctypes.c_double), ("channels_in_octave", ctypes.c_double),
        ("frame_period", ctypes.c_double), ("speed", ctypes.c_int), ("allowed_range", ctypes.c_double),
    )


class _HarvestOption(ctypes.Structure):  # harvest.h
    _fields_ = (("f0_floor", ctypes.c_double), ("f0_ceil", ctypes.c_double), ("frame_period", ctypes.c_double))


def _library() -> Any:
    library = ctypes.CDLL(pyworld.pyworld.__file__)
    analysis: list[Any] = [_ARRAY, ctypes.c_int, ctypes.c_int]
    library.Dio.argtypes = [*analysis, ctypes.POINTER(_DioOption), _ARRAY, _ARRAY]
    library.Harvest.argtypes = [*analysis, ctypes.POINTER(_HarvestOption), _ARRAY, _ARRAY]
    library.StoneMask.argtypes = [*analysis, _ARRAY, _ARRAY, ctypes.c_int, _ARRAY]
    for function in (library.Dio, library.Harvest, library.StoneMask):
        function.restype = None
    return library


try:
    _WORLD = _library()
except (OSError, AttributeError):
    _WORLD = None


def _frames(wave: np.ndarray, rate: int, period: float) -> int:
    """As GetSamplesForDIO counts them: one every `period` milliseconds, from time 0."""
    return int(1000.0 * len(wave) / rate / period) + 1


def dio(
    wave: np.ndarray, rate: int, floor: float, ceiling: float, period: float, speed: int
) -> tuple[np.ndarray, np.ndarray]:
    """F0 (frames,) in Hz and times (frames,) in s of a float64 wave (samples,), a frame every `period` ms."""
    if _WORLD is None:
        return pyworld.dio(wave, rate, f0_floor=floor, f0_ceil=ceiling, frame_period=period, speed=speed)
    times, f0 = np.zeros((2, _frames(wave, rate, period)))
    option = _DioOption(floor, ceiling, 2.0, period, speed, 0.1)  # WORLD's defaults for channels and range
    _WORLD.Dio(wave, len(wave), rate, ctypes.byref(option), times, f0)
    return f0, times


def harvest(
    wave: np.ndarray, rate: int, floor: float, ceiling: float, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """As `dio`, computed by Harvest."""
    if _WORLD is None:
        return pyworld.harvest(wave, rate, f0_floor=floor, f0_ceil=ceiling, frame_period=period)
    times, f0 = np.zeros((2, _frames(wave, rate, period)))
    _WORLD.Harvest(wave, len(wave), rate, ctypes.byref(_HarvestOption(floor, ceiling, period)), times, f0)
    return f0, times


def stonemask(wave: np.ndarray, f0: np.ndarray, times: np.ndarray, rate: int) -> np.ndarray:
    """F0 (frames,) refined at its times (frames,)."""
    if _WORLD is None:
        return pyworld.stonemask(wave, f0, times, rate)
    refined = np.zeros(len(f0))
    _WORLD.StoneMask(wave, len(wave), rate, times, f0, len(f0), refined)
    return refined
