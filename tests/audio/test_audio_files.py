"""Reading and writing audio: every format to the same samples, every kind of damage to its reason."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from koe.audio.checks import clipped_share
from koe.audio.files import (
    audio_info,
    blocks,
    is_audio,
    read_audio,
    read_channels,
    resample,
    write_audio,
    writing_audio,
)
from koe.errors import AudioError, KoeError


def _reason(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert path.name in caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [("a.wav", "PCM_U8", 1 / 127), ("a.wav", "PCM_16", 4e-5), ("a.wav", "PCM_24", 2e-7), ("a.wav", "PCM_32", 1e-7),
     ("a.wav", "FLOAT", 1e-7), ("a.wav", "DOUBLE", 1e-7), ("a.flac", "PCM_16", 4e-5), ("a.flac", "PCM_24", 2e-7)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lesson_18_every_sample_type_reads_as_the_same_floats(
    voice, tmp_path: Path, name: str, subtype: str, tolerance: float, channels: int
) -> None:
    wave = voice(0.3, rate=16000)
    soundfile.write(tmp_path / name, np.stack([wave] * channels, axis=1), 16000, subtype=subtype)
    read, rate = read_audio(tmp_path / name)
    assert (rate, read.dtype, read.shape) == (16000, np.float32, wave.shape)
    assert np.abs(read - wave).max() <= tolerance


@pytest.mark.parametrize(("name", "rate"), [("a.mp3", 44100), ("a.ogg", 22050), ("a.ogg", 8000), ("a.mp3", 16000)])
def test_lesson_18_lossy_formats_read_at_the_same_level(voice, tmp_path: Path, name: str, rate: int) -> None:
    wave = voice(1.0, rate=rate)
    soundfile.write(tmp_path / name, wave, rate)
    read, read_rate = read_audio(tmp_path / name)
    assert (read_rate, read.dtype) == (rate, np.float32)
    assert np.sqrt(np.mean(read**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    frames = np.tile(np.array([0.5, -0.25, 0.125], np.float32), (1000, 1))
    soundfile.write(tmp_path / "a.wav", frames, 48000, subtype="FLOAT")
    wave, _ = read_audio(tmp_path / "a.wav")
    assert np.allclose(wave, 0.125)
    assert read_channels(tmp_path / "a.wav")[0].shape == (1000, 3)


def test_header_only(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros((4800, 2)), 48000)
    info = audio_info(tmp_path / "a.flac")
    assert (info.samples, info.channels, info.sample_rate, info.seconds, info.format) == (
        4800, 2, 48000, 0.1, "FLAC/PCM_16")


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name in ("text.wav", "empty.wav", "missing.wav"):
        assert _reason(tmp_path / name) == "unreadable"
    (tmp_path / "folder.wav").mkdir()
    assert _reason(tmp_path / "folder.wav") == "unreadable"


@pytest.mark.parametrize("share", [0.98, 0.5, 0.02])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_files_that_end_early_are_refused(voice, tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    soundfile.write(path, voice(2.0, rate=44100), 44100)
    read_audio(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:int(len(whole) * share)])
    assert _reason(path) in {"truncated", "unreadable"}
    if name == "a.wav":
        assert _reason(path) == "truncated"


def test_wav_of_unknown_length_is_read(voice, tmp_path: Path) -> None:
    """What ffmpeg writes into a pipe: it cannot go back to fill in the length."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, voice(0.5), 22050)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at:at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(read_audio(path)[0]) == round(0.5 * 22050)


def test_rf64_and_extra_chunks_are_read(voice, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, voice(0.5), 22050, format="RF64", subtype="PCM_16")
    assert len(read_audio(path)[0]) == round(0.5 * 22050)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4000])
    assert _reason(path) in {"truncated", "unreadable"}
    soundfile.write(path, voice(0.5), 22050)
    content = path.read_bytes()
    riff = content[:12] + b"junk" + struct.pack("<I", 3) + b"abc\0" + content[12:]
    path.write_bytes(riff[:4] + struct.pack("<I", len(riff) - 8) + riff[8:])
    assert len(read_audio(path)[0]) == round(0.5 * 22050)


def test_zero_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 22050)
    assert _reason(tmp_path / "a.wav") == "zero_samples"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(voice, tmp_path: Path, value: float) -> None:
    wave = voice(0.5)
    wave[700] = value
    soundfile.write(tmp_path / "a.wav", wave, 22050, subtype="FLOAT")
    assert _reason(tmp_path / "a.wav") == "nan_or_infinity"


