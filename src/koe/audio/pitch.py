"""F0 on the project's frame grid: DIO with StoneMask, Harvest, or CREPE, chosen by name.

Frame t of every method is at the centre of the mel's frame t, sample (t + 1/2) * hop_length, and there are exactly
`samples // hop_length` frames (lesson 24). WORLD's own grid starts at time 0 and is a frame longer; it is converted
here and nowhere else.
"""

from collections.abc import Callable

import numpy as np
import soxr

from koe.audio import world
from koe.audio.checks import TOO_SHORT, UNVOICED
from koe.audio.params import SpeakerPitch
from koe.errors import AudioError, ParameterError

Extractor = Callable[[np.ndarray, int, int, float, float], np.ndarray]

STONEMASK_RATE = 10000  # Hz at least; it uses six harmonics
DIO_RATE = 3500  # Hz at least
WORLD_PERIOD = 0.005  # s; DIO judges voicing by the change from frame to frame and was tuned at this spacing
CREPE_RATE = 16000  # Hz
CREPE_WINDOW = 1024  # samples
CREPE_MODEL = "tiny"  # "full" needs seven times real time on one core
CREPE_PERIODICITY = 0.4  # frames below it are unvoiced


def extract_f0(
    wave: np.ndarray, sample_rate: int, hop_length: int, method: str, floor: float, ceiling: float
) -> np.ndarray:
    """F0 in Hz, 0 = unvoiced, float32, shape (samples // hop_length,).

    wave: float, shape (samples,); floor and ceiling in Hz; method: a name in EXTRACTORS. Raises AudioError
    for a waveform shorter than one hop, ParameterError for an unknown method.
    """
    if method not in EXTRACTORS:
        raise ParameterError(f"pitch.method: {method!r}; expected one of {', '.join(sorted(EXTRACTORS))}")
    frames = len(wave) // hop_length
    if frames == 0:
        raise AudioError(TOO_SHORT, f"{len(wave)} samples; one frame needs {hop_length}")
    f0 = EXTRACTORS[method](np.ascontiguousarray(wave, dtype=np.float64), sample_rate, hop_length, floor, ceiling)
    return f0[:frames].astype(np.float32)


