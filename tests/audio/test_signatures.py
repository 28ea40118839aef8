"""Audio is recognised by its content, whatever its name, and nothing else is."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from koe.audio.files import is_audio


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64"])
def test_what_libsndfile_writes_is_audio(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.sin(np.arange(8000)), 8000)
    (tmp_path / name).rename(tmp_path / "0001")
    assert is_audio(tmp_path / "0001")


@pytest.mark.parametrize("head", [
    b"\0\0\0\x18ftypM4A ", b"\x1a\x45\xdf\xa3", b"#!AMR\n", b"wvpk", b"\0\0\0\x08moov", b"FLV\x01", b"RIFF\0\0\0\0AVI ",
    b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9) + b"\xff\xf1\x50\x80\x02\x1f\xfc"])
def test_other_audio_and_video(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(head)
    assert is_audio(tmp_path / "a")


@pytest.mark.parametrize("content", [
    b"", b"a", b"text\tof a list", "\ufefftext".encode(), "text".encode("utf-16"), b"\xff\xd8\xff\xe0 JFIF", b"\x89PNG",
    b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypheic", b"\x7fELF", b"PK\3\4", bytes(5000), b"\xff" * 5000])
def test_what_is_no_audio(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    assert not is_audio(tmp_path / "a.wav")


def test_only_files_are_looked_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    for name in ("pipe.wav", "loop.wav", "missing.wav", ".", "nul\0.wav", "x" * 300):
        assert not is_audio(tmp_path / name)
