"""The one audio reader and writer, and the one resampler.

Every file is read as float32 in [-1, 1] (lesson 18), and nothing is clipped or rescaled without being counted
(lesson 15). The rule for samples beyond full scale: in a float file they contradict the convention, and the file is
refused as out_of_range; in MP3 and OGG the decoder overshoots where the original reached full scale, and those samples
are limited to full scale, where `koe.audio.checks.clipped_share` counts them.

libsndfile reads WAV, FLAC, OGG, MP3, AIFF and a few more; `koe.audio.streams` finds out first how long they are and
whether they are whole. The suffix decides which files `koe.audio.containers` reads, so that a damaged file is refused
by the library that knows its format and not repaired by the other; only a codec that libsndfile lacks, such as AAC in
CAF, is left to FFmpeg.
"""

import contextlib
import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from koe.audio.checks import (
    DAMAGED,
    IMPLAUSIBLE_RATE,
    NOT_FINITE,
    OUT_OF_RANGE,
    SEVERAL_STREAMS,
    TRUNCATED,
    UNREADABLE,
    ZERO_SAMPLES,
    naming,
)
from koe.audio.downmix import downmix_of
from koe.audio.parts import Part, Structure
from koe.audio.samples import to_int16
from koe.audio.signatures import is_audio as is_audio
from koe.audio.streams import structure_of
from koe.errors import AudioError, KoeError
from koe.files import replacing

CONTAINERS = frozenset({
    ".m4a", ".mp4", ".m4b", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".mka", ".webm", ".aac", ".ac3", ".eac3",
    ".wma", ".wmv", ".asf", ".amr", ".awb", ".wv", ".ape", ".mp2", ".spx", ".ts", ".mts", ".mpg", ".mpeg", ".g722"})
SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc",
    ".caf", ".au", ".snd", ".sph", ".nist", ".voc"}) | CONTAINERS