def continuous_log_f0(f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-F0 without gaps and the voiced flag: float32 and bool, both (frames,).

    Unvoiced stretches are bridged by straight lines in log F0; before the first and after the last voiced
    frame it stays constant. Raises AudioError where no frame is voiced.
    """
    voiced = f0 > 0
    if not voiced.any():
        raise AudioError(UNVOICED, f"no F0 in any of {len(f0)} frames")
    frames = np.arange(len(f0))
    log_f0 = np.interp(frames, frames[voiced], np.log(f0[voiced].astype(np.float64)))
    return log_f0.astype(np.float32), voiced


def _dio(wave: np.ndarray, sample_rate: int, hop_length: int, floor: float, ceiling: float) -> np.ndarray:
    """DIO (Morise et al. 2009) on the half-wave rectified wave, refined by StoneMask, both at a lower rate.

    DIO looks for the fundamental itself, and a recording that was high-pass filtered has none: for the demo's
    voice joe it is an octave too high in 70 % of the frames. Rectification restores the fundamental from the
    beating of its harmonics, as the ear does (Licklider 1951), which leaves 2 %. StoneMask weights the harmonics
    by their amplitude, so it gets the wave without rectification. The lower rates change F0 by less than DIO's own
    error and take a sixth of the time.
    """
    lowest = max(1, sample_rate // STONEMASK_RATE)
    factor = next(factor for factor in range(lowest, 0, -1) if sample_rate % factor == 0)
    rate = sample_rate // factor
    low = soxr.resample(wave, sample_rate, rate)
    speed = int(np.clip(rate / max(DIO_RATE, 5 * ceiling), 1, 12))
    return _stonemasked_dio(np.maximum(low, 0), low, rate, hop_length / sample_rate, floor, ceiling, speed)


def _dio_plain(wave: np.ndarray, sample_rate: int, hop_length: int, floor: float, ceiling: float) -> np.ndarray:
    """DIO and StoneMask as published, on the unchanged wave."""
    return _stonemasked_dio(wave, wave, sample_rate, hop_length / sample_rate, floor, ceiling, speed=1)


def _stonemasked_dio(
    dio_wave: np.ndarray, wave: np.ndarray, rate: int, hop_seconds: float, floor: float, ceiling: float, speed: int
) -> np.ndarray:
    """F0 that DIO finds in `dio_wave`, refined by StoneMask on `wave`."""
    parts = _parts_of_hop(hop_seconds)
    tracks = world.dio(dio_wave, rate, floor, ceiling, 1000 * hop_seconds / parts, speed)
    f0, times = (np.ascontiguousarray(track[parts // 2 :: parts]) for track in tracks)
    return world.stonemask(wave, f0, times, rate)


def _harvest(wave: np.ndarray, sample_rate: int, hop_length: int, floor: float, ceiling: float) -> np.ndarray:
    """Harvest (Morise 2017), on the unchanged wave."""
    parts = _parts_of_hop(hop_length / sample_rate)
    f0, _ = world.harvest(wave, sample_rate, floor, ceiling, 1000 * hop_length / sample_rate / parts)
    return f0[parts // 2 :: parts]


def _parts_of_hop(hop_seconds: float) -> int:
    """WORLD frames per hop: an even number, so that one of them falls on each mel frame's centre."""
    return 2 * max(1, round(hop_seconds / WORLD_PERIOD / 2))


def _crepe(wave: np.ndarray, sample_rate: int, hop_length: int, floor: float, ceiling: float) -> np.ndarray:
    """CREPE (Kim et al. 2018): windows at the frames' centres, the pitch a mean around the most likely bin.

    torchcrepe.predict is not used: it rounds the hop at 16 kHz down (a drift of a frame in three seconds) and
    adds random dither to the pitch.
    """
    import torch
    import torchcrepe

    frames = len(wave) // hop_length
    audio = np.pad(soxr.resample(wave, sample_rate, CREPE_RATE), CREPE_WINDOW // 2)
    centres = np.round((np.arange(frames) + 0.5) * hop_length * CREPE_RATE / sample_rate).astype(int)
    centres = np.minimum(centres, len(audio) - CREPE_WINDOW)
    windows = np.lib.stride_tricks.sliding_window_view(audio, CREPE_WINDOW)[centres]
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows = windows / np.maximum(windows.std(axis=1, keepdims=True), 1e-10)
    with torch.inference_mode():
        batches = torch.from_numpy(windows.astype(np.float32)).split(1024)
        salience = torch.cat([torchcrepe.infer(batch, CREPE_MODEL) for batch in batches]).double().numpy()
    cents = 1997.3794 + torchcrepe.CENTS_PER_BIN * np.arange(torchcrepe.PITCH_BINS)  # above 10 Hz
    hertz = 10 * 2 ** (cents / 1200)
    salience = salience * ((hertz >= floor) & (hertz <= ceiling))
    best = salience.argmax(axis=1)
    near = salience * (np.abs(np.arange(len(cents)) - best[:, None]) <= 4)
    pitch = 10 * 2 ** ((near @ cents) / np.maximum(near.sum(axis=1), 1e-10) / 1200)
    return np.where(salience.max(axis=1) >= CREPE_PERIODICITY, pitch, 0)


EXTRACTORS: dict[str, Extractor] = {
    "dio": _dio,
    "dio_plain": _dio_plain,
    "harvest": _harvest,
    "crepe": _crepe,
}


def pitch_range(pitch: SpeakerPitch, speaker: str) -> tuple[float, float]:
    """Floor and ceiling of F0 for a speaker `<corpus>/<speaker>`, Hz: the speaker's own range, or the general one."""
    return pitch.ranges.get(speaker, (pitch.floor, pitch.ceiling))
