"""Trimming a corpus: a table of cut points. No second copy of the audio, so another threshold costs seconds."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from koe.audio.params import TrimParams
from koe.audio.samples import from_int16
from koe.audio.trim import find_cuts
from koe.corpus.quarantine import Quarantine
from koe.corpus.tables.cuts import CUTS
from koe.parallel import thread_map
from koe.progress import progress
from koe.store import ShardReader


def trim_corpus(
    resampled: str | Path, folder: str | Path, params: TrimParams, threads: int | None = None
) -> pd.DataFrame:
    """Finds the cuts of every recording in the folder `resampled`; writes trim.csv and quarantine.csv to `folder`.

    Nothing is excluded here: a suspect cut is marked (columns suspect, why) and shown, not dropped.
    """
    resampled, folder = Path(resampled), Path(folder)
    audio = ShardReader(resampled)
    work = partial(_cut_one, audio=audio, rate=audio.metadata["sample_rate"], params=params)
    utterances = audio.utterances()
    cuts = thread_map(work, utterances, threads)
    rows = progress(cuts, f"trim {resampled.name}", len(utterances))
    table = pd.DataFrame(rows, columns=list(CUTS.columns))
    CUTS.write(folder, table)
    Quarantine("trim").write(folder)
    return table


def _cut_one(utterance: str, audio: ShardReader, rate: int, params: TrimParams) -> dict[str, Any]:
    cuts = find_cuts(from_int16(audio.get(utterance, "audio")), rate, params)
    return {"utterance": utterance, **asdict(cuts), "suspect": int(cuts.suspect)}