def test_lesson_15_float_files_beyond_full_scale_are_refused_not_clipped(voice, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(0.5) * 32768, 22050, subtype="FLOAT")  # integers in a float file
    assert _reason(path) == "out_of_range"
    wave = voice(0.5)
    wave[100] = 1.01
    soundfile.write(path, wave, 22050, subtype="DOUBLE")
    with pytest.raises(AudioError, match=r"1 samples lie beyond full scale \(peak 1\.01\)"):
        read_audio(path)
    soundfile.write(path, wave / np.abs(wave).max(), 22050, subtype="FLOAT")  # exactly full scale is fine
    assert np.abs(read_audio(path)[0]).max() == 1.0


def test_lesson_15_overshoot_of_a_lossy_decoder_counts_as_clipped(tmp_path: Path) -> None:
    """A square wave at full scale overshoots by far when it comes out of an MP3."""
    square = np.sign(np.sin(2 * np.pi * 110 * np.arange(44100) / 44100)) * 0.999
    soundfile.write(tmp_path / "a.mp3", square, 44100)
    decoded, _ = soundfile.read(tmp_path / "a.mp3")
    assert np.abs(decoded).max() > 1.0
    channels, _ = read_channels(tmp_path / "a.mp3")
    assert np.abs(channels).max() == 1.0
    assert clipped_share(channels) > 0.01


@settings(max_examples=30, deadline=None)
@given(
    wave=arrays(np.float32, st.integers(1, 400), elements=st.floats(-1, 1, width=32)),
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]),
    rate=st.sampled_from([8000, 11025, 22050, 96000]),
)
def test_what_is_read_lies_in_range(tmp_path_factory, wave: np.ndarray, subtype: str, rate: int) -> None:
    path = tmp_path_factory.mktemp("range") / "a.wav"
    soundfile.write(path, wave, rate, subtype=subtype)
    read, read_rate = read_audio(path)
    assert (read_rate, read.shape, read.dtype) == (rate, wave.shape, np.float32)
    assert np.abs(read).max() <= 1.0
    assert np.abs(read - wave).max() <= (1 / 64 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("name", ["a.wav", "b.flac", "é ü/声 1.WAV"])
def test_written_audio_reads_back(voice, tmp_path: Path, name: str) -> None:
    wave = voice(0.4)
    assert write_audio(tmp_path / name, wave, 22050) == 0
    read, rate = read_audio(tmp_path / name)
    assert rate == 22050
    assert np.abs(read - wave).max() <= 0.5 / 32768 + 1e-7
    assert soundfile.info(tmp_path / name).subtype == "PCM_16"


def test_lesson_15_writing_reports_what_it_clips(tmp_path: Path) -> None:
    assert write_audio(tmp_path / "a.wav", np.array([0.0, 1.5, -1.5, 0.5]), 22050) == 2


def test_writing_refuses_by_name_and_leaves_the_old_file(voice, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, voice(0.3), 22050)
    before = path.read_bytes()
    with pytest.raises(AudioError, match="nan_or_infinity"):
        write_audio(path, np.array([np.nan]), 22050)
    with pytest.raises(KoeError, match=r"a\.mp3.*\.wav or \.flac"):
        write_audio(tmp_path / "a.mp3", voice(0.3), 22050)
    (tmp_path / "file").write_text("")
    with pytest.raises(KoeError, match="cannot be written"):
        write_audio(tmp_path / "file" / "a.wav", voice(0.3), 22050)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.wav", "file"]


def test_a_full_disk_names_the_file(voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(KoeError, match=r"a\.wav: the disk is full"):
        write_audio(tmp_path / "a.wav", voice(0.3), 22050)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 22050), (16000, 22050), (44100, 24000), (8000, 48000)])
