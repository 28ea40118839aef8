"""Where the audio of a file begins and ends, by the file's own structure; used by `koe.audio.files`.

libsndfile believes the header: it guesses the length of an MP3 that has none, fails at a FLAC of unknown length, reads
only the first of joined streams, and calls a file that was cut short a shorter one. What it needs to know is found out
here, from chunk, page and frame headers, without decoding: a second for an hour of MP3.

A `Part` is what libsndfile is given instead of the file where its header will not do: a mended header, and a range of
the file behind it.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from koe.audio.checks import DAMAGED, SEVERAL_STREAMS, TRUNCATED
from koe.audio.signatures import mpeg_frame
from koe.errors import AudioError

COUNTED = "its header does not state its length, so it was read to its end"  # notes
JOINED = "several streams are joined in it, and all were read"
NO_LAST_PAGE = "no page is marked as its last, so nothing shows that it is complete"
CUT = "it ends inside a frame"
UNCOUNTED = "bytes follow its audio that its header does not count, and were left out"
CHANGED = "its checksum does not fit: bytes were damaged or changed after encoding"

_BEGINNINGS = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd", b"dns.", b"NIST", b"Crea"}
_FEW_BYTES = 64  # padding, or less than a millisecond
_NEAR = 1 << 16  # bytes: placeholders are a power of two, some less a header or rounded to a block


@dataclass(frozen=True)
class Part:
    """A stream in a file: `head` followed by the file's bytes from `start` to `stop`."""

    head: bytes
    start: int
    stop: int
    samples: int | None = None  # the last of it, if the decoder puts silence before; None: all

    def open(self, path: Path) -> "_PartFile":
        return _PartFile(path, self)


@dataclass(frozen=True)
class Structure:
    """What the structure of a file says about its streams."""

    parts: tuple[Part, ...] = ()  # empty: the file as it is
    any_codec: bool = False  # whether the container may hold what libsndfile cannot decode
    for_ffmpeg: bool = False  # whether libsndfile would guess the length, and there is no header to mend
    note: str = ""  # what the user should know about a file that is read all the same


