"""Where the audio of a file begins and ends, by the file's own structure; used by `koe.audio.files`.

libsndfile believes the header: it guesses the length of an MP3 that has none, fails at a FLAC of unknown length, reads
only the first of joined streams, and calls a file that was cut short a shorter one. What it needs to know is found out
from chunk, page and frame headers (`koe.audio.chunks`, `flac`, `ogg`, `mpeg`), without decoding: a second for an hour
of MP3.
"""

import io
from pathlib import Path

from koe.audio.chunks import aiff, caf, of_stated_length, wav
from koe.audio.flac import flac
from koe.audio.mpeg import mpeg
from koe.audio.ogg import ogg
from koe.audio.parts import Structure


def structure_of(path: Path) -> Structure:
    """Examines a file that libsndfile reads. One of an unknown structure is left to libsndfile.

    Raises AudioError: truncated, where the structure shows it; damaged; several streams, where they cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            return wav(path, file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"fLaC":
            return flac(path, file, size)
        if head[:4] == b"OggS":
            return ogg(path, file.read())
        if head[:3] == b"ID3" or head[:1] == b"\xff":
            return mpeg(path, file.read())
        if head[:4] == b"FORM":
            return aiff(path, file, size)
        if head[:4] == b"caff":
            return caf(path, file, size)
        return of_stated_length(path, file, size, head)
