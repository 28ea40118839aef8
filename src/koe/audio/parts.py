"""The streams in a file as libsndfile is to read them, and what the file's structure says about them.

A `Part` is what libsndfile is given instead of the file where its header will not do: a mended header, and a range of
the file behind it.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

COUNTED = "its header does not state its length, so it was read to its end"  # notes
JOINED = "several streams are joined in it, and all were read"
NO_LAST_PAGE = "no page is marked as its last, so nothing shows that it is complete"
CUT = "it ends inside a frame"
UNCOUNTED = "bytes follow its audio that its header does not count, and were left out"
CHANGED = "its checksum does not fit: bytes were damaged or changed after encoding"


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

    def behind(self, start: int, size: int) -> "Structure":
        """The same of a file of `size` bytes, whose bytes from `start` on have this structure."""
        parts = self.parts or (Part(b"", 0, size - start),)
        return replace(self, parts=tuple(replace(part, start=part.start + start, stop=part.stop + start)
                                         for part in parts))


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
