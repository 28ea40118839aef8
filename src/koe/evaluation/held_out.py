"""The held-out pairs of the test split: what they are measured against, and measuring conditions of them.

Two stages use this: `reference` for what no model changes, `evaluate` for what a model makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koe.corpus.dataset import Dataset, corpus_of, speaker_of, to_int16
from koe.errors import KoeError
from koe.evaluation.cepstrum import PitchRange
from koe.evaluation.measure import COLUMNS, Reference, measure_pairs, missing_metrics
from koe.evaluation.models import at_16_khz, one_thread_each
from koe.evaluation.speaker import ENROLMENT_UTTERANCES, embed, enrol
from koe.params import CorpusParams, EvaluationParams, PitchParams
from koe.progress import progress
from koe.store import ShardReader, ShardWriter


def split_of(pairs: pd.DataFrame, split: str) -> pd.DataFrame:
    """The pairs of one split, in their order."""
    return pairs[pairs["split"] == split].reset_index(drop=True)


def speaker_key(utterance: str) -> str:
    """`<corpus>/<speaker>`: a speaker's name is its corpus's own."""
    return f"{corpus_of(utterance)}/{speaker_of(utterance)}"


def enrol_speakers(dataset: Dataset, training: pd.DataFrame) -> dict[str, np.ndarray]:
    """Embeddings (256,) of all speakers of the training pairs, each from its first ENROLMENT_UTTERANCES of them."""
    utterances: dict[str, list[str]] = {}
    for utterance in dict.fromkeys([*training["source"], *training["target"]]):
        own = utterances.setdefault(speaker_key(utterance), [])
        if len(own) < ENROLMENT_UTTERANCES:
            own.append(utterance)
    with one_thread_each():
        return {speaker: _enrol_speaker(dataset, speaker, own) for speaker, own in utterances.items()}


def _enrol_speaker(dataset: Dataset, speaker: str, utterances: list[str]) -> np.ndarray:
    heard = [_embed_utterance(dataset, utterance) for utterance in utterances]
    embeddings = [embedding for embedding in heard if embedding is not None]
    if not embeddings:
        raise KoeError(f"speaker {speaker}: all of {len(utterances)} training utterances are silent, no embedding")
    return enrol(embeddings)


def _embed_utterance(dataset: Dataset, utterance: str) -> np.ndarray | None:
    return embed(at_16_khz(dataset.wave(utterance), dataset.mel_params.sample_rate))


def write_speakers(folder: str | Path, speakers: Mapping[str, np.ndarray]) -> None:
    """Writes speakers' embeddings as shards keyed by speaker, field `embedding`."""
    with ShardWriter(folder) as writer:
        for speaker, embedding in speakers.items():
            writer.add(speaker, embedding=embedding)


def read_speakers(folder: str | Path) -> dict[str, np.ndarray]:
    """Speakers' embeddings as `write_speakers` left them."""
    reader = ShardReader(folder)
    return {speaker: reader.get(speaker, "embedding") for speaker in reader}


def references_of(
    dataset: Dataset, pairs: pd.DataFrame, corpora: Mapping[str, CorpusParams], pitch: PitchParams,
    speakers: Mapping[str, np.ndarray],
) -> list[Reference]:
    """What each of `pairs` is measured against.

    F0 is looked for between the lower floor and the higher ceiling of the two speakers, in every condition.
    """
    references = []
    for row in pairs.to_dict("records"):
        source, target = row["source"], row["target"]
        (low, high), (low_target, high_target) = (pitch.range_of(speaker_of(name)) for name in (source, target))
        references.append(Reference(
            pair=row["pair"],
            text=str(dataset.utterances.at[target, "text"]),
            language=corpora[corpus_of(target)].language,
            target=to_int16(dataset.wave(target))[0],
            sample_rate=dataset.mel_params.sample_rate,
            pitch=PitchRange(pitch.method, min(low, low_target), max(high, high_target)),
            target_embedding=speakers[speaker_key(target)],
            source_embedding=speakers[speaker_key(source)],
        ))
    return references


@dataclass(frozen=True)
class Condition:
    """A waveform for each pair, float32 (samples,), under a name such as `source` or `griffin_lim.ceiling`."""

    name: str
    waves: list[np.ndarray]


def measure_conditions(
    references: list[Reference], conditions: list[Condition], evaluation: EvaluationParams, folder: str | Path,
    mels: list[np.ndarray] | None = None,
) -> pd.DataFrame:
    """Writes the waveforms (and `mels`) as shards keyed by pair into `folder`, measures them, returns the rows.

    Waveforms become 16 bit first: what is measured is what is heard. Samples out of range are counted and printed
    (lesson 15), and so is what could not be measured. Raises StoreError for NaN in a mel, KoeError for NaN in a
    waveform.
    """
    jobs = []
    with ShardWriter(folder) as writer:
        for index, reference in enumerate(references):
            audio = {condition.name: _as_int16(condition, index, reference.pair) for condition in conditions}
            writer.add(reference.pair, **audio, **({"mel": mels[index]} if mels is not None else {}))
            jobs.append((audio, reference))
    measured = progress(measure_pairs(jobs, evaluation), "measure", total=len(jobs), unit="pair")
    table = pd.DataFrame([row for rows in measured for row in rows], columns=COLUMNS)
    for metric, reason in missing_metrics(table["missing"]).items():
        print(f"{metric} is missing in {reason}")
    return table


def _as_int16(condition: Condition, index: int, pair: str) -> np.ndarray:
    wave = condition.waves[index]
    if not np.isfinite(wave).all():
        raise KoeError(f"{condition.name} of {pair}: NaN or infinity in the waveform; train the model anew")
    audio, outside = to_int16(wave)
    if outside:
        print(f"{condition.name} of {pair}: {outside} samples out of range, clipped")
    return audio
