"""What training and conversion do to every recording first: one waveform without what is below hearing (issue 15)."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from koe.audio.mel import mel_and_energy
from koe.audio.preparation import SUBSONIC_REACH, downmix_of_file, prepare, prepared_blocks, remove_subsonic
from koe.errors import AudioError
from koe.tasks.conversion.schema import Params

RATE = 22050


@pytest.mark.parametrize("frequency, expected, tolerance", [
    (5, -96, 1), (10, -48, 1), (20, -6, 0.1), (40, 0, 0.1), (60, 0, 0.01), (5000, 0, 0.01)])
def test_what_is_below_hearing_is_removed(frequency: float, expected: float, tolerance: float) -> None:
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(4 * RATE) / RATE)
    filtered = remove_subsonic(wave, RATE)
    middle = slice(RATE, 3 * RATE)
    assert 20 * np.log10(np.std(filtered[middle]) / np.std(wave[middle])) == pytest.approx(expected, abs=tolerance)
    if frequency >= 40:  # in phase
        np.testing.assert_allclose(filtered[middle], wave[middle], atol=0.003)


@pytest.mark.parametrize("offset", [0.01, 0.03, -0.3])
def test_an_offset_changes_neither_mel_nor_energy(voice, params: Params, offset: float) -> None:
    """0.03 moved the demo's converted speech by 12 dB."""
    wave = np.concatenate([voice(0.5), np.zeros(RATE // 4, np.float32), voice(0.5)])
    plain, moved = (torch.from_numpy(prepare(shifted, RATE, RATE, params.resample).wave)
                    for shifted in (wave, (wave + offset).astype(np.float32)))
    assert np.abs(moved[:50].numpy() - plain[:50].numpy()).max() < 1e-4  # no click at the edges
    mel = mel_and_energy(plain, params.mel), mel_and_energy(moved, params.mel)
    decibels = 20 / np.log(10)
    loud = mel[0][0] > mel[0][0].max() - 8
    assert float((mel[0][0] - mel[1][0])[loud].abs().max()) * decibels < 0.1
    np.testing.assert_allclose(mel[0][1], mel[1][1], rtol=0.01, atol=1e-3)


def test_speech_that_begins_at_once_is_not_bent(voice) -> None:
    wave = voice(1.0)[333:]
    assert np.abs(remove_subsonic(wave, RATE) - wave).max() < 0.01 * np.abs(wave).max()


@pytest.mark.parametrize("length", [0, 1, 2, 100])
def test_short_waves_keep_their_length(length: int) -> None:
    assert remove_subsonic(np.ones(length, np.float32), RATE).shape == (length,)


def test_a_block_with_its_surroundings_comes_out_as_in_the_whole() -> None:
    wave = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32) + 0.5
    reach = round(SUBSONIC_REACH * RATE)
    part = remove_subsonic(wave[2 * RATE - reach:3 * RATE + reach], RATE)[reach:-reach]
    np.testing.assert_allclose(part, remove_subsonic(wave, RATE)[2 * RATE:3 * RATE], atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 16000, 48000])
@pytest.mark.parametrize("seconds", [0.1, 0.7, 10.0])
def test_a_file_in_blocks_is_prepared_as_in_memory(
    voice, params: Params, tmp_path: Path, rate: int, seconds: float
) -> None:
    wave = voice(2.5, rate=rate)
    channels = np.stack([wave, -0.9 * wave + 0.05], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, rate, subtype="FLOAT")
    whole = prepare(channels, rate, RATE, params.resample)
    parts = list(prepared_blocks(tmp_path / "a.wav", RATE, params.resample.quality, seconds))
    np.testing.assert_allclose(np.concatenate(parts), whole.wave, atol=1e-6)
    assert whole.downmix.name == downmix_of_file(tmp_path / "a.wav", seconds).name == "right inverted"


def test_rumble_is_no_speech(params: Params) -> None:
    rumble = 0.3 * np.cos(2 * np.pi * 4 * np.arange(RATE) / RATE)
    with pytest.raises(AudioError, match=r"silence_only: a\.wav: the loudest 50 ms"):
        prepare(rumble, RATE, RATE, params.resample, "a.wav")


def test_channels_that_cancel_are_not_silence(voice, params: Params) -> None:
    wave = voice(1.0)
    mono = prepare(wave, RATE, RATE, params.resample)
    inverted = prepare(np.stack([wave, -0.98 * wave], axis=1), RATE, RATE, params.resample)
    assert np.std(inverted.wave) == pytest.approx(np.std(mono.wave), rel=0.02)
    assert inverted.downmix.note == "of its channels, this is used: right inverted"
