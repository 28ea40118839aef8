"""Features of trimmed recordings: mel, F0 and energy on one frame grid (lessons 6 and 24), packed.

Each utterance is processed on one thread (WORLD and PyTorch release the interpreter's lock), and PyTorch stays on that
thread, so that the bytes do not depend on the number of threads.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from koe.audio.checks import TOO_SHORT, UNVOICED
from koe.audio.grid import frame_count, mel_contract
from koe.audio.mel import mel_and_energy, minimum_samples
from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import extract_f0, pitch_range
from koe.corpus.dataset import Dataset
from koe.corpus.quarantine import Quarantine
from koe.corpus.tables.features import FEATURES
from koe.errors import AudioError, StoreError
from koe.names import speaker_key
from koe.parallel import thread_map
from koe.params.types import LARGEST_FACTOR
from koe.progress import progress
from koe.store import ShardWriter

SHORTEST_FRAMES = LARGEST_FACTOR  # the longest step, so that experiments with other steps use the same features
PRESSED = 0.03  # F0 this near to floor or ceiling, as a share of them, may be beyond it


@dataclass(frozen=True)
class Features:
    """Features of one utterance."""

    mel: np.ndarray  # log-mel, float32, (frames, n_mels)
    f0: np.ndarray  # Hz, 0 = unvoiced, float32, (frames,)
    energy: np.ndarray  # log energy, float32, (frames,)


def extract_features(
    wave: np.ndarray, mel_params: MelParams, pitch: SpeakerPitch, speaker: str
) -> Features:
    """Features of a trimmed waveform, float32 (samples,), at `mel.sample_rate`; F0 in the speaker's range.

    Raises AudioError for a waveform shorter than SHORTEST_FRAMES or unvoiced throughout.
    """
    shortest = max(minimum_samples(mel_params), SHORTEST_FRAMES * mel_params.hop_length)
    if len(wave) < shortest:
        raise AudioError(
            TOO_SHORT, f"{len(wave) / mel_params.sample_rate:.3f} s of speech; {SHORTEST_FRAMES} frames, the longest "
            f"step that a model can take in, are {shortest / mel_params.sample_rate:.3f} s"
        )
    floor, ceiling = pitch_range(pitch, speaker)
    f0 = extract_f0(wave, mel_params.sample_rate, mel_params.hop_length, pitch.method, floor, ceiling)
    if not f0.any():
        raise AudioError(UNVOICED, f"no F0 from {floor:g} to {ceiling:g} Hz in any of {len(f0)} frames; "
                                   "is that the voice's range (pitch.floor, .ceiling, corpora.<name>.pitch_ranges)?")
    with torch.inference_mode():
        log_mel, energy = mel_and_energy(torch.from_numpy(wave), mel_params)
    features = Features(log_mel.numpy(), f0, energy.numpy())
    _check_grid(features, mel_params, len(wave))
    return features


def _check_grid(features: Features, mel_params: MelParams, samples: int) -> None:
    """Raises StoreError unless all three lie on the one frame grid (lessons 6 and 24)."""
    frames = frame_count(samples, mel_params)
    expected = {"mel": (frames, mel_params.n_mels), "f0": (frames,), "energy": (frames,)}
    for field, shape in expected.items():
        array: np.ndarray = getattr(features, field)
        if array.shape != shape:
            raise StoreError(f"{field} has shape {array.shape} for {samples} samples, expected {shape}")


def extract_corpus(
    dataset: Dataset, folder: str | Path, pitch: SpeakerPitch, threads: int | None = None
) -> tuple[pd.DataFrame, Quarantine]:
    """Features of every trimmed recording of `dataset`: shards, table.csv and quarantine.csv in `folder`.

    Quarantined: shorter than SHORTEST_FRAMES, unvoiced throughout. Returns the table and the quarantine. Raises
    KoeError if nothing is left.
    """
    folder, mel_params = Path(folder), dataset.mel_params
    quarantine, rows = Quarantine("extract"), []
    utterances = list(dataset.cuts["utterance"])

    def extract(utterance: str) -> Features | AudioError:
        wave = dataset.wave(utterance)
        try:
            return extract_features(wave, mel_params, pitch, speaker_key(utterance))
        except AudioError as error:
            return error

    metadata = {"mel": mel_contract(mel_params), "pitch": pitch.model_dump(mode="json")}
    with ShardWriter(folder, metadata) as writer:
        results = progress(thread_map(extract, utterances, threads), f"extract {folder.name}", len(utterances))
        for utterance, result in zip(utterances, results, strict=True):
            if isinstance(result, AudioError):
                quarantine.add(utterance, result.reason, result.detail)
                continue
            writer.add(utterance, mel=result.mel, f0=result.f0, energy=result.energy)
            rows.append(_row(utterance, result, pitch))
    table = pd.DataFrame(rows, columns=list(FEATURES.columns))
    FEATURES.write(folder, table)
    quarantine.write(folder)
    quarantine.require_some(len(table), folder, "check the recordings, pitch.floor and pitch.ceiling")
    return table, quarantine


def _row(utterance: str, features: Features, pitch: SpeakerPitch) -> dict[str, object]:
    voiced = features.f0[features.f0 > 0]
    low, median, high = np.quantile(voiced, [0.05, 0.5, 0.95])
    floor, ceiling = pitch_range(pitch, speaker_key(utterance))
    pressed = np.mean((voiced <= floor * (1 + PRESSED)) | (voiced >= ceiling * (1 - PRESSED)))
    frames = len(features.f0)
    return {"utterance": utterance, "frames": frames, "voiced": len(voiced) / frames, "f0_median": median,
            "f0_low": low, "f0_high": high, "f0_pressed": pressed}