class _PartFile(io.RawIOBase):
    """A part as a file that libsndfile reads through Python."""

    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb")
        self._part = part
        self._at = 0
        self._size = len(part.head) + part.stop - part.start

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        head = self._part.head
        wanted = max(0, min(len(buffer), self._size - self._at))
        if self._at < len(head):
            content = head[self._at:self._at + wanted]
        else:
            self._file.seek(self._part.start + self._at - len(head))
            content = self._file.read(wanted)
        buffer[:len(content)] = content
        self._at += len(content)
        return len(content)

    def read(self, size: int = -1) -> bytes:
        parts = []
        left = self._size - self._at if size < 0 else size
        while left > 0:
            buffer = bytearray(left)
            count = self.readinto(memoryview(buffer))
            if not count:
                break
            parts.append(bytes(buffer[:count]))
            left -= count
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def structure_of(path: Path) -> Structure:
    """Examines a file that libsndfile reads. One of an unknown structure is left to libsndfile.

    Raises AudioError: truncated, where the structure shows it; damaged; several streams, where they cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            return _wav(path, file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"fLaC":
            return _flac(path, file, size)
        if head[:4] == b"OggS":
            return _ogg(path, file.read())
        if head[:3] == b"ID3" or head[:1] == b"\xff":
            return _mpeg(path, file.read())
        if head[:4] == b"FORM":
            return _aiff(path, file, size)
        if head[:4] == b"caff":
            return _caf(path, file, size)
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


# WAV: chunks of an identifier and a length of 32 bits; RF64 and BW64 have longer lengths in a chunk of their own


def _wav(path: Path, file: io.BufferedReader, size: int, order: str) -> Structure:
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


def _aiff(path: Path, file: io.BufferedReader, size: int) -> Structure:
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


def _caf(path: Path, file: io.BufferedReader, size: int) -> Structure:
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


# FLAC (RFC 9639): a length in samples in STREAMINFO, which a writer into a pipe leaves 0


def _flac(path: Path, file: io.BufferedReader, size: int) -> Structure:
    head = file.read(42)
    if len(head) < 42 or int.from_bytes(head[18:26], "big") & (1 << 36) - 1:
        return Structure()
    file.seek(max(42, size - (1 << 20)))  # a frame is far shorter
    samples = _flac_end(file.read(), int.from_bytes(head[8:10], "big"))
    if samples is None:
        raise AudioError(TRUNCATED, f"{path}: its last frame is not whole, or it has none")
    fields = int.from_bytes(head[18:26], "big") | samples
    part = Part(head[:18] + fields.to_bytes(8, "big") + head[26:], 42, size)
    return Structure((part,), note=COUNTED)


def _flac_end(tail: bytes, block: int) -> int | None:
    """Samples up to the end of the last frame, which ends at the end of `tail`; None if there is none.

    block: the number of samples in frames of a fixed size.
    """
    if tail[-128:-125] == b"TAG":
        tail = tail[:-128]
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1:at + 2] not in (b"\xf8", b"\xf9"):
            continue
        number, length, samples = _flac_frame(tail[at:at + 20])
        if length and not _crc(tail[at:], 0x8005, 16):
            return samples + (number if tail[at + 1] == 0xF9 else number * block)
    return None


def _flac_frame(head: bytes) -> tuple[int, int, int]:
    """Number, length of the header and samples of the FLAC frame that begins here; zeros if none does."""
    if len(head) < 7:
        return 0, 0, 0
    code, rate = head[2] >> 4, head[2] & 15
    first = head[4]
    more = 0
    while first & (0x80 >> more):
        more += 1
    extra = max(0, more - 1)  # bytes of the number after its first, as in UTF-8
    number = first & (0x7F >> more)
    for byte in head[5:5 + extra]:
        number = number << 6 | byte & 0x3F
    at = 5 + extra
    samples = {1: 192}.get(code) or (576 << code - 2 if code in range(2, 6) else 256 << code - 8 if code >= 8 else 0)
    if code in (6, 7):
        samples = int.from_bytes(head[at:at + code - 5], "big") + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not samples or len(head) <= at or _crc(head[:at + 1], 0x07, 8):
        return 0, 0, 0
    return number, at + 1, samples


def _crc(content: bytes, polynomial: int, bits: int) -> int:
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc >> bits - 1 else crc << 1) & (1 << bits) - 1
        table.append(crc)
    crc = 0
    for byte in content:
        crc = (crc << 8 ^ table[crc >> bits - 8 ^ byte]) & (1 << bits) - 1
    return crc


# OGG (RFC 3533): pages with a checksum; streams that follow each other are links of a chain

_BEGINS, _ENDS = 2, 4  # header types of a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg(path: Path, content: bytes) -> Structure:
    starts, whole, open_streams, sequence = [0], True, set[int](), dict[int, int]()
    at, in_head = 0, True
    while content[at:at + 4] == b"OggS":
        length = _page_length(content, at)
        if at + length > len(content):
            raise AudioError(TRUNCATED, f"{path}: it ends inside a page")
        kind, serial, number = content[at + 5], *struct.unpack_from("<II", content, at + 14)
        if kind & _BEGINS and not in_head:
            starts.append(at)
            whole, open_streams, sequence = whole and not open_streams, set(), {}
        in_head = bool(kind & _BEGINS)
        if _page_checksum(content[at:at + length]) != content[at + 22:at + 26]:
            raise AudioError(DAMAGED, f"{path}: the checksum of its page at byte {at} is wrong")
        if sequence.get(serial, number - 1) != number - 1:
            raise AudioError(DAMAGED, f"{path}: pages are missing before byte {at}")
        sequence[serial] = number
        (open_streams.discard if kind & _ENDS else open_streams.add)(serial)
        unfinished = content[at + 26] and content[at + 26 + content[at + 26]] == 255
        at += length
    rest = content[at:]
    if b"OggS" in rest:
        raise AudioError(DAMAGED, f"{path}: {rest.index(b'OggS')} bytes at {at} are no page")
    if open_streams and (rest or unfinished):
        raise AudioError(TRUNCATED, f"{path}: it ends inside a {'packet' if unfinished else 'page'}")
    notes = [] if whole and not open_streams else [NO_LAST_PAGE]
    if len(starts) > 1:
        notes.append(JOINED)
        parts = tuple(Part(b"", start, stop) for start, stop in zip(starts, [*starts[1:], at], strict=True))
        return Structure(parts, note="; ".join(notes))
    return Structure(any_codec=True, note="; ".join(notes))


def _page_length(content: bytes, at: int) -> int:
    if len(content) < at + 27:
        return 27
    segments = content[at + 26]
    return 27 + segments + sum(content[at + 27:at + 27 + segments])


def _page_checksum(page: bytes) -> bytes:
    """CRC-32 with OGG's order of bits, which is zlib's in reverse."""
    zeroed = page[:22] + b"\0\0\0\0" + page[26:]
    reverse = zlib.crc32(zeroed.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return reverse.to_bytes(4, "big").translate(_REVERSED)


# MPEG audio: frames without an index; the first may tell how many follow (Xing or Info, by LAME with a checksum)

_FEW = 2  # frames more than the header promises, which are the encoder's last, not another stream


@dataclass
class _Frames:
    """Consecutive frames of MPEG audio that one encoder made."""

    start: int  # of the Xing or Info frame, if there is one
    kind: tuple[int, int, bool]  # what does not change within a stream: version and layer, sample rate, mono
    samples: int  # of a frame
    promised: int = 0  # frames that the Xing or Info frame counts; 0: there is none, or it does not count them
    checksum: int | None = None  # of all bytes behind the Info frame, by LAME
    count: int = 0
    first: int = 0  # position of the first frame with audio
    stop: int = 0

    def part(self, content: bytes) -> Part:
        if self.promised:
            return Part(b"", self.start, self.stop)
        head = _xing_head(content[self.first:self.first + 4], self.count)
        return Part(head, self.first, self.stop, self.count * self.samples)


def _mpeg(path: Path, content: bytes) -> Structure:
    at = _tags_end(content, 0)
    at = _next_frame(content, at, None)
    if at < 0:
        return Structure()
    if mpeg_frame(content, at)[3] != 3:  # layers I and II have no Xing frames
        return Structure(for_ffmpeg=True)
    streams: list[_Frames] = []
    while True:
        at = _walk(content, at, streams)
        behind = _tags_end(content, at)
        following = _next_frame(content, behind, None)
        if following < 0:
            break
        if behind == at and following > at and _promised_frames(content, following) is None:
            raise AudioError(DAMAGED, f"{path}: {following - at} bytes at {at} are no frame")
        at = following
    streams = [stream for stream in streams if stream.count > _FEW or stream.promised or len(streams) == 1]
    for stream in streams:
        if stream.count < stream.promised:
            raise AudioError(TRUNCATED, f"{path}: the header promises {stream.promised} frames, {stream.count} are "
                                        "there")
    cut = mpeg_frame(content, at)[0] > 0
    if len(streams) == 1 and streams[0].promised:
        return Structure(note=_mpeg_notes(content, streams, cut=False))
    parts = tuple(stream.part(content) for stream in streams)
    return Structure(parts, note=_mpeg_notes(content, streams, cut))


def _mpeg_notes(content: bytes, streams: list[_Frames], cut: bool) -> str:
    notes = []
    if len(streams) > 1:
        notes.append(JOINED)
    if not all(stream.promised for stream in streams):
        notes.append(COUNTED)
    if cut:
        notes.append(CUT)
    if any(stream.checksum not in (None, _crc_16(content[stream.first:stream.stop])) for stream in streams):
        notes.append(CHANGED)
    return "; ".join(notes)


def _walk(content: bytes, at: int, streams: list[_Frames]) -> int:
    """Adds the frames from `at` to the streams, up to where no whole frame follows; returns that position."""
    known: dict[bytes, tuple[int, int, tuple[int, int, bool]]] = {}
    stream = None
    while True:
        head = content[at:at + 4]
        if head not in known:
            length, samples, _, layer = mpeg_frame(content, at)
            if layer != 3:
                return at
            known[head] = length, samples, (head[1] & 0xFE, head[2] & 0x0C, head[3] >> 6 == 3)
        length, samples, kind = known[head]
        if at + length > len(content):
            return at
        promised = _promised_frames(content, at)
        over = stream is not None and 0 < stream.promised <= stream.count
        if stream is None or promised is not None or kind != stream.kind or (
                over and _tail_is_long(content, at, length)):
            stream = _Frames(at, kind, samples, promised or 0, first=at, stop=at)
            streams.append(stream)
        if promised is not None:
            stream.first = at + length
            stream.checksum = _lame_checksum(content[at:at + length])
        elif not stream.promised or stream.count < stream.promised:
            stream.count += 1
        stream.stop = at = at + length


def _tail_is_long(content: bytes, at: int, length: int) -> bool:
    """Whether more than a few frames follow."""
    for _ in range(_FEW):
        at += length
        length = mpeg_frame(content, at)[0]
        if not length:
            return False
    return True


def _side_length(head: bytes) -> int:
    """Bytes of side information behind a frame's header of layer III."""
    mono = head[3] >> 6 == 3
    if head[1] >> 3 & 3 == 3:
        return 17 if mono else 32
    return 9 if mono else 17


