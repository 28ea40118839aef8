"""Structure of MPEG audio (MP3): frames without an index; the first may tell how many follow.

That is a Xing or Info frame, by LAME with a checksum.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from koe.audio.checks import DAMAGED, TRUNCATED
from koe.audio.parts import CHANGED, COUNTED, CUT, JOINED, Part, Structure
from koe.audio.signatures import id3_length, mpeg_frame
from koe.errors import AudioError

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


def mpeg(path: Path, content: bytes) -> Structure:
    """The streams, counted by frames. Raises AudioError: bytes that are no frame, fewer frames than promised."""
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
        at += id3_length(content, at)
        if content[at:at + 8] == b"APETAGEX" and len(content) >= at + 32:
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
