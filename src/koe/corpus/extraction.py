"""Features of trimmed recordings: mel, F0 and energy on one frame grid (lessons 6 and 24), packed.

WORLD is most of the work and holds the interpreter's lock, so a pool of processes does that. They import
neither torch nor pandas, which would take them longer than the work. Mel and energy are computed here
meanwhile, one utterance at a time on one thread, so that the bytes do not depend on the number of processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from koe.audio.checks import TOO_SHORT, UNVOICED
from koe.audio.mel import mel_and_energy, minimum_samples
from koe.audio.pitch import extract_f0, extract_f0_within
from koe.corpus.dataset import Dataset, speaker_of
from koe.corpus.quarantine import Quarantine
from koe.errors import AudioError, StoreError
from koe.files import write_table
from koe.parallel import PATIENCE, parallel_map
from koe.params import MelParams, PitchParams
from koe.progress import progress
from koe.store import ShardWriter

TABLE = "table.csv"
COLUMNS = ["utterance", "frames", "voiced", "f0_median"]


@dataclass(frozen=True)
class Features:
    """One utterance: log-mel (frames, n_mels), F0 (frames,) in Hz with 0 = unvoiced, log energy (frames,)."""

    mel: np.ndarray
    f0: np.ndarray
    energy: np.ndarray


def extract_features(
    wave: np.ndarray, mel: MelParams, pitch: PitchParams, speaker: str, reduction_factor: int = 1
) -> Features:
    """Features of a trimmed waveform, float32 (samples,), at `mel.sample_rate`; F0 in the speaker's range.

    Raises AudioError for a waveform shorter than one reduced step or unvoiced throughout.
    """
    _check_length(len(wave), mel, reduction_factor)
    f0 = extract_f0(wave, mel.sample_rate, mel.hop_length, pitch.method, *pitch.range_of(speaker))
    return _features(wave, f0, mel)


def extract_corpus(
    dataset: Dataset, folder: str | Path, pitch: PitchParams, reduction_factor: int,
    processes: int | None = None,
) -> tuple[pd.DataFrame, Quarantine]:
    """Features of every trimmed recording of `dataset`: shards, table.csv and quarantine.csv in `folder`.

    Quarantined: shorter than one reduced step of `reduction_factor` frames, unvoiced throughout. Returns the
    table and the quarantine. Raises KoeError if nothing is left.
    """
    folder, mel = Path(folder), dataset.mel_params
    quarantine, rows = Quarantine("extract"), []
    metadata = {"mel": mel.contract(), "pitch": pitch.model_dump(mode="json")}
    utterances = _long_enough(dataset, reduction_factor, quarantine)
    work = partial(
        extract_f0_within, sample_rate=mel.sample_rate, hop_length=mel.hop_length, method=pitch.method
    )
    tasks = ((dataset.wave(name), *pitch.range_of(speaker_of(name))) for name in utterances)
    pitches = zip(utterances, parallel_map(work, tasks, processes, patience=PATIENCE), strict=True)
    with one_thread(), ShardWriter(folder, metadata) as writer:
        for utterance, f0 in progress(pitches, f"extract {folder.name}", len(utterances)):
            try:
                features = _features(dataset.wave(utterance), f0, mel)
            except AudioError as error:
                quarantine.add(utterance, error.reason, error.detail)
                continue
            writer.add(utterance, mel=features.mel, f0=features.f0, energy=features.energy)
            rows.append(_row(utterance, features))
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(folder / TABLE, table)
    quarantine.write(folder)
    quarantine.require_some(len(table), folder, "check the recordings, pitch.floor and pitch.ceiling")
    return table, quarantine


def _long_enough(dataset: Dataset, reduction_factor: int, quarantine: Quarantine) -> list[str]:
    """Utterances of at least one reduced step, in the order of trim.csv; the others go to the quarantine."""
    kept = []
    for utterance in dataset.cuts["utterance"]:
        try:
            _check_length(dataset.samples(utterance), dataset.mel_params, reduction_factor)
        except AudioError as error:
            quarantine.add(utterance, error.reason, error.detail)
        else:
            kept.append(utterance)
    return kept


def _check_length(samples: int, mel: MelParams, reduction_factor: int) -> None:
    shortest = max(minimum_samples(mel), reduction_factor * mel.hop_length)
    if samples < shortest:
        raise AudioError(
            TOO_SHORT, f"{samples / mel.sample_rate:.3f} s of speech; one reduced step "
            f"(acoustic.reduction_factor × mel.hop_length) takes {shortest / mel.sample_rate:.3f} s"
        )


def _features(wave: np.ndarray, f0: np.ndarray, mel: MelParams) -> Features:
    if not f0.any():
        raise AudioError(UNVOICED, f"no F0 in any of {len(f0)} frames; are pitch.floor and ceiling the voice's?")
    with torch.inference_mode():
        log_mel, energy = mel_and_energy(torch.from_numpy(wave), mel)
    features = Features(log_mel.numpy(), f0, energy.numpy())
    _check_grid(features, mel, len(wave))
    return features


def _check_grid(features: Features, mel: MelParams, samples: int) -> None:
    """Raises StoreError unless all three lie on the one frame grid (lessons 6 and 24)."""
    frames = mel.frames(samples)
    expected = {"mel": (frames, mel.n_mels), "f0": (frames,), "energy": (frames,)}
    for field, shape in expected.items():
        found: np.ndarray = getattr(features, field)
        if found.shape != shape:
            raise StoreError(f"{field} has shape {found.shape} for {samples} samples, expected {shape}")


def _row(utterance: str, features: Features) -> dict[str, object]:
    voiced = features.f0[features.f0 > 0]
    frames = len(features.f0)
    share = len(voiced) / frames
    return {"utterance": utterance, "frames": frames, "voiced": share, "f0_median": np.median(voiced)}


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: the cores are the pool's, and sums are the same whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
