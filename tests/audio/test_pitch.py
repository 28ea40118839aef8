"""F0 is right, in its place, and on the mel's frames, whatever the method."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from koe.audio.params import PitchParams
from koe.audio.pitch import EXTRACTORS, continuous_log_f0, extract_f0
from koe.errors import AudioError, ParameterError

METHODS = sorted(EXTRACTORS)
QUICK = ["dio", "dio_plain"]


def glide(seconds: float, rate: int, low: float = 100.0, high: float = 250.0) -> tuple[np.ndarray, np.ndarray]:
    """A voice-like wave of ten harmonics whose F0 rises steadily in log frequency, and its F0 at every sample."""
    time = np.arange(round(seconds * rate)) / rate
    f0 = low * (high / low) ** (time / seconds)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    wave = sum(np.sin(harmonic * phase + harmonic**2) / harmonic for harmonic in range(1, 11))
    return (0.1 * wave).astype(np.float32), f0


@pytest.mark.parametrize("method, rate, hop", [
    *((method, 22050, 256) for method in METHODS),
    *(("dio", rate, hop) for rate, hop in ((24000, 300), (16000, 200), (44100, 512), (48000, 600))),
])
def test_f0_is_right_and_centred_where_the_mel_frame_is(method: str, rate: int, hop: int) -> None:
    wave, truth = glide(1.0, rate)
    f0 = extract_f0(wave, rate, hop, method, 60.0, 500.0)
    expected = truth[np.arange(len(f0)) * hop + hop // 2]
    inner = slice(8, -8)
    cents = 1200 * np.log2(f0[inner] / expected[inner])
    # F0 rises 1587 cents a second: half a hop out of place would be a median of 9 cents.
    assert np.abs(np.median(cents)) < (3 if method != "crepe" else 8)
    assert np.abs(cents).max() < 40


def test_f0_stays_in_place_to_the_end_of_a_long_recording() -> None:
    wave, truth = glide(12.0, 22050)
    f0 = extract_f0(wave, 22050, 256, "dio", 60.0, 500.0)
    last = len(f0) - 20
    assert f0[last] == pytest.approx(truth[last * 256 + 128], rel=2e-3)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(300, 30000), hop=st.sampled_from([200, 256, 300]), method=st.sampled_from(QUICK))
def test_lesson_24_frames_are_samples_over_hop_for_any_length(samples: int, hop: int, method: str) -> None:
    wave, _ = glide(samples / 22050, 22050)
    f0 = extract_f0(wave[:samples], 22050, hop, method, 60.0, 500.0)
    assert f0.shape == (len(wave[:samples]) // hop,)
    assert f0.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("samples", [256, 5119, 5121])
def test_lesson_24_every_method_keeps_the_frame_grid(method: str, samples: int) -> None:
    wave, _ = glide(0.5, 22050)
    assert extract_f0(wave[:samples], 22050, 256, method, 60.0, 500.0).shape == (samples // 256,)


def test_dio_finds_a_fundamental_that_the_recording_lost() -> None:
    wave, truth = glide(1.5, 22050, 80.0, 110.0)
    filtered = signal.sosfiltfilt(signal.butter(8, 180, "highpass", fs=22050, output="sos"), wave)
    expected = truth[np.arange(len(wave) // 256) * 256 + 128]

    def right(method: str) -> float:
        f0 = extract_f0(filtered, 22050, 256, method, 55.0, 400.0)
        return float(np.mean(np.abs(f0 / expected - 1) < 0.1))

    assert right("dio") > 0.9
    assert right("dio_plain") < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_silence_is_unvoiced(method: str) -> None:
    assert not extract_f0(np.zeros(8000, dtype=np.float32), 22050, 256, method, 60.0, 500.0).any()


@pytest.mark.parametrize("method", QUICK)
def test_the_same_wave_gives_the_same_bytes(method: str) -> None:
    wave, _ = glide(0.5, 22050)
    one, two = (extract_f0(wave, 22050, 256, method, 60.0, 500.0) for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_crepe_does_not_dither() -> None:
    wave, _ = glide(0.3, 22050)
    one, two = (extract_f0(wave, 22050, 256, "crepe", 60.0, 500.0) for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_every_method_of_the_parameters_is_there_and_no_other() -> None:
    for method in EXTRACTORS:
        PitchParams(method=method, floor=60, ceiling=400)
    with pytest.raises(ParameterError, match=r"pitch.method: 'yin'; expected one of crepe, dio"):
        extract_f0(np.zeros(1000), 22050, 256, "yin", 60.0, 400.0)


def test_a_wave_under_a_hop_is_refused_by_name() -> None:
    with pytest.raises(AudioError) as raised:
        extract_f0(np.zeros(255), 22050, 256, "dio", 60.0, 400.0)
    assert raised.value.reason == "too_short"


def test_continuous_log_f0_bridges_in_the_log_domain_and_holds_the_ends() -> None:
    f0 = np.array([0, 0, 100, 0, 0, 0, 200, 150, 0], dtype=np.float32)
    log_f0, voiced = continuous_log_f0(f0)
    assert voiced.tolist() == [False, False, True, False, False, False, True, True, False]
    expected = [100, 100, 100, 100 * 2**0.25, 100 * 2**0.5, 100 * 2**0.75, 200, 150, 150]
    assert np.exp(log_f0) == pytest.approx(expected, rel=1e-5)
    assert log_f0.dtype == np.float32 and voiced.dtype == bool


def test_unvoiced_throughout_is_refused_by_name() -> None:
    with pytest.raises(AudioError) as raised:
        continuous_log_f0(np.zeros(20, dtype=np.float32))
    assert raised.value.reason == "unvoiced_throughout"
