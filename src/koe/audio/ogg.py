"""Structure of OGG files (RFC 3533): pages with a checksum; streams that follow each other are links of a chain."""

import io
import struct
import zlib
from pathlib import Path

from koe.audio.checks import DAMAGED, TRUNCATED
from koe.audio.parts import JOINED, NO_LAST_PAGE, Part, Structure
from koe.errors import AudioError

_BEGINS, _ENDS = 2, 4  # header types of a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg(path: Path, file: io.BufferedReader, size: int) -> Structure:
    """The links of a chain. Raises AudioError: a damaged or missing page, an end inside a page or packet."""
    content = file.read(size)
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
