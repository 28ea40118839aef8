"""Fixtures that several test modules share."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from support.parameters import ROOT, project_values
from support.real_browser import started

from koe.tasks.conversion.schema import Params, check_params

settings.register_profile("koe", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("koe")


def pytest_configure(config: pytest.Config) -> None:
    """Processes share the cores out (`pytest -n`): two threads each would wait for each other.

    They inherit this; in a process of its own a library has asked for its threads by now. Ctrl-C, which a shell lets
    its background processes ignore, acts as in the foreground.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """What a stage or command that runs in this process does to Ctrl-C and SIGTERM ends with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture()
def values() -> dict[str, Any]:
    """The project's own params.yaml as a plain tree, free to be changed by a test."""
    return project_values()


@pytest.fixture()
def params(values: dict[str, Any]) -> Params:
    """The project's own parameters, typed."""
    return check_params(values)


@pytest.fixture()
def auto_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`auto_is("bfloat16")`: from now on `auto` is what it is on a processor with bfloat16; `"float32"`: on another.

    Whichever this one is: PyTorch emulates bfloat16 where the instructions are missing.
    """
    name = "koe.device._processor_has_bfloat16"  # not imported above: PyTorch would ask for its threads too early
    return lambda precision: monkeypatch.setattr(name, lambda: precision == "bfloat16")


@pytest.fixture(params=["float32", "bfloat16"])
def auto_precision(request: pytest.FixtureRequest, auto_is: Callable[[str], None]) -> str:
    """What `auto` is in this test: both, one after the other, on every machine."""
    auto_is(request.param)
    return request.param


def synthetic_voice(
    seconds: float = 1.0, f0: float = 120.0, rate: int = 22050, silence: float = 0.0, seed: int = 0
) -> np.ndarray:
    """A vowel-like tone: harmonics of a slightly gliding F0 under a formant envelope, faint noise, silent ends.

    `seconds` counts the tone alone; `silence` seconds of near-silence stand before and after it.
    """
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    track = f0 * (1 + 0.05 * np.sin(2 * np.pi * 1.5 * time))
    phase = 2 * np.pi * np.cumsum(track) / rate
    wave = np.zeros_like(time)
    for harmonic in range(1, int(min(5000, rate / 2 - 500) / f0)):
        frequency = harmonic * f0
        gain = sum(np.exp(-(((frequency - centre) / 250.0) ** 2)) for centre in (600.0, 1200.0, 2500.0)) + 0.02
        wave += gain * np.sin(harmonic * phase)
    wave *= 0.3 / np.abs(wave).max()
    edge = min(len(wave) // 4, rate // 100)
    wave[:edge] *= np.linspace(0, 1, edge)
    wave[-edge:] *= np.linspace(1, 0, edge)
    quiet = np.zeros(round(silence * rate))
    wave = np.concatenate([quiet, wave, quiet])
    return (wave + 1e-4 * generator.standard_normal(len(wave))).astype(np.float32)


@pytest.fixture(scope="session")
def voice() -> Any:
    """The function `synthetic_voice`."""
    return synthetic_voice


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, for tests that are marked NEEDS_BROWSER."""
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver
