"""Structure of FLAC files (RFC 9639): a length in samples in STREAMINFO, which a writer into a pipe leaves 0."""

import io
from pathlib import Path

from koe.audio.checks import TRUNCATED
from koe.audio.parts import COUNTED, Part, Structure
from koe.errors import AudioError


def flac(path: Path, file: io.BufferedReader, size: int) -> Structure:
    """Where STREAMINFO states no length, it is counted by the last frame; one that is not whole is an AudioError."""
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
