"""Damaged and hostile files, made from whole ones: for tests/faults, and for the campaigns of benchmarks/faults.py."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

Draw = np.random.Generator
RATE = 16000  # Hz, of the recordings

# Damage of any file --------------------------------------------------------------------------------------------------


def _flipped(data: bytes, draw: Draw, first: int = 0, last: int | None = None) -> bytes:
    """One bit is another, somewhere in the bytes `first` to `last`."""
    place = int(draw.integers(first, max(first + 1, min(len(data), last or len(data)))))
    return data[:place] + bytes([data[place] ^ (1 << int(draw.integers(8)))]) + data[place + 1:]


def _zeroed(data: bytes, draw: Draw) -> bytes:
    """A block is zeros, as after a power cut."""
    start = int(draw.integers(len(data)))
    return data[:start] + bytes(min(512, len(data) - start)) + data[start + 512:]


DAMAGE: dict[str, Callable[[bytes, Draw], bytes]] = {
    "flipped": _flipped,
    "flipped near its beginning": lambda data, draw: _flipped(data, draw, 0, 64),
    "cut": lambda data, draw: data[:int(draw.integers(1, len(data)))],
    "one byte short": lambda data, draw: data[:-1],
    "empty": lambda data, draw: b"",
    "a block of zeros": _zeroed,
    "zeros": lambda data, draw: bytes(len(data)),
    "noise": lambda data, draw: draw.bytes(len(data)),
    "twice": lambda data, draw: data + data,
    "longer": lambda data, draw: data + draw.bytes(16),
}


def damage(path: Path, kind: str, draw: Draw) -> None:
    """Damages a file, also one that DVC has made read-only."""
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(DAMAGE[kind](data, draw) if data else b"\0")


# Recordings ----------------------------------------------------------------------------------------------------------


def whole_recordings(wave: np.ndarray) -> dict[str, bytes]:
    """A waveform (samples,) at RATE as a file of each format, by the file's name."""
    files = {}
    for name, kind, subtype in (
        ("pcm.wav", "WAV", "PCM_16"), ("24.wav", "WAV", "PCM_24"), ("float.wav", "WAV", "FLOAT"),
        ("flac.flac", "FLAC", "PCM_16"), ("vorbis.ogg", "OGG", "VORBIS"), ("opus.opus", "OGG", "OPUS"),
        ("mp3.mp3", "MP3", "MPEG_LAYER_III"),
    ):
        content = io.BytesIO()
        soundfile.write(content, wave, RATE, format=kind, subtype=subtype)
        files[name] = content.getvalue()
    for name, format_name, codec in (("aac.m4a", "ipod", "aac"), ("bare.aac", "adts", "aac"),
                                     ("webm.webm", "webm", "libopus")):
        files[name] = _contained(wave, format_name, codec)
    return files


