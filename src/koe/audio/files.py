"""The one audio reader and writer, and the one resampler.

Every file is read as float32 in [-1, 1] (lesson 18), and nothing is clipped or rescaled without being counted
(lesson 15). The rule for samples beyond full scale: in a float file they contradict the convention, and the file is
refused as out_of_range; in MP3 and OGG the decoder overshoots where the original reached full scale, and those samples
are limited to full scale, where `koe.audio.checks.clipped_share` counts them.

libsndfile reads WAV, FLAC, OGG and MP3; the suffix decides which files `koe.audio.containers` reads, so that a damaged
file is refused by the library that knows its format and not repaired by the other.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from koe.audio.checks import NOT_FINITE, OUT_OF_RANGE, TRUNCATED, UNREADABLE, ZERO_SAMPLES
from koe.audio.samples import to_int16
from koe.audio.signatures import is_audio as is_audio
from koe.errors import AudioError, KoeError
from koe.files import replacing

CONTAINERS = frozenset({
    ".m4a", ".mp4", ".m4b", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".mka", ".webm", ".aac", ".ac3", ".eac3",
    ".wma", ".wmv", ".asf", ".amr", ".awb", ".wv", ".ape", ".tta", ".mp2", ".spx", ".avi", ".flv", ".ts", ".mts", ".mpg",
    ".mpeg", ".g722"})
SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".caf",
    ".au", ".snd", ".sph", ".nist", ".voc"}) | CONTAINERS
_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU", "NIST", "VOC"}
_LOSSY = {"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
_ROUNDING = 1e-6  # above 1: the rounding of float files that were scaled to exactly full scale
_CODEC_DELAY = 0.25  # s of the codec's padding that a container's header may count and its decoder leave out
_UNKNOWN_LENGTH = 0xFFFFFFFF  # in the header of a WAV file whose writer could not seek


@dataclass(frozen=True)
class AudioInfo:
    """Contents of an audio file's header."""

    samples: int  # of each channel
    sample_rate: int  # Hz
    channels: int
    format: str  # container and codec, e.g. WAV/PCM_16
    lossy: bool  # whether the codec is

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Reads the header of an audio file, without decoding it.

    Raises AudioError: unreadable (missing, not audio, or of no format in SUFFIXES), truncated, zero samples.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(UNREADABLE, f"{path}: no such file")
    if _is_container(path):
        from koe.audio import containers  # FFmpeg takes longer to load than most files take to read

        return AudioInfo(**containers.header(path))
    try:
        info = soundfile.info(str(path))
        _check_complete(path, info.format)
    except (soundfile.LibsndfileError, OSError, UnicodeEncodeError) as error:
        raise AudioError(UNREADABLE, f"{path}: not a WAV, FLAC, OGG or MP3 file, or damaged ({error})") from error
    if info.format not in _FORMATS:
        raise AudioError(UNREADABLE, f"{path}: its format is {info.format}; expected WAV, FLAC, OGG or MP3")
    if info.frames == 0:
        raise AudioError(ZERO_SAMPLES, f"{path}: holds no samples")
    return AudioInfo(info.frames, info.samplerate, info.channels, f"{info.format}/{info.subtype}",
                     info.subtype in _LOSSY)


def read_channels(
    path: str | Path, start: float | None = None, end: float | None = None
) -> tuple[np.ndarray, int]:
    """All channels of an audio file: float32 in [-1, 1], shape (samples, channels), and the sample rate.

    `start` and `end`, in seconds, limit the part that is read; the rest is not decoded where the format allows that.
    Raises AudioError as `audio_info` does, and for a part without samples, with NaN or infinity, or, in a float file,
    beyond full scale.
    """
    path = Path(path)
    info = audio_info(path)
    first = round((start or 0.0) * info.sample_rate)
    last = info.samples if end is None else min(info.samples, round(end * info.sample_rate))
    if not 0 <= first < last:
        raise AudioError(ZERO_SAMPLES, f"{path}: no samples from {start} to {end} s; it is {info.seconds:g} s long")
    samples = _decode(path, first, last, info, through_end=end is None)
    if not np.isfinite(samples).all():
        count = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError(NOT_FINITE, f"{path}: {count} samples are NaN or infinite")
    peak = float(np.abs(samples).max())
    if peak > 1 + _ROUNDING and not info.lossy:
        count = int(np.count_nonzero(np.abs(samples) > 1))
        raise AudioError(OUT_OF_RANGE, f"{path}: {count} samples lie beyond full scale (peak {peak:g}); "
                                       "scale the recording to [-1, 1], nothing is clipped for you")
    return np.clip(samples, -1.0, 1.0), info.sample_rate


