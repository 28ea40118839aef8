"""Audio that libsndfile cannot read (M4A, MP4, MOV, MKV, AAC, WMA, AMR, WavPack, …), read by FFmpeg through PyAV.

Used by `koe.audio.files`. Positions are samples from the beginning of the audio stream, by the packets' time stamps.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from koe.audio.checks import SEVERAL_STREAMS, UNREADABLE, ZERO_SAMPLES
from koe.errors import AudioError

_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "MP4", "matroska,webm": "WEBM", "aac": "AAC", "asf": "WMA"}  # FFmpeg's names
_PREROLL = 0.5  # s decoded before the requested start: a codec needs the preceding frames to decode one correctly
_NO_INDEX = {"aac", "mp3", "ac3", "eac3", "amr", "dts"}  # bare streams: their length is a guess, seeking inexact


def header(path: Path) -> dict[str, Any]:
    """The fields of `koe.audio.files.AudioInfo`; the length is exact to within one frame of the codec.

    Raises AudioError: unreadable (damaged, no audio stream), several streams, zero samples.
    """
    _check_alone(path)
    with _opened(path) as container:
        stream = container.streams.audio[0]
        name, codec = container.format.name, stream.codec_context
        if codec is None:
            raise AudioError(UNREADABLE, f"{path}: FFmpeg has no decoder for the audio in it")
        samples = round(_seconds(container, stream) * stream.rate)
        if samples <= 0:
            raise AudioError(ZERO_SAMPLES, f"{path}: holds no samples")
        return {"samples": samples, "sample_rate": stream.rate, "channels": stream.channels,
                "format": f"{_NAMES.get(name, name.upper())}/{codec.name.upper()}", "lossy": codec.codec.lossy}


def decode(path: Path, start: int, stop: int, size: int) -> Iterator[np.ndarray]:
    """Samples `start` to `stop` of all channels in blocks of `size`, float32, (samples, channels).

    Fewer if the file ends earlier. Raises AudioError: unreadable (damaged).
    """
    with _opened(path) as container:
        stream = container.streams.audio[0]
        from_second = start / stream.rate - _PREROLL
        if from_second > 0 and container.format.name not in _NO_INDEX:
            container.seek(_origin(stream) + int(from_second / stream.time_base), stream=stream)
        parts: list[np.ndarray] = []
        count = 0
        for first, frames in _frames(container, stream, stop):
            parts.append(frames[max(0, start - first):max(0, stop - first)])
            count += len(parts[-1])
            while count >= size:
                whole = np.concatenate(parts)
                yield whole[:size]
                parts, count = [whole[size:]], count - size
        if count:
            yield np.concatenate(parts)


def _frames(container: Any, stream: Any, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """First sample and content (samples, channels) of each decoded frame, up to sample `stop`.

    Only the first frame's time stamp is used: WebM rounds them to milliseconds, and frames follow without a gap.
    """
    to_float = av.AudioResampler(format="fltp")
    position = None
    for decoded in container.decode(stream):
        if position is None:
            position = round(((decoded.pts or 0) - _origin(stream)) * decoded.time_base * stream.rate)
        if position >= stop:
            return
        for frame in to_float.resample(decoded):
            content = frame.to_ndarray().T
            yield position, content
            position += len(content)


def _origin(stream: Any) -> int:
    return stream.start_time or 0


def _seconds(container: Any, stream: Any) -> float:
    """The stream's length, s, by the header, or by its packets where the header lacks it, as in a live recording."""
    if container.format.name not in _NO_INDEX:
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None:
            return container.duration / av.time_base
    packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    if not packets:
        return 0.0
    return float((packets[-1].pts + (packets[-1].duration or 0) - packets[0].pts) * stream.time_base)


def _check_alone(path: Path) -> None:
    """Raises AudioError for MP4 files that were joined by their bytes: of a second index FFmpeg says nothing."""
    size, at, indices = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if at == 0 and kind not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return
            indices += kind == b"moov"
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            at = at + length if length >= 8 else size
    if indices > 1:
        raise AudioError(SEVERAL_STREAMS, f"{path}: several recordings are joined in it; split them")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A container with an audio stream; errors of FFmpeg are raised as AudioError."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(UNREADABLE, f"{path}: there is no audio in it")
            yield container
    except (av.FFmpegError, UnicodeEncodeError) as error:
        raise AudioError(UNREADABLE, f"{path}: not audio that FFmpeg reads, or damaged ({error})") from error
