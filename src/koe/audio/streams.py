"""Where the audio of a file begins and ends, by the file's own structure; used by `koe.audio.files`.

libsndfile believes the header: it guesses the length of an MP3 that has none, fails at a FLAC of unknown length, reads
only the first of joined streams, and calls a file that was cut short a shorter one. What it needs to know is found out
from chunk, page and frame headers (`koe.audio.chunks`, `flac`, `ogg`, `mpeg`), without decoding: a second for an hour
of MP3.
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from koe.audio.chunks import aiff, caf, of_stated_length, wav
from koe.audio.flac import flac
from koe.audio.mpeg import mpeg
from koe.audio.ogg import ogg
from koe.audio.parts import Part, Structure
from koe.audio.signatures import id3_length


def structure_of(path: Path) -> Structure:
    """Examines a file that libsndfile reads. One of an unknown structure is left to libsndfile.

    Raises AudioError: truncated, where the structure shows it; damaged; several streams, where they cannot be read.
    """
    with path.open("rb") as file:
        size, start = file.seek(0, io.SEEK_END), _tags_length(file)
        file.seek(start)
        head = file.read(12)
        finder = _finder_of(head)
        file.seek(0)
        if finder and not start:
            return finder(path, file, size)
        if not finder:
            return mpeg(path, file.read()) if start or head[:1] == b"\xff" else of_stated_length(path, file, size, head)
    rest: io.BufferedReader = io.BufferedReader(Part(b"", start, size).open(path))  # behind a tag of MP3
    with rest:
        return finder(path, rest, size - start).behind(start, size)


def _tags_length(file: io.BufferedReader) -> int:
    """Bytes of the ID3 tags that a file begins with."""
    at = 0
    file.seek(0)
    while length := id3_length(file.read(10)):
        at += length
        file.seek(at)
    return at


def _finder_of(head: bytes) -> Callable[[Path, io.BufferedReader, int], Structure] | None:
    """What finds the structure of a file, of its size in bytes, that begins so; None: it has no name of a format."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return partial(wav, order="<")
    if head[:4] == b"RIFX" and head[8:] == b"WAVE":
        return partial(wav, order=">")
    return {b"fLaC": flac, b"OggS": ogg, b"FORM": aiff, b"caff": caf}.get(head[:4])
