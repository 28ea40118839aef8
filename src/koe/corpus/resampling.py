"""Resampling: every recording decoded, checked, brought to the project's rate and packed as 16-bit samples.

A recording is in memory only while it is worked on; what it is refused for goes to the quarantine.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.audio.checks import check_content, check_length, decibels
from koe.audio.files import audio_info, read_channels, resample
from koe.corpus.dataset import from_int16, to_int16
from koe.corpus.quarantine import Quarantine
from koe.errors import AudioError
from koe.files import read_table, write_table
from koe.parallel import thread_map
from koe.params import ResampleParams
from koe.progress import progress
from koe.store import ShardReader, ShardWriter

TABLE = "table.csv"
COLUMNS = ["utterance", "seconds", "samples", "peak_db", "rms_db", "clipped", "native_rate"]


@dataclass
class _Resampled:
    """A recording at the project's rate."""

    audio: np.ndarray  # int16, (samples,)
    row: dict[str, Any]  # its columns of the table


def resample_corpus(
    corpus: str | Path, folder: str | Path, rate: int, params: ResampleParams, threads: int | None = None
) -> tuple[pd.DataFrame, Quarantine]:
    """Resamples the recordings of an imported corpus to `rate` Hz: shards, table.csv and quarantine.csv in `folder`.

    The shards' metadata is `{"sample_rate": rate}`. Returns the table and the quarantine. Raises KoeError if every
    recording is refused.
    """
    corpus, folder = Path(corpus), Path(folder)
    recordings = read_table(corpus / TABLE).to_dict("records")
    packed = ShardReader(corpus) if any(not recording["path"] for recording in recordings) else None
    work = partial(_resample_one, packed=packed, rate=rate, params=params)
    quarantine, rows = Quarantine("resample"), []
    with ShardWriter(folder, {"sample_rate": rate}) as writer:
        results = thread_map(work, recordings, threads)
        for utterance, result in progress(results, f"resample {corpus.name}", len(recordings)):
            if isinstance(result, AudioError):
                quarantine.add(utterance, result.reason, result.detail)
            else:
                writer.add(utterance, audio=result.audio)
                rows.append({"utterance": utterance, **result.row})
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(folder / TABLE, table)
    quarantine.write(folder)
    quarantine.require_some(len(table), folder, "check the recordings and the limits under resample:")
    return table, quarantine


def _resample_one(
    recording: dict[str, Any], packed: ShardReader | None, rate: int, params: ResampleParams
) -> tuple[str, _Resampled | AudioError]:
    """The utterance's name with the resampled recording, or with what is wrong with it."""
    utterance = recording["utterance"]
    try:
        channels, native_rate = _decode(recording, packed, params)
        clipped = check_content(channels, native_rate, params, recording["path"] or utterance)
    except AudioError as error:
        return utterance, error
    wave = resample(channels.mean(axis=1, dtype=np.float32), native_rate, rate, params.quality)
    audio, overshot = to_int16(wave)
    row = {"seconds": len(audio) / rate, "samples": len(audio),
           "peak_db": decibels(float(np.abs(wave).max())), "rms_db": decibels(float(np.sqrt(np.mean(wave**2)))),
           "clipped": clipped + overshot / len(audio), "native_rate": native_rate}
    return utterance, _Resampled(audio, row)


def _decode(recording: dict[str, Any], packed: ShardReader | None, params: ResampleParams) -> tuple[np.ndarray, int]:
    """Samples (samples, channels), float32, and their rate; a file too long is refused before it is decoded."""
    if not recording["path"]:
        assert packed is not None
        return from_int16(packed.get(recording["utterance"], "audio"))[:, None], int(recording["sample_rate"])
    check_length(audio_info(recording["path"]).seconds, params, recording["path"])
    return read_channels(recording["path"])


def rates_note(table: pd.DataFrame, rate: int) -> str:
    """A line that counts recordings by what was done to their rate; upsampling is named, for it adds no treble."""
    up, down = (table["native_rate"] < rate).sum(), (table["native_rate"] > rate).sum()
    lowest = f" (from {table['native_rate'].min()} Hz)" if up else ""
    return f"to {rate} Hz: {down} downsampled, {up} upsampled{lowest}, {len(table) - up - down} left as they were"
