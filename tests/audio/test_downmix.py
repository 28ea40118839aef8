"""One waveform from channels: nothing cancels, a dead channel costs nothing, ordinary stereo is averaged (issue 15)."""

import numpy as np
import pytest

from koe.audio.downmix import QUIETER_DB, ChannelSurvey, downmix_of

RATE = 22050


def _level(wave: np.ndarray, reference: np.ndarray) -> float:
    return 20 * float(np.log10(np.std(wave) / np.std(reference)))


@pytest.mark.parametrize(("right", "name", "level"), [
    (1.0, "average", 0.0), (0.5, "average", -2.5), (-1.0, "right inverted", 0.0), (-0.98, "right inverted", -0.1),
    (-0.3, "right inverted", -3.7), (0.0, "left", 0.0), (0.03, "left", 0.0)])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_channels_that_are_alike(voice, right: float, name: str, level: float, swapped: bool) -> None:
    wave = voice(1.0)
    channels = np.stack([wave, right * wave], axis=1)
    if swapped and abs(right) < 1:
        channels = channels[:, ::-1]
        name = name.replace("left", "R").replace("right", "left").replace("R", "right")
    downmix = downmix_of(channels, RATE)
    mixed = downmix(channels)
    assert (downmix.name, mixed.dtype, mixed.shape) == (name, np.float32, wave.shape)
    assert _level(mixed, wave) == pytest.approx(level, abs=0.1)
    assert downmix.level_db == pytest.approx(level, abs=0.1)


def test_an_offset_or_noise_does_not_make_a_channel_alive(voice) -> None:
    wave, noise = voice(1.0), np.random.default_rng(0).standard_normal(RATE)
    for other in (np.full(RATE, 0.2), 0.001 * noise, 0.1 + 0.001 * noise):
        channels = np.stack([other, wave], axis=1).astype(np.float32)
        assert downmix_of(channels, RATE).name == "right"


def test_two_speakers_with_a_microphone_each_are_both_kept(voice) -> None:
    """Also one who says little: what counts is the loudest moment, not the sum."""
    ann, bob = voice(10.0), np.zeros(10 * RATE, np.float32)
    bob[5 * RATE:round(5.3 * RATE)] = 0.3 * voice(0.3, f0=200)
    channels = np.stack([ann, bob], axis=1)
    downmix = downmix_of(channels, RATE)
    assert downmix.name == "average"
    np.testing.assert_array_equal(downmix(channels), channels.mean(axis=1, dtype=np.float32))


def test_speech_in_one_of_six_channels(voice) -> None:
    channels = np.zeros((RATE, 6), np.float32)
    channels[:, 2] = voice(1.0)
    downmix = downmix_of(channels, RATE)
    assert (downmix.name, downmix.level_db) == ("channel 3 of 6", 0.0)
    np.testing.assert_array_equal(downmix(channels), channels[:, 2])
    channels[:, 5] = -channels[:, 2]
    assert downmix_of(channels, RATE).name == "channels 3 -6 of 6"
    assert "channels 3 -6 of 6" in downmix_of(channels, RATE).note


def test_mono_and_ordinary_stereo_are_the_same_bits_as_before(voice) -> None:
    noise = np.random.default_rng(0).standard_normal((RATE, 2)) * 0.01
    stereo = (np.stack([voice(1.0), 0.8 * voice(1.0)], axis=1) + noise).astype(np.float32)
    for channels in (stereo, stereo[:, :1]):
        np.testing.assert_array_equal(downmix_of(channels, RATE)(channels), channels.mean(axis=1, dtype=np.float32))
        assert downmix_of(channels, RATE).note == ""


def test_a_mix_far_quieter_than_its_loudest_channel_is_told() -> None:
    channels = np.random.default_rng(0).standard_normal((RATE, 8)).astype(np.float32)
    downmix = downmix_of(channels, RATE)
    assert downmix.level_db == pytest.approx(-9.0, abs=0.2) and downmix.level_db < QUIETER_DB
    assert downmix.note == "its 8 channels together are 9 dB quieter than the loudest of them"


@pytest.mark.parametrize("length", [1, 7, 1103, 22050])
def test_blocks_give_the_decision_of_the_whole(voice, length: int) -> None:
    channels = np.stack([voice(1.0), -0.5 * voice(1.0), 0.001 * voice(1.0)], axis=1)[:5000 if length == 1 else None]
    survey = ChannelSurvey(RATE)
    for first in range(0, len(channels), length):
        survey.add(channels[first:first + length])
    whole = downmix_of(channels, RATE)
    assert survey.downmix().weights == whole.weights == (1, -1, 0)
    assert survey.downmix().level_db == pytest.approx(whole.level_db, abs=1e-9)


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_silence_and_what_is_shorter_than_a_stretch(samples: int) -> None:
    assert downmix_of(np.zeros((samples, 2), np.float32), RATE).name == "average"
    wave = np.sin(np.arange(samples)).astype(np.float32)
    name = downmix_of(np.stack([wave, -wave], axis=1), RATE).name
    assert name == ("average" if samples == 1 else "right inverted")
    with pytest.raises(ValueError, match="no channels"):
        ChannelSurvey(RATE).downmix()
