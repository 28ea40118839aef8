"""WORLD called in its own library gives pyworld's numbers, and lets threads work."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pyworld

from koe.audio import world

RATE = 16000


@pytest.fixture(params=["direct", "through pyworld"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways into WORLD; the second is for systems whose library does not show its functions."""
    if request.param == "through pyworld":
        monkeypatch.setattr(world, "_WORLD", None)
    elif world._WORLD is None:
        pytest.skip("this pyworld does not show its functions")
    return request.param


def tone(samples: int, f0: float = 130.0) -> np.ndarray:
    phase = 2 * np.pi * f0 * np.arange(samples) / RATE
    return 0.1 * sum(np.sin(harmonic * phase) for harmonic in range(1, 8))


@pytest.mark.parametrize("samples", [400, 4000, 4801])
@pytest.mark.parametrize("period, speed", [(5.0, 1), (6.25, 4), (1000 * 256 / 22050 / 2, 2)])
def test_dio_and_stonemask_are_pyworlds(library: str, samples: int, period: float, speed: int) -> None:
    wave = tone(samples)
    f0, times = world.dio(wave, RATE, 60.0, 400.0, period, speed)
    expected = pyworld.dio(wave, RATE, f0_floor=60.0, f0_ceil=400.0, frame_period=period, speed=speed)
    assert np.array_equal(f0, expected[0])
    assert np.array_equal(times, expected[1])
    refined = world.stonemask(wave, f0, times, RATE)
    assert np.array_equal(refined, pyworld.stonemask(wave, f0, times, RATE))
    if samples > 400:
        assert np.median(refined[refined > 0]) == pytest.approx(130, rel=1e-3)


def test_harvest_is_pyworlds(library: str) -> None:
    wave = tone(4801)
    f0, times = world.harvest(wave, RATE, 60.0, 400.0, 6.25)
    expected = pyworld.harvest(wave, RATE, f0_floor=60.0, f0_ceil=400.0, frame_period=6.25)
    assert np.array_equal(f0, expected[0])
    assert np.array_equal(times, expected[1])


def test_threads_do_not_disturb_each_other(library: str) -> None:
    waves = [tone(3000 + 100 * count, 100.0 + 10 * count) for count in range(12)]

    def f0_of(wave: np.ndarray) -> np.ndarray:
        return world.dio(wave, RATE, 60.0, 400.0, 5.0, 1)[0]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(f0_of, waves * 4))
    alone = [f0_of(wave) for wave in waves] * 4
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_a_wave_of_another_precision_is_refused_rather_than_misread() -> None:
    if world._WORLD is None:
        pytest.skip("this pyworld does not show its functions")
    with pytest.raises(Exception, match=r"float64|must be"):
        world.dio(tone(4000).astype(np.float32), RATE, 60.0, 400.0, 5.0, 1)