def _promised_frames(content: bytes, at: int) -> int | None:
    """The number of frames that a Xing, Info or VBRI frame at `at` states, 0 if none; None for any other frame."""
    place = at + 4 + _side_length(content[at:at + 4])
    if content[place:place + 4] in (b"Xing", b"Info"):
        flags, frames = struct.unpack(">II", content[place + 4:place + 12].ljust(8, b"\0"))
        return frames if flags & 1 else 0
    return 0 if content[at + 36:at + 40] == b"VBRI" else None


def _lame_checksum(frame: bytes) -> int | None:
    """The checksum of the audio in an Info frame by LAME or after its model; None if there is none to rely on."""
    place = 4 + _side_length(frame)
    flags = int.from_bytes(frame[place + 4:place + 8], "big")
    tag = place + 8 + sum(length for bit, length in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    music, own = (int.from_bytes(frame[tag + offset:tag + offset + 2], "big") for offset in (32, 34))
    return music if len(frame) >= tag + 36 and music and _crc_16(frame[:tag + 34]) == own else None


def _xing_head(head: bytes, frames: int) -> bytes:
    """A Xing frame that counts `frames` and one silent frame, which follows it here.

    Decoders leave out the first 529 samples or so of a file with a Xing frame; the silent frame is there for that.
    """
    first = bytearray(head)
    first[1] |= 1  # no checksum
    place = 4 + _side_length(head)
    for step in range(1, 15):
        first[2] = step << 4 | head[2] & 0x0C
        length = mpeg_frame(bytes(first), 0)[0]
        if length >= place + 12:
            break
    silent = bytes(first).ljust(length, b"\0")
    return silent[:place] + b"Xing" + struct.pack(">II", 1, frames + 1) + silent[place + 12:] + silent


def _next_frame(content: bytes, at: int, end: int | None) -> int:
    """Position of the next frame that another one follows, or that is the file's last; -1 if there is none."""
    while (at := content.find(b"\xff", at, end)) >= 0:
        length, _, rate, layer = mpeg_frame(content, at)
        if length and (at + length == len(content) or mpeg_frame(content, at + length)[2:] == (rate, layer)):
            return at
        at += 1
    return -1


def _tags_end(content: bytes, at: int) -> int:
    """The position behind the tags (ID3, APE, Lyrics3) that begin at `at`."""
    while True:
        start = at
        if content[at:at + 3] == b"ID3" and len(content) >= at + 10:
            size = 0
            for byte in content[at + 6:at + 10]:
                size = size << 7 | byte & 0x7F
            at += 10 + size + (10 if content[at + 5] & 0x10 else 0)
        elif content[at:at + 8] == b"APETAGEX" and len(content) >= at + 32:
            size = int.from_bytes(content[at + 12:at + 16], "little")
            at += size + 32 if content[at + 23] & 0x20 else 32
        elif content[at:at + 11] == b"LYRICSBEGIN" and (end := content.find(b"LYRICS200", at)) > 0:
            at = end + 9
        elif content[at:at + 3] == b"TAG":
            at += 128
        if at == start:
            return at


def _crc_16(content: bytes) -> int:
    """CRC-16 with the polynomial 0x8005, lowest bit first, as in LAME's tag.

    The bytes are cut into stretches whose checksums are computed side by side, two bytes at a time: a few nanoseconds
    a byte. Joining two stretches takes the state of the first through zeros of the second's length.
    """
    power = max(0, (len(content).bit_length() - 1) // 2)
    width = 1 << power  # words of two bytes in a stretch
    rows = max(1, -(-len(content) // (2 * width)))
    padded = content.rjust(2 * rows * width, b"\0")  # zeros before the first byte change nothing
    states = np.zeros(rows, np.uint16)
    for column in np.ascontiguousarray(np.frombuffer(padded, "<u2").reshape(rows, width).T):
        states = _after_words(0)[states ^ column]
    through_zeros, crc = _after_words(power), 0
    for state in states.tolist():
        crc = int(through_zeros[crc]) ^ state
    return crc


@lru_cache
def _after_words(power: int) -> np.ndarray:
    """The state of CRC-16 after 2 ** power words of two bytes, the last of them zeros: uint16, (65536,).

    For each exclusive or of the state before and the first word.
    """
    if power:
        half = _after_words(power - 1)
        return half[half]
    states: np.ndarray = np.arange(1 << 16, dtype=np.uint16)
    for _ in range(16):
        states = states >> 1 ^ np.where(states & 1, 0xA001, 0).astype(np.uint16)
    return states
