"""Lengths, ends and joints of files by their own structure (issue 15): nothing is guessed, nothing lost in silence."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from koe.audio.files import audio_info, blocks, read_channels
from koe.audio.mpeg import _crc_16
from koe.audio.parts import CHANGED, COUNTED, CUT, JOINED, NO_LAST_PAGE, UNCOUNTED
from koe.audio.signatures import mpeg_frame
from koe.errors import AudioError

RATE = 22050


def _written(path: Path, wave: np.ndarray, rate: int = RATE, **options: str) -> bytes:
    soundfile.write(path, wave, rate, **options)
    return path.read_bytes()


def _reason(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read_channels(path)
    assert str(path) in caught.value.detail
    return caught.value.reason


def _frames(content: bytes) -> list[int]:
    """Positions of the frames of an MP3 without tags, the first of which is its Info frame."""
    at, places = 0, []
    while length := mpeg_frame(content, at)[0]:
        places.append(at)
        at += length
    return places


# WAV and its relatives


@pytest.mark.parametrize("length", [
    0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 2_000_000_000, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF - 44, 2_000_000_036])
@pytest.mark.parametrize("options", [{}, {"format": "RF64", "subtype": "PCM_16"}, {"endian": "BIG"}])
def test_a_wav_whose_writer_could_not_go_back_is_read_to_its_end(
    voice, tmp_path: Path, length: int, options: dict[str, str]
) -> None:
    path, wave = tmp_path / "a.wav", voice(0.5)
    content = bytearray(_written(path, wave, **options))
    order = ">" if content[:4] == b"RIFX" else "<"
    data = content.index(b"data")
    if content[:4] == b"RF64":
        content[28:36] = struct.pack("<Q", length)
        content[data + 4:data + 8] = b"\xff" * 4
    else:
        content[data + 4:data + 8] = struct.pack(f"{order}I", length)
    expected = read_channels(path)[0]
    path.write_bytes(content)
    assert (audio_info(path).samples, audio_info(path).note) == (len(wave), COUNTED)
    np.testing.assert_array_equal(read_channels(path)[0], expected)
    np.testing.assert_array_equal(read_channels(path, 0.1, 0.2)[0], expected[2205:4410])


@pytest.mark.parametrize("missing", [1, 1000, 20000])
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64"])
def test_what_is_shorter_than_a_plausible_promise_is_truncated(voice, tmp_path: Path, name: str, missing: int) -> None:
    path = tmp_path / name
    content = _written(path, voice(0.6), subtype="PCM_16")
    assert len(read_channels(path)[0]) == round(0.6 * RATE)
    path.write_bytes(content[:len(content) - missing])
    assert _reason(path) == "truncated"


@pytest.mark.parametrize(("name", "place", "unknown"), [
    ("a.aiff", b"SSND", struct.pack(">I", 0)), ("a.aiff", b"SSND", struct.pack(">I", 0x7FFFF000)),
    ("a.au", b".snd\0\0\0\x18", b"\xff" * 4), ("a.au", b".snd\0\0\0\x18", bytes(4)), ("a.caf", b"data", b"\xff" * 8),
    ("a.caf", b"data", b"\x7f" + b"\xff" * 7)])
def test_relatives_of_wav_of_unknown_length(voice, tmp_path: Path, name: str, place: bytes, unknown: bytes) -> None:
    path = tmp_path / name
    content = bytearray(_written(path, voice(0.5), subtype="PCM_16"))
    expected = read_channels(path)[0]
    at = content.index(place) + len(place)
    content[at:at + len(unknown)] = unknown
    path.write_bytes(content)
    np.testing.assert_array_equal(read_channels(path)[0], expected)


def test_what_follows_the_audio_and_is_not_counted_is_told(voice, tmp_path: Path) -> None:
    path, wave = tmp_path / "a.wav", voice(0.3)
    content = _written(path, wave)
    for rest, note in ((b"LIST\x04\0\0\0INFO", ""), (b"\0", ""), (b"\1" * 4000, UNCOUNTED)):
        path.write_bytes(content + rest)
        assert (len(read_channels(path)[0]), audio_info(path).note) == (len(wave), note)


def test_an_empty_wav_with_chunks_behind_its_data_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = _written(path, np.zeros(0)) + b"LIST\x04\0\0\0INFO"
    path.write_bytes(content)
    assert _reason(path) == "zero_samples"


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64", "a.flac"])
def test_joined_files_whose_first_header_counts_only_the_first_are_refused(voice, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = _written(path, voice(0.3), subtype="PCM_16")
    path.write_bytes(content + content)
    assert _reason(path) == "several_streams"


def test_a_wav_joined_behind_a_trailing_chunk_is_refused(voice, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = _written(path, voice(0.3)) + b"LIST\x04\0\0\0INFO"
    path.write_bytes(content)
    assert len(read_channels(path)[0]) == round(0.3 * RATE)
    path.write_bytes(content + content)
    assert _reason(path) == "several_streams"


# FLAC


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
@pytest.mark.parametrize("seconds", [0.01, 1.5])
def test_a_flac_of_unknown_length_is_counted(voice, tmp_path: Path, subtype: str, seconds: float) -> None:
    path, wave = tmp_path / "a.flac", voice(seconds)
    content = bytearray(_written(path, np.stack([wave, 0.5 * wave], axis=1), subtype=subtype))
    expected = read_channels(path)[0]
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert (audio_info(path).samples, audio_info(path).note) == (len(wave), COUNTED)
    np.testing.assert_array_equal(read_channels(path)[0], expected)
    path.write_bytes(content[:-3])
    assert _reason(path) == "truncated"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_a_flac_whose_samples_are_not_those_of_its_md5_is_refused(voice, tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.flac"
    content = bytearray(_written(path, voice(0.5), subtype=subtype))
    np.testing.assert_array_equal(read_channels(path)[0][:, 0], soundfile.read(path, dtype="float32")[0])
    content[26] ^= 1
    path.write_bytes(content)
    assert _reason(path) == "damaged"
    assert len(read_channels(path, 0.1, 0.2)[0]) == 2205  # not all of it is read, so it cannot be checked
    content[26:42] = bytes(16)  # its encoder wrote none
    path.write_bytes(content)
    assert len(read_channels(path)[0]) == round(0.5 * RATE)


# OGG


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_joined_ogg_is_read_whole(voice, tmp_path: Path, subtype: str) -> None:
    waves, content, decoded = [voice(0.6, rate=48000), voice(0.4, rate=48000, f0=200)], b"", []
    for wave in waves:
        content += _written(tmp_path / "part.ogg", wave, 48000, format="OGG", subtype=subtype)
        decoded.append(read_channels(tmp_path / "part.ogg")[0])
    path = tmp_path / "a.ogg"
    path.write_bytes(content)
    assert (audio_info(path).samples, audio_info(path).note) == (sum(map(len, waves)), JOINED)
    np.testing.assert_array_equal(read_channels(path)[0], np.concatenate(decoded))
    np.testing.assert_allclose(read_channels(path, 0.5, 0.8)[0], np.concatenate(decoded)[24000:38400], atol=1e-5)


def test_joined_streams_of_different_kinds_are_refused(voice, tmp_path: Path) -> None:
    for suffix in ("ogg", "mp3"):
        contents = [_written(tmp_path / f"{rate}.{suffix}", voice(0.5, rate=rate), rate) for rate in (16000, 24000)]
        (tmp_path / f"a.{suffix}").write_bytes(b"".join(contents))
        assert _reason(tmp_path / f"a.{suffix}") == "several_streams"


def _last_page(content: bytes) -> int:
    return content.rindex(b"OggS")


def _with_checksum(page: bytes) -> bytes:
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def test_a_complete_ogg_without_the_end_mark_is_read_with_a_note(voice, tmp_path: Path) -> None:
    path, wave = tmp_path / "a.ogg", voice(0.8)
    content = _written(path, wave)
    at = _last_page(content)
    page = bytearray(content[at:])
    assert _with_checksum(bytes(page)) == page
    page[5] &= ~4
    path.write_bytes(content[:at] + _with_checksum(bytes(page)))
    assert (len(read_channels(path)[0]), audio_info(path).note) == (len(wave), NO_LAST_PAGE)
    path.write_bytes(content[:-5])
    assert _reason(path) == "truncated"
    path.write_bytes(content[:at + 10])
    assert _reason(path) == "truncated"


def test_an_ogg_with_a_damaged_or_missing_page_is_refused(voice, tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    content = bytearray(_written(path, voice(3.0)))
    middle = content.index(b"OggS", len(content) // 2)
    damaged = content[:middle + 100] + bytes([content[middle + 100] ^ 1]) + content[middle + 101:]
    path.write_bytes(damaged)
    assert _reason(path) == "damaged"
    before = content.rindex(b"OggS", 0, middle)
    path.write_bytes(content[:before] + content[middle:])
    assert _reason(path) == "damaged"


# MP3


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_a_header_frame_is_read_whole(
    voice, tmp_path: Path, rate: int, mode: str, channels: int
) -> None:
    path = tmp_path / "a.mp3"
    wave = np.concatenate([voice(1.0, rate=rate), np.zeros(2 * rate), voice(1.0, rate=rate)])
    content = _written(path, np.stack([wave] * channels, axis=1), rate, bitrate_mode=mode, compression_level=0.5)
    decoded, places = read_channels(path)[0], _frames(content)
    path.write_bytes(content[places[1]:])
    samples = (len(places) - 1) * mpeg_frame(content, 0)[1]
    assert (audio_info(path).samples, audio_info(path).note) == (samples, COUNTED)
    read = read_channels(path)[0]
    assert read.shape == (samples, channels)
    assert samples >= len(wave) + 529
    delay = int(np.argmax(np.correlate(read[:rate // 2, 0], decoded[:rate // 4, 0], "valid")))
    np.testing.assert_allclose(read[delay:delay + rate], decoded[:rate], atol=1e-4)
    np.testing.assert_allclose(read_channels(path, 1.5, 3.5)[0], read[round(1.5 * rate):round(3.5 * rate)], atol=1e-6)
    path.write_bytes(content[places[1]:-5])
    assert audio_info(path).note == f"{COUNTED}; {CUT}"
    assert len(read_channels(path)[0]) == samples - mpeg_frame(content, 0)[1]


@pytest.mark.parametrize("tag", [b"", b"ID3\3\0\0\0\0\0\x0a" + b"x" * 10])
def test_joined_mp3_is_read_whole(voice, tmp_path: Path, tag: bytes) -> None:
    waves, content, decoded = [voice(0.6), voice(0.4, f0=200)], b"", []
    for wave in waves:
        content += tag + _written(tmp_path / "part.mp3", wave)
        decoded.append(read_channels(tmp_path / "part.mp3")[0])
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert (audio_info(path).samples, audio_info(path).note) == (sum(map(len, waves)), JOINED)
    np.testing.assert_allclose(read_channels(path)[0], np.concatenate(decoded), atol=1e-6)


def test_an_mp3_joined_to_one_whose_header_counts_only_itself(voice, tmp_path: Path) -> None:
    path, wave = tmp_path / "a.mp3", voice(0.6)
    content = _written(path, wave)
    places = _frames(content)
    path.write_bytes(content + content[places[1]:])
    assert audio_info(path).note == f"{JOINED}; {COUNTED}"
    assert len(read_channels(path)[0]) == len(wave) + (len(places) - 1) * 576


def test_tags_and_zeros_around_an_mp3_are_no_damage(voice, tmp_path: Path) -> None:
    path, wave = tmp_path / "a.mp3", voice(0.6)
    content = _written(path, wave)
    ape = b"APETAGEX" + struct.pack("<II", 2000, 32) + bytes(16)
    tagged = b"ID3\3\0\0\0\0\0\x0a" + b"x" * 10 + content + b"TAG" + b"y" * 125
    for around in (tagged, content + ape, content + bytes(999), bytes(500) + content):
        path.write_bytes(around)
        assert (len(read_channels(path)[0]), audio_info(path).note) == (len(wave), "")


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.aiff", "a.caf", "a.ogg"])
def test_a_tag_of_mp3_before_another_format_is_no_stream(voice, tmp_path: Path, name: str) -> None:
    path, wave = tmp_path / name, voice(0.6)
    content = _written(path, wave)
    expected = read_channels(path)[0]
    tag = b"ID3\4\0\0\0\0\2\x0a" + b"\xff\xf3\x48\xc4" * 66 + b"xx"  # a picture may look like frames
    path.write_bytes(tag + tag + content)
    assert audio_info(path).note == ""
    np.testing.assert_array_equal(read_channels(path)[0], expected)
    np.testing.assert_array_equal(read_channels(path, 0.2, 0.4)[0], expected[round(0.2 * RATE):round(0.4 * RATE)])
    path.write_bytes(tag + content[:-2000])
    assert _reason(path) in ("truncated", "unreadable")
    if name == "a.flac":
        path.write_bytes(tag + content + content)
        assert _reason(path) == "several_streams"
        path.write_bytes(tag + content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:])
        assert audio_info(path).note == COUNTED
        np.testing.assert_array_equal(read_channels(path)[0], expected)


@pytest.mark.parametrize("with_header", [True, False])
def test_damaged_bytes_of_an_mp3_are_told(voice, tmp_path: Path, with_header: bool) -> None:
    path = tmp_path / "a.mp3"
    content = bytearray(_written(path, voice(2.0)))
    places = _frames(content)
    middle = places[len(places) // 2]
    if with_header:
        content[middle + 60] ^= 0x10
        path.write_bytes(content)
        assert audio_info(path).note == CHANGED
    content[middle - 100:middle + 400] = bytes(500)
    path.write_bytes(content if with_header else content[places[1]:])
    assert _reason(path) == "damaged"


@pytest.mark.parametrize("length", [0, 1, 2, 9, 100, 1023, 4097])
def test_the_checksum_of_lame(length: int) -> None:
    content, expected = np.random.default_rng(length).bytes(length), 0
    for byte in content:
        expected ^= byte
        for _ in range(8):
            expected = expected >> 1 ^ (0xA001 if expected & 1 else 0)
    assert _crc_16(content) == expected
    assert _crc_16(b"123456789") == 0xBB3D  # the catalogue's check value


# all


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_blocks_together_are_what_is_read_at_once(voice, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _written(path, np.stack([voice(1.3), voice(1.3, f0=150)], axis=1))
    parts = list(blocks(path, 0.2))
    assert max(map(len, parts)) <= round(0.2 * RATE)
    np.testing.assert_array_equal(np.concatenate(parts), read_channels(path)[0])
    np.testing.assert_array_equal(np.concatenate(list(blocks(path, 0.2, 0.3, 1.0))), read_channels(path, 0.3, 1.0)[0])


@pytest.mark.parametrize("rate", [1, 3999, 800_000])
def test_an_implausible_sample_rate_is_refused(voice, tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    content = bytearray(_written(path, voice(0.5)))
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    assert _reason(path) == "implausible_sample_rate"