def test_resampling_keeps_pitch_and_level(from_rate: int, to_rate: int) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(from_rate) / from_rate).astype(np.float32)
    result = resample(wave, from_rate, to_rate)
    assert result.dtype == np.float32
    assert abs(len(result) - to_rate) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(result)) / to_rate)
    middle = slice(to_rate // 10, -to_rate // 10)
    assert np.abs(result[middle] - expected[middle]).max() < 1e-3


def test_resampling_to_the_same_rate_changes_nothing(voice) -> None:
    wave = voice(0.3)
    assert resample(wave, 22050, 22050) is wave


def test_resampling_removes_what_does_not_fit() -> None:
    wave = np.sin(2 * np.pi * 15000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.sqrt(np.mean(resample(wave, 48000, 22050)[2000:-2000] ** 2)) < 1e-3


def _encode(path: Path, wave: np.ndarray, rate: int, codec: str, channels: int = 1) -> None:
    """Writes a waveform (samples,) to a container that libsndfile cannot read, the same on every channel."""
    with av.open(str(path), "w", format={".aac": "adts", ".m4a": "ipod", ".oga": "ogg"}.get(path.suffix)) as container:
        layout = ("mono", "stereo")[channels - 1]
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 4096
        convert = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.stack([wave] * channels), "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        for part in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


CONTAINERS = [("a.m4a", "aac", 24000), ("a.MP4", "aac", 44100), ("a.aac", "aac", 16000), ("a.m4a", "alac", 22050),
              ("a.webm", "libopus", 48000)]


@pytest.mark.parametrize(("name", "codec", "rate"), CONTAINERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_lesson_18_containers_read_at_the_same_level(
    voice, tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    wave = voice(1.2, rate=rate, silence=0.2)
    _encode(tmp_path / name, wave, rate, codec, channels)
    info = audio_info(tmp_path / name)
    read, read_rate = read_channels(tmp_path / name)
    assert (info.sample_rate, info.channels, info.lossy) == (rate, channels, codec != "alac")
    assert info.format.split("/") == [{".aac": "AAC", ".webm": "WEBM"}.get(Path(name).suffix, "MP4"),
                                      codec.removeprefix("lib").upper()]
    assert (read_rate, read.dtype, read.shape[1]) == (rate, np.float32, channels)
    assert info.samples == pytest.approx(len(wave), abs=0.1 * rate)
    assert len(read) == pytest.approx(len(wave), abs=0.1 * rate)
    assert np.sqrt(np.mean(read**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.1)


@pytest.mark.parametrize(("name", "codec", "rate"), [
    *CONTAINERS, ("a.wav", "", 22050), ("a.flac", "", 22050), ("a.ogg", "", 22050), ("a.mp3", "", 44100)])
def test_a_part_is_what_the_whole_holds_there(voice, tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path, wave = tmp_path / name, voice(2.5, rate=rate)
    if codec:
        _encode(path, wave, rate, codec)
    else:
        soundfile.write(path, wave, rate)
    whole, _ = read_channels(path)
    for start, end in ((0.0, 0.3), (1.0, 1.7), (1.9, None), (None, 0.5)):
        part, _ = read_channels(path, start, end)
        first, last = round((start or 0) * rate), None if end is None else round(end * rate)
        expected = whole[first:last]
        slack = rate // 1000 if path.suffix == ".webm" else 0  # its times are rounded to milliseconds
        assert abs(len(part) - len(expected)) <= slack
        shifts = [np.abs(part[50 + shift:4000 + shift] - expected[50:4000]).max() for shift in range(-slack, slack + 1)]
        assert min(shifts) < 0.02


def test_g722_is_read_at_the_same_level(voice, tmp_path: Path) -> None:
    wave = voice(1.2, rate=16000, silence=0.2)
    _encode(tmp_path / "a.g722", wave, 16000, "g722")
    info = audio_info(tmp_path / "a.g722")
    read, rate = read_audio(tmp_path / "a.g722")
    assert (info.sample_rate, info.channels, info.format, info.lossy, rate) == (16000, 1, "G722/G722", True, 16000)
    assert (info.samples, len(read)) == pytest.approx((len(wave), len(wave)), abs=800)
    assert np.sqrt(np.mean(read**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.1)


@pytest.mark.parametrize(("name", "codec", "rate"), [
    ("a.mov", "aac", 44100), ("a.mkv", "aac", 44100), ("a.mka", "flac", 22050), ("a.3gp", "aac", 16000),
    ("a.ac3", "ac3", 48000), ("a.wv", "wavpack", 22050), ("a.mp2", "mp2", 44100),
    ("a.oga", "flac", 16000), ("b.caf", "alac", 44100)])
def test_formats_that_are_read_by_ffmpeg(voice, tmp_path: Path, name: str, codec: str, rate: int) -> None:
    """OGG with FLAC and CAF with what libsndfile lacks are left to FFmpeg by their codec, not by their suffix."""
    wave, path = voice(1.2, rate=rate, silence=0.2), tmp_path / name
    _encode(path, wave, rate, codec)
    read, read_rate = read_audio(path)
    assert is_audio(path)
    assert read_rate == rate
    assert (audio_info(path).samples, len(read)) == (pytest.approx(len(wave), abs=0.1 * rate),) * 2
    assert np.sqrt(np.mean(read**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.1)
    np.testing.assert_array_equal(np.concatenate(list(blocks(path, 0.31))), read_channels(path)[0])


@pytest.mark.parametrize(("name", "codec"), [
    ("a.m4a", "aac"), ("a.mov", "aac"), ("a.mkv", "aac"), ("a.webm", "libopus")])
def test_joined_containers_are_refused(voice, tmp_path: Path, name: str, codec: str) -> None:
    _encode(tmp_path / name, voice(1.0, rate=48000), 48000, codec)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + content)
    assert _reason(tmp_path / name) == "several_streams"


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("x"), struct.error("x"), soundfile.LibsndfileError(1)])
def test_any_error_of_a_library_names_the_file(
    voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    soundfile.write(tmp_path / "a.wav", voice(0.5), 22050)
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    assert _reason(tmp_path / "a.wav") == "unreadable"
    with pytest.raises(AudioError, match=r"a\.wav"):
        list(blocks(tmp_path / "a.wav", 0.1))


def test_a_part_outside_the_file(voice, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(0.5), 22050)
    for start, end in ((0.6, 0.8), (0.3, 0.3), (0.4, 0.2), (-0.1, 0.2)):
        with pytest.raises(AudioError, match=r"zero_samples.*a\.wav: no samples from"):
            read_channels(tmp_path / "a.wav", start, end)


def test_only_what_is_read_is_checked(voice, tmp_path: Path) -> None:
    wave = voice(1.0)
    wave[-100] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 22050, subtype="FLOAT")
    assert len(read_channels(tmp_path / "a.wav", 0.0, 0.5)[0]) == 11025
    with pytest.raises(AudioError, match="nan_or_infinity"):
        read_channels(tmp_path / "a.wav", 0.5)


def test_damaged_containers_are_refused(voice, tmp_path: Path) -> None:
    _encode(tmp_path / "a.m4a", voice(2.0, rate=24000), 24000, "aac")
    whole = (tmp_path / "a.m4a").read_bytes()
    for share in (0.9, 0.5):
        (tmp_path / "a.m4a").write_bytes(whole[:int(len(whole) * share)])
        assert _reason(tmp_path / "a.m4a") == "unreadable"  # the index at the end is gone
    (tmp_path / "text.m4a").write_text("not audio at all")
    assert _reason(tmp_path / "text.m4a") == "unreadable"
    with av.open(str(tmp_path / "b.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=10, width=16, height=16)
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio in it"):
        read_audio(tmp_path / "b.webm")


def test_a_stream_that_ends_early_is_truncated(voice, tmp_path: Path) -> None:
    """An M4A whose index comes first, as on the web, tells how much is missing."""
    _encode(tmp_path / "a.m4a", voice(2.0, rate=24000), 24000, "aac")
    with av.open(str(tmp_path / "a.m4a")) as source, av.open(
        str(tmp_path / "b.m4a"), "w", format="ipod", options={"movflags": "faststart"}
    ) as copy:
        stream = copy.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    whole = (tmp_path / "b.m4a").read_bytes()
    assert len(read_audio(tmp_path / "b.m4a")[0]) > 1.9 * 24000
    (tmp_path / "b.m4a").write_bytes(whole[:int(len(whole) * 0.6)])
    assert _reason(tmp_path / "b.m4a") in {"truncated", "unreadable"}


@pytest.mark.parametrize("suffix, expected, format", [
    (".wav", 0, "WAV/PCM_16"), (".flac", 0, "FLAC/PCM_16"), (".wav", 2 ** 30 + 1, "RF64/PCM_16"),
])
def test_a_waveform_in_pieces_is_the_file_of_the_whole(
    tmp_path: Path, suffix: str, expected: int, format: str
) -> None:
    wave = np.random.default_rng(0).uniform(-1.1, 1.1, 3000).astype(np.float32)
    clipped = write_audio(tmp_path / f"whole{suffix}", wave, 8000)
    with writing_audio(tmp_path / f"pieces{suffix}", 8000, expected) as write:
        assert sum(write(piece) for piece in np.split(wave, [1, 1000])) == clipped > 0
        assert not (tmp_path / f"pieces{suffix}").exists()
    whole, pieces = (read_audio(tmp_path / f"{name}{suffix}")[0] for name in ("whole", "pieces"))
    assert np.array_equal(whole, pieces)
    assert audio_info(tmp_path / f"pieces{suffix}").format == format