WRITTEN = frozenset({".wav", ".flac"})
_LOSSY = {"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
_RATES = range(4000, 768001)  # Hz: from half a telephone's to twice the highest of any converter
_ROUNDING = 1e-6  # above 1: the rounding of float files that were scaled to exactly full scale
_CODEC_DELAY = 0.25  # s of the codec's padding that a container's header may count and its decoder leave out
_LONG_WAV = 2 ** 31  # bytes


@dataclass(frozen=True)
class AudioInfo:
    """Contents of an audio file's header."""

    samples: int  # of each channel
    sample_rate: int  # Hz
    channels: int
    format: str  # container and codec, e.g. WAV/PCM_16
    lossy: bool  # whether the codec is
    note: str = ""  # what the user should know of a file that is read all the same

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """What an audio file holds, without decoding it: by its header, or by its frames where the header does not say.

    Raises AudioError: unreadable (missing, not audio, or of no format in SUFFIXES), truncated, damaged, several
    streams (of different kinds), an implausible sample rate, zero samples.
    """
    return _open(Path(path))[0]


def _open(path: Path) -> tuple[AudioInfo, tuple[Part, ...] | None]:
    with naming(path):
        try:
            status = path.stat()
        except OSError as error:
            raise AudioError(UNREADABLE, f"{path}: no such file") from error
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(UNREADABLE, f"{path}: no such file; it is a folder or a device")
        return _examined(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)  # a long recording is read in many parts
def _examined(path: Path, size: int, changed: int) -> tuple[AudioInfo, tuple[Part, ...] | None]:
    """The file's contents, and what libsndfile is to read in its place; None: FFmpeg reads it."""
    if size == 0:
        raise AudioError(UNREADABLE, f"{path}: an empty file")
    structure = None if path.suffix.lower() in CONTAINERS else structure_of(path)
    if structure is None or structure.for_ffmpeg:
        info, parts = _container_info(path), None
    else:
        info, parts = _by_libsndfile(path, structure)
    if info.sample_rate not in _RATES:
        raise AudioError(IMPLAUSIBLE_RATE, f"{path}: its header says {info.sample_rate} Hz; expected {_RATES[0]} to "
                                           f"{_RATES[-1]}")
    if info.samples <= 0:
        raise AudioError(ZERO_SAMPLES, f"{path}: holds no samples")
    return info, parts


def _by_libsndfile(path: Path, structure: Structure) -> tuple[AudioInfo, tuple[Part, ...] | None]:
    """A file's contents and parts; no parts where libsndfile knows the container and not the codec, and FFmpeg does."""
    try:
        infos = [_part_info(path, part) for part in structure.parts or (None,)]
        return _common(path, infos, structure.note), structure.parts
    except soundfile.LibsndfileError as error:
        if structure.any_codec:
            with contextlib.suppress(AudioError):
                return _container_info(path), None
        if structure.parts:
            raise AudioError(UNREADABLE, f"{path}: its header does not fit its content, and its codec cannot be read "
                                         f"without one ({error.error_string})") from error
        raise AudioError(UNREADABLE, f"{path}: not audio as its suffix says, or damaged ({error})") from error


def _container_info(path: Path) -> AudioInfo:
    from koe.audio import containers  # FFmpeg takes longer to load than most files take to read

    return AudioInfo(**containers.header(path))


def _part_info(path: Path, part: Part | None) -> AudioInfo:
    with _SoundFile(path, part) as file:
        samples = file.frames if part is None or part.samples is None else part.samples
        return AudioInfo(samples, file.samplerate, file.channels, f"{file.format}/{file.subtype}",
                         file.subtype in _LOSSY)


def _common(path: Path, infos: list[AudioInfo], note: str) -> AudioInfo:
    """The sum of a file's parts. Raises AudioError if they cannot be one recording."""
    first = infos[0]
    if any((info.sample_rate, info.channels) != (first.sample_rate, first.channels) for info in infos):
        kinds = ", ".join(f"{info.sample_rate} Hz with {info.channels} channels" for info in infos[:4])
        raise AudioError(SEVERAL_STREAMS, f"{path}: {len(infos)} streams of different kinds are joined in it "
                                          f"({kinds}); split them")
    return replace(first, samples=sum(info.samples for info in infos), note=note)


class _SoundFile(soundfile.SoundFile):
    """A file that is read onwards: soundfile seeks after each read, and MP3 decodes slightly differently after that."""

    def __init__(self, path: Path, part: Part | None) -> None:
        self._source = part.open(path) if part else None
        super().__init__(self._source or str(path))

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        super().close()
        if self._source:
            self._source.close()


def read_channels(
    path: str | Path, start: float | None = None, end: float | None = None
) -> tuple[np.ndarray, int]:
    """All channels of an audio file: float32 in [-1, 1], shape (samples, channels), and the sample rate.

    `start` and `end`, in seconds, limit the part that is read; the rest is not decoded where the format allows that.
    Raises AudioError as `audio_info` does, and for a part without samples, with NaN or infinity, or, in a float file,
    beyond full scale; for a FLAC file that is read whole, also if its samples are not those of its MD5.
    """
    path = Path(path)
    with naming(path):
        parts = list(_checked(path, start, end, None))
        return parts[0] if len(parts) == 1 else np.concatenate(parts), audio_info(path).sample_rate


def blocks(
    path: str | Path, seconds: float, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """The channels of an audio file in blocks, of at most about `seconds`: float32, (samples, channels).

    Together they are exactly what `read_channels` gives, which also describes the errors; that the file ends early, or
    that its MD5 is wrong, shows only at the end.
    """
    path = Path(path)
    with naming(path):
        yield from _checked(path, start, end, seconds)


def _checked(path: Path, start: float | None, end: float | None, seconds: float | None) -> Iterator[np.ndarray]:
    """Blocks of `seconds` (None: all in one) of a part of a file, limited to full scale."""
    info, parts = _open(path)
    first = round((start or 0.0) * info.sample_rate)
    last = info.samples if end is None else min(info.samples, round(end * info.sample_rate))
    if not 0 <= first < last:
        raise AudioError(ZERO_SAMPLES, f"{path}: no samples from {start} to {end} s; it is {info.seconds:g} s long")
    size = last - first if seconds is None else max(1, round(seconds * info.sample_rate))
    allowance = 0
    if parts is None:
        from koe.audio import containers

        allowance = round(_CODEC_DELAY * info.sample_rate)  # the header may count too few samples as well
        stop = last + allowance + 1 if end is None else last
        decoded = containers.decode(path, first, stop, size + allowance)
    else:
        decoded = _decode(path, info, parts, first, last, size)
    count = 0
    for samples in decoded:
        count += len(samples)
        yield _in_range(path, info, samples)
    if count > last - first + allowance:
        raise AudioError(SEVERAL_STREAMS, f"{path}: the header promises {info.samples} samples, and more are there; if "
                                          "several recordings are joined in it, split them")
    if count < last - first - allowance or not count:
        raise AudioError(TRUNCATED, f"{path}: the header promises {info.samples} samples, {first + count} are there")


def _in_range(path: Path, info: AudioInfo, samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        count = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError(NOT_FINITE, f"{path}: {count} samples are NaN or infinite")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1 + _ROUNDING and not info.lossy:
        count = int(np.count_nonzero(np.abs(samples) > 1))
        raise AudioError(OUT_OF_RANGE, f"{path}: {count} samples lie beyond full scale (peak {peak:g}); "
                                       "scale the recording to [-1, 1], nothing is clipped for you")
    return np.clip(samples, -1.0, 1.0)


def _decode(
    path: Path, info: AudioInfo, parts: tuple[Part, ...], first: int, last: int, size: int
) -> Iterator[np.ndarray]:
    """Samples `first` to `last`, float32, in blocks of at most `size`; fewer if the file ends earlier."""
    is_whole_flac = info.format.startswith("FLAC/") and (first, last) == (0, info.samples)
    check = _Md5(path, parts) if is_whole_flac else None
    for part in parts or (None,):
        with _SoundFile(path, part) as file:
            length = file.frames if part is None or part.samples is None else part.samples
            if 0 <= first < length and last > 0:
                if place := file.frames - length + first:
                    file.seek(place)
                left = min(last, length) - first
                while left > 0:
                    samples = check.read(file, min(size, left)) if check else file.read(
                        min(size, left), dtype="float32", always_2d=True)
                    if not len(samples):
                        return
                    left -= len(samples)
                    yield samples
            first, last = max(0, first - length), last - length
    if check:
        check.finish()


class _Md5:
    """The MD5 of a FLAC file's samples, computed while they are read; libsndfile does not compare it."""

    def __init__(self, path: Path, parts: tuple[Part, ...]) -> None:
        with parts[0].open(path) if parts else path.open("rb") as file:
            header = file.read(42)
        self._path = path
        self._start = parts[0].start if parts else 0
        self._bits = (int.from_bytes(header[20:22], "big") >> 4 & 31) + 1
        self._expected = header[26:42]
        self._digest = hashlib.md5(usedforsecurity=False)

    def read(self, file: soundfile.SoundFile, size: int) -> np.ndarray:
        """The next samples, float32 (samples, channels): the same as libsndfile's own."""
        if not any(self._expected):
            return file.read(size, dtype="float32", always_2d=True)
        wide = 16 if self._bits == 16 else 32
        samples = file.read(size, dtype=f"int{wide}", always_2d=True)
        width = -(-self._bits // 8)  # bytes of a sample, lowest first
        stored = np.ascontiguousarray(samples if wide == 16 else samples >> 32 - self._bits)
        if width != wide // 8:
            stored = np.ascontiguousarray(stored.view(np.uint8).reshape(*stored.shape, wide // 8)[..., :width])
        self._digest.update(stored.data)
        return samples.astype(np.float32) / np.float32(1 << wide - 1)

    def finish(self) -> None:
        """Raises AudioError if the samples, all read, are others, or if another file follows them."""
        if self._path.read_bytes().find(b"fLaC\0\0\0\x22", self._start + 4) > 0:
            raise AudioError(SEVERAL_STREAMS, f"{self._path}: another recording is joined to it; split them")
        if any(self._expected) and self._digest.digest() != self._expected:
            raise AudioError(DAMAGED, f"{self._path}: its samples are not those that were encoded (MD5); take another "
                                      "copy, or encode it again if it sounds right")


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """An audio file as one waveform (`koe.audio.downmix`): float32 in [-1, 1], shape (samples,), and the sample rate.

    Raises AudioError as `read_channels` does.
    """
    channels, rate = read_channels(path)
    return downmix_of(channels, rate)(channels), rate


def require_suffix(path: str | Path) -> Path:
    """The path of an audio file to be written. Raises KoeError for a suffix that is not written."""
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        raise KoeError(f"{path}: audio is written as .wav or .flac, not {path.suffix or 'without a suffix'}")
    return path


def write_audio(path: str | Path, wave: np.ndarray, rate: int) -> int:
    """Writes a waveform, shape (samples,), as 16 bit WAV or FLAC by the suffix of `path`.

    Returns the number of samples that were beyond full scale and clipped. Raises AudioError for NaN or infinity,
    KoeError for another suffix or if the file cannot be written.
    """
    path = require_suffix(path)
    audio, clipped = _to_write(path, wave)
    with _writing(path), replacing(path) as temporary:
        soundfile.write(str(temporary), audio, rate, subtype="PCM_16", format=path.suffix[1:].upper())
    return clipped


@contextlib.contextmanager
def writing_audio(path: str | Path, rate: int, expected: float = 0) -> Iterator[Callable[[np.ndarray], int]]:
    """`write_audio` of a waveform that comes in pieces: yields a function that adds one, float (samples,).

    The function returns how many samples it clipped. The file is there when the block ends without an error.
    `expected`: about how many samples there will be; WAV cannot hold 4 GiB, and what may come near that is written as
    RF64, which is WAV with 64-bit lengths.
    """
    path = require_suffix(path)
    format = path.suffix[1:].upper()
    if format == "WAV" and 2 * expected > _LONG_WAV:
        format = "RF64"
    with (replacing(path) as temporary,
          soundfile.SoundFile(str(temporary), "w", rate, 1, subtype="PCM_16", format=format) as file):

        def write(wave: np.ndarray) -> int:
            audio, clipped = _to_write(path, wave)
            with _writing(path):
                file.write(audio)
            return clipped

        yield write


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within it an error of the system names the file."""
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise KoeError(
            f"{path} cannot be written ({error}); is the folder writable, and is there room on the disk?"
        ) from error


def _to_write(path: Path, wave: np.ndarray) -> tuple[np.ndarray, int]:
    if not np.isfinite(wave).all():
        raise AudioError(NOT_FINITE, f"{path}: not written, because the waveform holds NaN or infinity")
    return to_int16(wave)


def resample(wave: np.ndarray, from_rate: int, to_rate: int, quality: str = "HQ") -> np.ndarray:
    """A waveform, shape (samples,), at another rate, float32; soxr's `quality`: QQ, LQ, MQ, HQ or VHQ.

    A filter may overshoot: the result can lie slightly beyond [-1, 1].
    """
    if from_rate == to_rate:
        return wave.astype(np.float32, copy=False)
    return soxr.resample(wave.astype(np.float32, copy=False), from_rate, to_rate, quality=quality)
