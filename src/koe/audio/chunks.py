"""Structure of files that state the length of their audio: WAV, AIFF, CAF, AU, NIST SPHERE, VOC and W64.

The first three are chunks of a name, a length and a content. WAV has lengths of 32 bits; RF64 and BW64 have longer ones
in a chunk of their own.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from koe.audio.checks import SEVERAL_STREAMS, TRUNCATED
from koe.audio.parts import COUNTED, UNCOUNTED, Part, Structure
from koe.errors import AudioError

_BEGINNINGS = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd", b"dns.", b"NIST", b"Crea"}
_FEW_BYTES = 64  # padding, or less than a millisecond
_NEAR = 1 << 16  # bytes: placeholders are a power of two, some less a header or rounded to a block


def wav(path: Path, file: io.BufferedReader, size: int, order: str) -> Structure:
    """WAV, RF64 and BW64; order: of bytes, `<` or, in RIFX, `>`."""
    long_data, description = None, b""
    chunks = _chunks(file, 12, size, f"{order}4sI")
    for name, at, length in chunks:
        if name == b"fmt ":
            description = file.read(min(length, 1 << 16))
        elif name == b"ds64":
            long_data = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        elif name == b"data":
            promised = long_data if long_data is not None and length == 0xFFFFFFFF else length
            if 0 < promised <= size - at or (promised == 0 and _are_chunks(file, at, size, f"{order}4sI")):
                end = at + promised + promised % 2
                _check_alone(path, (name for name, _, _ in _chunks(file, end, size, f"{order}4sI")))
                uncounted = size - end > _FEW_BYTES and not _are_chunks(file, end, size, f"{order}4sI")
                return Structure(any_codec=True, note=UNCOUNTED if uncounted else "")
            _check_length(path, promised, size - at)
            return Structure((_wav_part(description, at, size, order),), note=COUNTED)
    return Structure()


def _wav_part(description: bytes, at: int, size: int, order: str) -> Part:
    """All from `at` on as the data of a WAV file with this content of the chunk `fmt `."""
    held = size - at
    body = struct.pack(f"{order}4sI", b"fmt ", len(description)) + description + b"\0" * (len(description) % 2)
    fits = held + len(body) + 64 < 1 << 32
    if not fits:
        body = struct.pack("<4sIQQQI", b"ds64", 28, held + len(body) + 48, held, 0, 0) + body
    whole = len(body) + 12 + held if fits else 0xFFFFFFFF
    kind = {"<": b"RIFF", ">": b"RIFX"}[order] if fits else b"RF64"
    head = struct.pack(f"{order}4sI4s", kind, whole, b"WAVE") + body + struct.pack(
        f"{order}4sI", b"data", held if fits else 0xFFFFFFFF)
    return Part(head, at, size)


def _chunks(
    file: io.BufferedReader, at: int, size: int, format: str, even: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """Name, position of the content and length of each chunk, up to what is none; the file is at the content.

    format: of name and length, for struct; the next chunk begins at a multiple of `even` bytes.
    """
    width = struct.calcsize(format)
    while at + width <= size:
        file.seek(at)
        name, length = struct.unpack(format, file.read(width))
        if not all(32 <= letter < 127 for letter in name):
            return
        yield name, at + width, length
        if length < 0:
            return
        at += width + length
        at += -at % even


def _are_chunks(file: io.BufferedReader, at: int, size: int, format: str) -> bool:
    """Whether chunks follow up to the end of the file, and not samples; nothing at all counts as chunks too."""
    end = at
    for _, content, length in _chunks(file, at, size, format):
        end = content + length
    return abs(end - size) <= 1


def aiff(path: Path, file: io.BufferedReader, size: int) -> Structure:
    """AIFF and AIFC: big-endian chunks as WAV's; the sound's begins with 8 bytes of offset and block size."""
    for name, at, length in _chunks(file, 12, size, ">4sI"):
        if name != b"SSND":
            continue
        promised, held = max(0, length - 8), size - at - 8
        if 0 < promised <= held or (promised == 0 and _are_chunks(file, at + length, size, ">4sI")):
            following = at + length + length % 2
            _check_alone(path, (name for name, _, _ in _chunks(file, following, size, ">4sI")))
            return Structure(any_codec=True)
        _check_length(path, promised, held)
        file.seek(0)
        head = file.read(at)
        head = head[:4] + struct.pack(">I", size - 8) + head[8:-4] + struct.pack(">I", size - at)
        return Structure((Part(head, at, size),), note=COUNTED)
    return Structure(any_codec=True)


def caf(path: Path, file: io.BufferedReader, size: int) -> Structure:
    """CAF: a length of -1 is its own way to say that the audio goes on to the end."""
    chunks = _chunks(file, 8, size, ">4sq", 1)
    for name, at, length in chunks:
        if name != b"data":
            continue
        if length < 0:
            break
        _check_length(path, length, size - at)
        if length > size - at:
            file.seek(0)
            return Structure((Part(file.read(at - 8) + struct.pack(">q", size - at), at, size),), note=COUNTED)
        _check_alone(path, (name for name, _, _ in chunks))
    return Structure(any_codec=True)


def _au_length(file: io.BufferedReader, size: int) -> tuple[int, int]:
    order = ">" if file.read(4) == b".snd" else "<"
    offset, length = struct.unpack(f"{order}II", file.read(8).ljust(8, b"\0"))
    return length, size - offset


def _nist_length(file: io.BufferedReader, size: int) -> tuple[int, int]:
    lines = [line.split(maxsplit=2) for line in file.read(1024).decode("latin-1").splitlines()]
    fields = {line[0]: line[2] for line in lines if len(line) == 3}
    values = [fields.get(name, "1") for name in ("sample_count", "channel_count", "sample_n_bytes")]
    if fields.get("sample_coding", "pcm").strip() != "pcm" or not all(value.isdecimal() for value in values):
        return 0, 0
    return int(values[0]) * int(values[1]) * int(values[2]), size - 1024


def _voc_length(file: io.BufferedReader, size: int) -> tuple[int, int]:
    """VOC: blocks of a type and a length of 24 bits, up to one of type 0."""
    file.seek(20)
    start = at = int.from_bytes(file.read(2), "little")
    while at + 4 <= size:
        file.seek(at)
        kind, *length = file.read(4)
        if kind == 0:
            break
        at += 4 + int.from_bytes(length, "little")
    return max(0, at - start), size - start


def _w64_length(file: io.BufferedReader, size: int) -> tuple[int, int]:
    """W64: names and lengths as wide as 16 and 8 bytes; a length counts the 24 bytes before the content too."""
    at = 40
    while at + 24 <= size:
        file.seek(at)
        name, length = struct.unpack("<4s12xQ", file.read(24))
        if name == b"data":
            return max(0, length - 24), size - at - 24
        at += max(24, length + -length % 8)
    return 0, 0


_LENGTHS = {  # bytes that are promised and held
    b"riff\x2e\x91": _w64_length, b".snd": _au_length, b"dns.": _au_length,
    b"NIST_1A": _nist_length, b"Creative Voi": _voc_length,
}


def of_stated_length(path: Path, file: io.BufferedReader, size: int, head: bytes) -> Structure:
    """The structure of a file whose header, which begins with `head`, states a length; empty for any other."""
    for magic, find_length in _LENGTHS.items():
        if head.startswith(magic):
            promised, held = find_length(file, size)
            _check_length(path, promised, held)
            file.seek(size - max(0, held - promised) if promised else size)
            following = file.read(16).lstrip(b"\0")
            _check_alone(path, [following[:4]] if following.startswith(magic) else [])
            if magic == b".snd" and promised == 0 < held:
                return Structure((Part(head[:8] + b"\xff" * 4, 12, size),), note=COUNTED)
            return Structure(any_codec=True)
    return Structure()


def _check_length(path: Path, promised: int, held: int) -> None:
    if promised > held and not _is_placeholder(promised):
        raise AudioError(TRUNCATED, f"{path}: the header promises {promised} bytes of audio, {held} are there")


def _check_alone(path: Path, names: Iterable[bytes]) -> None:
    """Raises AudioError if what follows the audio, chunk by chunk, includes the beginning of another file."""
    if any(name in _BEGINNINGS for name in names):
        raise AudioError(SEVERAL_STREAMS, f"{path}: another recording is joined to it; split them")


def _is_placeholder(length: int) -> bool:
    """Whether a length stands for one that the writer did not know, because it could not go back to fill it in.

    0, 2 000 000 000, and what is within 64 KB of half or all of the range of 32 or 64 bits. A recording that was cut
    short and promised exactly that length would be taken for complete.
    """
    limits = [1 << bits for bits in (31, 32, 63, 64)]
    return length == 0 or abs(length - 2_000_000_000) < 1024 or any(abs(limit - length) <= _NEAR for limit in limits)
