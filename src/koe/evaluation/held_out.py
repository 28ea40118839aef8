"""The held-out pairs of the test split: their references, and the measurement of conditions against them.

Used by two stages: `reference`, for conditions that no model changes, and `evaluate`, for a model's output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koe.audio.params import SpeakerPitch
from koe.audio.pitch import pitch_range
from koe.audio.samples import to_int16
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, draw_pairs, pairs_in
from koe.errors import KoeError
from koe.evaluation.cepstrum import PitchRange
from koe.evaluation.measure import EVALUATION, Reference, measure_pairs, missing_metrics
from koe.evaluation.params import EvaluationParams
from koe.names import speaker_key
from koe.progress import progress
from koe.randomness import seed_for
from koe.store import ShardWriter


def held_out_pairs(pairs: pd.DataFrame, evaluation: EvaluationParams, seed: int) -> pd.DataFrame:
    """The test pairs that are measured, at most `evaluation.pairs` and `pairs_per_direction` of each direction.

    They are drawn under the seed: first the sentences of each direction, which are the same ones wherever directions
    share sentences, so that directions can be compared; then the pairs.
    """
    test = pairs[pairs["split"] == "test"].reset_index(drop=True)
    if evaluation.pairs_per_direction is not None:
        rank = test["sentence"].map(lambda sentence: seed_for(seed, "measured", sentence))
        ranked = test.assign(direction=directions_of(test), rank=rank).sort_values("rank", kind="stable")
        test = test.loc[sorted(ranked.groupby("direction").head(evaluation.pairs_per_direction).index)]
    drawn = {pair.name for pair in draw_pairs(pairs_in(test), evaluation.pairs, seed)}
    return test[test["pair"].isin(drawn)].reset_index(drop=True)


def references_of(
    dataset: Dataset, pairs: pd.DataFrame, pitch: SpeakerPitch, speakers: Mapping[str, np.ndarray]
) -> list[Reference]:
    """The reference of each of `pairs`.

    F0 is searched between the lower floor and the higher ceiling of the two speakers, in every condition.
    """
    references = []
    for row in pairs.to_dict("records"):
        source, target = row["source"], row["target"]
        (low, high), (low_target, high_target) = (pitch_range(pitch, speaker_key(name)) for name in (source, target))
        references.append(Reference(
            pair=row["pair"],
            text=str(dataset.utterances.at[target, "text"]),
            language=str(dataset.utterances.at[target, "language"]),
            target=to_int16(dataset.wave(target))[0],
            sample_rate=dataset.mel_params.sample_rate,
            pitch=PitchRange(pitch.method, min(low, low_target), max(high, high_target)),
            target_embedding=speakers[speaker_key(target)],
            source_embedding=speakers[speaker_key(source)],
        ))
    return references


@dataclass(frozen=True)
class Condition:
    """One waveform for each pair."""

    name: str  # such as `source` or `griffin_lim.ceiling`
    waves: list[np.ndarray]  # float32 (samples,), in the order of the pairs


def measure_conditions(
    references: list[Reference], conditions: list[Condition], evaluation: EvaluationParams, folder: str | Path,
    mels: list[np.ndarray] | None = None,
) -> pd.DataFrame:
    """Writes the waveforms (and `mels`) as shards keyed by pair into `folder`, measures them and returns the rows.

    Waveforms are converted to 16 bit first, so that what is measured is what listeners hear. Samples out of range are
    counted and printed (lesson 15), and so are metrics that could not be measured. Raises StoreError for NaN in a mel,
    KoeError for NaN in a waveform.
    """
    jobs, clipped = [], dict[str, list[int]]()
    with ShardWriter(folder) as writer:
        for index, reference in enumerate(references):
            audio = {}
            for condition in conditions:
                audio[condition.name], outside = _as_int16(condition, index, reference.pair)
                clipped.setdefault(condition.name, []).append(outside)
            writer.add(reference.pair, **audio, **({"mel": mels[index]} if mels is not None else {}))
            jobs.append((audio, reference))
    for name, counts in clipped.items():
        if any(counts):
            print(f"{name}: {sum(counts)} samples in {np.count_nonzero(counts)} of {len(counts)} waveforms lay out of "
                  f"range and were clipped, as loud speech may; at most {max(counts)} in one")
    measured = progress(measure_pairs(jobs, evaluation), "measure", total=len(jobs), unit="pair")
    table = pd.DataFrame([row for rows in measured for row in rows], columns=list(EVALUATION.columns))
    for metric, reason in missing_metrics(table["missing"]).items():
        print(f"{metric} is missing in {reason}")
    return table


def _as_int16(condition: Condition, index: int, pair: str) -> tuple[np.ndarray, int]:
    """A waveform in 16 bit, and how many of its samples were out of range."""
    wave = condition.waves[index]
    if not np.isfinite(wave).all():
        raise KoeError(f"{condition.name} of {pair}: NaN or infinity in the waveform; train the model again")
    return to_int16(wave)