def _decode(path: Path, first: int, last: int, info: AudioInfo, through_end: bool) -> np.ndarray:
    """Samples of all channels, (samples, channels). Raises AudioError if the file is damaged or ends early."""
    allowance = 0
    if _is_container(path):
        from koe.audio import containers

        allowance = round(_CODEC_DELAY * info.sample_rate)
        samples = containers.decode(path, first, last + allowance * through_end)  # the header may count too few as well
    else:
        try:
            samples, _ = soundfile.read(str(path), start=first, stop=last, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(UNREADABLE, f"{path}: damaged or cut short after its header ({error})") from error
    if len(samples) < last - first - allowance or not len(samples):
        raise AudioError(TRUNCATED, f"{path}: the header promises {info.samples} samples, "
                                    f"{first + len(samples)} are there")
    return samples


def _is_container(path: Path) -> bool:
    return path.suffix.lower() in CONTAINERS


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """An audio file as one waveform, channels averaged: float32 in [-1, 1], shape (samples,), and the sample rate.

    WAV (8, 16, 24, 32 bit, float), FLAC, OGG, MP3, M4A, AAC, WebM and WMA of any rate, and G.722. Raises AudioError as
    `read_channels` does.
    """
    channels, rate = read_channels(path)
    return channels.mean(axis=1, dtype=np.float32), rate


def write_audio(path: str | Path, wave: np.ndarray, rate: int) -> int:
    """Writes a waveform, shape (samples,), as 16 bit WAV or FLAC by the suffix of `path`.

    Returns the number of samples that were beyond full scale and clipped. Raises AudioError for NaN or infinity,
    KoeError for another suffix or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in {".wav", ".flac"}:
        raise KoeError(f"{path}: audio is written as .wav or .flac, not {path.suffix or 'without a suffix'}")
    if not np.isfinite(wave).all():
        raise AudioError(NOT_FINITE, f"{path}: not written, because the waveform holds NaN or infinity")
    audio, clipped = to_int16(wave)
    try:
        with replacing(path) as temporary:
            soundfile.write(str(temporary), audio, rate, subtype="PCM_16", format=path.suffix[1:].upper())
    except (soundfile.LibsndfileError, OSError) as error:
        raise KoeError(
            f"{path} cannot be written ({error}); is the folder writable, and is there room on the disk?"
        ) from error
    return clipped


def resample(wave: np.ndarray, from_rate: int, to_rate: int, quality: str = "HQ") -> np.ndarray:
    """A waveform, shape (samples,), at another rate, float32; soxr's `quality`: QQ, LQ, MQ, HQ or VHQ.

    A filter may overshoot: the result can lie slightly beyond [-1, 1].
    """
    if from_rate == to_rate:
        return wave.astype(np.float32, copy=False)
    return soxr.resample(wave.astype(np.float32, copy=False), from_rate, to_rate, quality=quality)


def _check_complete(path: Path, format: str) -> None:
    """Raises AudioError for a WAV or OGG file that ends early; libsndfile reads the rest without an error."""
    if format in {"WAV", "WAVEX", "RF64"}:
        promised, held = _wav_data_bytes(path)
        if promised > held:
            raise AudioError(TRUNCATED, f"{path}: the header promises {promised} bytes of audio, {held} are there")
    elif format == "OGG" and not _ogg_ends(path):
        raise AudioError(TRUNCATED, f"{path}: the stream has no last page")


def _wav_data_bytes(path: Path) -> tuple[int, int]:
    """Bytes of audio that a RIFF or RF64 header promises, and bytes that the file holds from there on."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = ">" if file.read(12)[:4] == b"RIFX" else "<"
        long_data = 0
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", head)
            if name == b"ds64":
                long_data = struct.unpack("<Q", file.read(16)[8:])[0]
                length -= 16
            if name == b"data":
                held = size - file.tell()
                return (long_data or held) if length == _UNKNOWN_LENGTH else length, held
            file.seek(length + length % 2, 1)
    return 0, 0


def _ogg_ends(path: Path) -> bool:
    """Whether the last page of an OGG file is marked as the last of its stream (RFC 3533, header type 4)."""
    longest_page = 27 + 255 + 255 * 255
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - longest_page))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) >= page + 27 and bool(tail[page + 5] & 4) and _page_is_whole(tail[page:])


def _page_is_whole(page: bytes) -> bool:
    segments = page[26]
    return len(page) >= 27 + segments + sum(page[27:27 + segments])
