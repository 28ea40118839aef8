"""Resampling: every recording decoded, checked, brought to the project's rate and packed as 16-bit samples.

With `resample.loudness_lufs` all are brought to one loudness. A recording is in memory only while it is processed; if
it is refused, the reason goes to the quarantine.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.checks import check_length, decibels, naming, noise_floor
from koe.audio.files import audio_info, read_channels
from koe.audio.loudness import integrated_loudness
from koe.audio.params import ResampleParams
from koe.audio.preparation import prepare
from koe.audio.samples import from_int16, to_int16
from koe.corpus.quarantine import Quarantine
from koe.corpus.tables.resampled import RESAMPLED
from koe.corpus.tables.utterances import UTTERANCES
from koe.errors import AudioError
from koe.parallel import thread_map
from koe.progress import progress
from koe.store import ShardReader, ShardWriter

_NEEDED = ["utterance", "path", "start", "end", "sample_rate"]  # columns of the utterance table
_DIGEST_BYTES = 8
_LOUDNESS_MISSED = 0.1  # loudness units


@dataclass
class _Resampled:
    """A recording at the project's rate."""

    audio: np.ndarray  # int16, (samples,)
    row: dict[str, Any]  # columns of RESAMPLED except the utterance


def resample_corpus(
    corpus: str | Path, folder: str | Path, rate: int, params: ResampleParams, threads: int | None = None
) -> tuple[pd.DataFrame, Quarantine]:
    """Resamples the recordings of an imported corpus to `rate` Hz: shards, table.csv and quarantine.csv in `folder`.

    The shards' metadata is `{"sample_rate": rate}`. Returns the table and the quarantine. Raises KoeError if every
    recording is refused.
    """
    corpus, folder = Path(corpus), Path(folder)
    recordings = UTTERANCES.read(corpus)[_NEEDED]
    packed = ShardReader(corpus) if (recordings["path"] == "").any() else None
    work = partial(_resample_one, packed=packed, rate=rate, params=params)
    quarantine, rows = Quarantine("resample"), []
    with ShardWriter(folder, {"sample_rate": rate}) as writer:
        results = thread_map(work, recordings.itertuples(index=False), threads)
        for utterance, result in progress(results, f"resample {corpus.name}", len(recordings)):
            if isinstance(result, AudioError):
                quarantine.add(utterance, result.reason, result.detail)
            else:
                writer.add(utterance, audio=result.audio)
                rows.append({"utterance": utterance, **result.row})
    table = pd.DataFrame(rows, columns=list(RESAMPLED.columns))
    RESAMPLED.write(folder, table)
    quarantine.write(folder)
    quarantine.require_some(len(table), folder, "check the recordings and the limits under resample:")
    return table, quarantine


def _resample_one(
    recording: Any, packed: ShardReader | None, rate: int, params: ResampleParams
) -> tuple[str, _Resampled | AudioError]:
    """The utterance's name with the resampled recording, or with the reason why it is refused.

    No error of one recording ends the work on the others, whatever its kind.
    """
    where = recording.path or recording.utterance
    try:
        with naming(where):
            channels, native_rate, note = _decode(recording, packed, params)
            prepared = prepare(channels, native_rate, rate, params, where)
            audio, overshot = to_int16(prepared.wave)
            row = _measure(audio, rate)
    except AudioError as error:
        return recording.utterance, error
    done = {"clipped": prepared.clipped + overshot / len(audio), "native_rate": native_rate,
            "gain_db": prepared.gain_db, "channels": prepared.downmix.name,
            "downmix_db": prepared.downmix.level_db, "note": note}
    return recording.utterance, _Resampled(audio, {**row, **done})


def _measure(audio: np.ndarray, rate: int) -> dict[str, Any]:
    """The columns of the table that are measured on the stored samples, int16 (samples,)."""
    wave = from_int16(audio)
    return {
        "seconds": len(audio) / rate, "samples": len(audio), "peak_db": decibels(float(np.abs(wave).max())),
        "rms_db": decibels(float(np.sqrt(np.mean(wave**2)))), "lufs": integrated_loudness(wave, rate),
        "noise_db": noise_floor(wave, rate),
        "digest": hashlib.blake2b(audio.tobytes(), digest_size=_DIGEST_BYTES).hexdigest(),
    }


def _decode(recording: Any, packed: ShardReader | None, params: ResampleParams) -> tuple[np.ndarray, int, str]:
    """Samples (samples, channels), float32, their rate, and a note on the file.

    Too long a recording is refused before it is decoded.
    """
    if not recording.path:
        assert packed is not None
        return from_int16(packed.get(recording.utterance, "audio"))[:, None], int(recording.sample_rate), ""
    start, end = (None if pd.isna(place) else float(place) for place in (recording.start, recording.end))
    info = audio_info(recording.path)
    check_length((info.seconds if end is None else end) - (start or 0.0), params, recording.path)
    return *read_channels(recording.path, start, end), info.note


def rates_note(table: pd.DataFrame, rate: int) -> str:
    """A line that counts recordings by the change of rate; upsampling is listed because it adds no treble."""
    up, down = (table["native_rate"] < rate).sum(), (table["native_rate"] > rate).sum()
    lowest = f" (from {table['native_rate'].min()} Hz)" if up else ""
    return f"to {rate} Hz: {down} downsampled, {up} upsampled{lowest}, {len(table) - up - down} left as they were"


def loudness_note(table: pd.DataFrame, target: float) -> str:
    """A line with the range of gains, and the number of recordings that full scale kept below `target`."""
    limited = (table["lufs"] < target - _LOUDNESS_MISSED).sum()
    return (f"to {target:g} LUFS: by {table['gain_db'].min():+.1f} to {table['gain_db'].max():+.1f} dB, "
            f"{limited} stay quieter, because their peaks are at full scale")
