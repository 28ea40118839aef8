"""Made-up recordings, as the stages leave real ones: for measuring how long work on them takes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.corpus.dataset import Dataset
from koe.corpus.tables.cuts import CUTS
from koe.names import corpus_of
from koe.randomness import numpy_generator
from koe.store import ShardWriter


def make_up(folder: Path, mel: MelParams, frames: Mapping[str, int]) -> Dataset:
    """Writes waveform, cuts and features of noise, of so many frames for each utterance of one corpus; a third of the
    frames is unvoiced. Returns the dataset in `folder`.
    """
    corpus = corpus_of(next(iter(frames)))
    generator = numpy_generator(0, "made up")
    cuts, nothing_cut = [], {name: "" if kind is str else 0 for name, kind in CUTS.columns.items()}
    with (
        ShardWriter(folder / "resampled" / corpus) as audio,
        ShardWriter(folder / "features" / corpus, {"mel": mel_contract(mel)}) as features,
    ):
        for name, count in frames.items():
            samples = count * mel.hop_length
            audio.add(name, audio=generator.normal(0, 2000, samples).astype(np.int16))
            features.add(name, mel=generator.normal(-5, 2, (count, mel.n_mels)).astype(np.float32),
                         f0=np.where(generator.random(count) < 2 / 3, generator.uniform(80, 300, count), 0).astype(
                             np.float32),
                         energy=generator.normal(-3, 1, count).astype(np.float32))
            cuts.append(nothing_cut | {"utterance": name, "end": samples})
    CUTS.write(folder / "trim" / corpus, pd.DataFrame(cuts))
    return Dataset([corpus], mel, folder)