def _contained(wave: np.ndarray, format_name: str, codec: str) -> bytes:
    content = io.BytesIO()
    with av.open(content, "w", format=format_name) as container:
        stream: Any = container.add_stream(codec, rate=RATE, layout="mono")
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        convert = av.AudioResampler(stream.codec_context.format, "mono", RATE, frame_size=size)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        for part in (*convert.resample(frame), *convert.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return content.getvalue()


def malformed_recordings(whole: dict[str, bytes], draw: Draw, cuts: int = 16) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that are damaged, or are something else than their names say."""
    others = [*whole.values(), b"not audio at all\n" * 50, b"{}", b"<html></html>", pickle.dumps([1])]
    for name, data in whole.items():
        stem, _, suffix = name.partition(".")
        for part in range(cuts):
            yield f"{stem}-cut-{part}.{suffix}", data[:len(data) * part // cuts]
        for number in range(cuts):
            yield f"{stem}-header-{number}.{suffix}", _flipped(data, draw, 0, 128)
            yield f"{stem}-body-{number}.{suffix}", _flipped(data, draw)
        for number, other in enumerate(others):
            if other is not data:
                yield f"{stem}-is-other-{number}.{suffix}", other
        yield f"{stem}-zeros.{suffix}", bytes(len(data))
        yield f"{stem}-magic.{suffix}", data[:16] + draw.bytes(len(data) - 16)
        yield f"{stem}-no-magic.{suffix}", b"XXXX" + data[4:]
        yield f"{stem}-before.{suffix}", draw.bytes(512) + data
        yield f"{stem}-after.{suffix}", data + draw.bytes(512)
        yield f"{stem}-hole.{suffix}", _zeroed(data, draw)
    yield from _malformed_wavs()


def _malformed_wavs() -> Iterator[tuple[str, bytes]]:
    """WAV files whose header holds what it cannot."""
    audio = np.zeros(800, "<i2").tobytes()
    whole = {"tag": 1, "channels": 1, "rate": RATE, "byte_rate": 2 * RATE, "align": 2, "bits": 16}
    for name, value in (
        ("tag", 0), ("tag", 0xFFFE), ("tag", 0x55), ("channels", 0), ("channels", 0xFFFF), ("rate", 0), ("rate", 1),
        ("rate", 0xFFFFFFFF), ("byte_rate", 0), ("align", 0), ("align", 7), ("bits", 0), ("bits", 7), ("bits", 0xFFFF),
    ):
        yield f"wav-{name}-{value}.wav", _wav(_format(**whole | {name: value}), _chunk(b"data", audio))
    header = _format(**whole)
    for length in (0, 1, 799, 1602, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF):
        yield f"wav-data-of-{length}.wav", _wav(header, b"data" + struct.pack("<I", length) + audio)
    for length in (0, 2, 14, 0xFFFFFFFF):
        yield f"wav-fmt-of-{length}.wav", _wav(b"fmt " + struct.pack("<I", length) + header[8:], _chunk(b"data", audio))
    yield "wav-without-fmt.wav", _wav(_chunk(b"data", audio))
    yield "wav-without-data.wav", _wav(header)
    yield "wav-two-data.wav", _wav(header, _chunk(b"data", audio), _chunk(b"data", audio))
    yield "wav-long-list.wav", _wav(header, b"LIST" + struct.pack("<I", 0xFFFFFFF0), _chunk(b"data", audio))
    yield "wav-many-chunks.wav", _wav(header, _chunk(b"junk", b"") * 20000, _chunk(b"data", audio))
    for sample in (np.nan, np.inf, 1e30, -2.0):
        content = io.BytesIO()
        soundfile.write(content, np.full(800, sample, np.float32), RATE, format="WAV", subtype="FLOAT")
        yield f"wav-of-{sample}.wav", content.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def _format(tag: int, channels: int, rate: int, byte_rate: int, align: int, bits: int) -> bytes:
    return _chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, byte_rate, align, bits))


def _wav(*chunks: bytes) -> bytes:
    content = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", min(len(content) + 4, 0xFFFFFFFF)) + b"WAVE" + content


# Hostile files -------------------------------------------------------------------------------------------------------


class Malice:
    """What a pickle of it would do when it is read: make an empty file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def yaml_tags(marker: Path) -> dict[str, str]:
    """YAML that would make `marker`, or would not end, if it were read by a reader that runs what it finds."""
    tenfold = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    return {
        "a call": f"purpose: !!python/object/apply:os.mkdir ['{marker}']\n",
        "an object": f"purpose: !!python/object/new:os.mkdir ['{marker}']\n",
        "a module": "purpose: !!python/module:os\n",
        "an unknown tag": "purpose: !mine {a: 1}\n",
        "aliases of aliases": f"a0: &a0 [x]\n{tenfold}\npurpose: *a9\n",
        "nesting": "purpose: " + "[" * 3000 + "\n",
        "two documents": "purpose: a\n---\npurpose: b\n",
        "no text": "\0\0\0",
        "not UTF-8": "purpose: \udcff\n",
        "a list": "- purpose\n",
        "nothing": "",
    }


def hostile_arrays(marker: Path) -> dict[str, bytes]:
    """Files named .npy that would make `marker`, or take all memory, if they were believed."""
    files = {"a pickle": pickle.dumps(Malice(marker))}
    content = io.BytesIO()
    np.save(content, np.array([Malice(marker)], dtype=object), allow_pickle=True)
    files["an object array"] = content.getvalue()
    for name, header in {
        "a petabyte": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 80), }",
        "a negative shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 80), }",
        "a call as header": f"__import__('os').mkdir({str(marker)!r})",
        "an unfinished header": "{'descr': '<f4', 'fortran_order': False, 'shape': (",
        "objects without a pickle": "{'descr': '|O', 'fortran_order': False, 'shape': (1, 80), }",
        "text": "{'descr': '<U4', 'fortran_order': False, 'shape': (1, 80), }",
    }.items():
        files[name] = _npy(header)
    files["an archive cut short"] = b"PK\x03\x04" + bytes(40)
    files["magic alone"] = b"\x93NUMPY\x01\x00"
    files["nothing"] = b""
    return files


def _npy(header: str) -> bytes:
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def hostile_json() -> dict[str, bytes]:
    """Files named .json that no card, configuration or metrics file can be."""
    return {
        "nesting": b"[" * 100000, "a list": b"[]", "a number": b"7", "nothing": b"", "NUL": b"\0" * 64,
        "not UTF-8": b'{"a": "\xff"}', "half": b'{"acoustic": {"mod', "NaN": b'{"steps": NaN}', "null": b"null",
        "a text": b'"x"', "an empty object": b"{}", "nulls": json.dumps(
            dict.fromkeys(("acoustic", "preparation", "speakers", "provenance", "vocoder", "mel", "steps"))).encode(),
    }


# Texts that a page or a terminal might take for more than text
HTML = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&"
ESCAPES = "\x1b[31mred\x1b[0m\x1b]0;taken\x07\x9b31m"


def shows_control_codes(printed: str) -> bool:
    """Whether text for a terminal has codes that a terminal would obey."""
    return any((ord(letter) < 32 and letter not in "\n\t\r") or 127 <= ord(letter) < 160 for letter in printed)
