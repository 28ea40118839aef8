"""Speaker embeddings of the paired speakers, for evaluation and for a model's conditioning."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from koe.corpus.dataset import Dataset
from koe.corpus.pairing import enrolment_utterances
from koe.errors import KoeError
from koe.listeners.packaged import at_16_khz
from koe.listeners.speaker import ENROLMENT_UTTERANCES, embed, enrol
from koe.parallel import thread_map
from koe.progress import progress
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.params import ConditioningParams

SPEAKERS, UTTERANCES = "speakers", "utterances"  # folders of shards with field `embedding`, by speaker and by utterance


def embed_pairs(
    dataset: Dataset, pairs: pd.DataFrame, conditioning: ConditioningParams, folder: str | Path
) -> dict[str, np.ndarray]:
    """Writes embeddings (256,) of every speaker of the pairs into `folder`, and those of every source utterance if
    `conditioning.level` is `utterance`. Returns the speakers'.

    A speaker's is the mean over ENROLMENT_UTTERANCES recordings of training sentences. Raises KoeError for a speaker
    whose recordings are all silent.
    """
    folder = Path(folder)
    enrolments = {
        speaker: names[:ENROLMENT_UTTERANCES] for speaker, names in enrolment_utterances(dataset, pairs).items()}
    each = conditioning.by == "encoder" and conditioning.level == "utterance"
    utterances = {name for names in enrolments.values() for name in names}
    if each:
        utterances |= set(pairs["source"])
    embeddings = embed_utterances(dataset, sorted(utterances))
    speakers = {speaker: _enrol(speaker, [embeddings[name] for name in names]) for speaker, names in enrolments.items()}
    write_embeddings(folder / SPEAKERS, speakers)
    write_embeddings(folder / UTTERANCES, {
        name: embedding for name, embedding in embeddings.items() if each and embedding is not None})
    return speakers


def embed_utterances(dataset: Dataset, utterances: list[str]) -> dict[str, np.ndarray | None]:
    """Embeddings (256,) of trimmed recordings; None for silence. On all cores."""

    def work(utterance: str) -> np.ndarray | None:
        return embed(at_16_khz(dataset.wave(utterance), dataset.mel_params.sample_rate))

    embeddings = progress(thread_map(work, utterances), "embed", len(utterances), "utterance")
    return dict(zip(utterances, embeddings, strict=True))


def _enrol(speaker: str, embeddings: Iterable[np.ndarray | None]) -> np.ndarray:
    audible = [embedding for embedding in embeddings if embedding is not None]
    if not audible:
        raise KoeError(f"speaker {speaker}: all training recordings are silent to the speaker encoder, no embedding")
    return enrol(audible)


def write_embeddings(folder: str | Path, embeddings: Mapping[str, np.ndarray]) -> None:
    """Writes embeddings (256,) as shards keyed by speaker or utterance, field `embedding`."""
    with ShardWriter(folder) as writer:
        for name, embedding in sorted(embeddings.items()):
            writer.add(name, embedding=embedding)


def read_embeddings(folder: str | Path) -> dict[str, np.ndarray]:
    """Embeddings as `write_embeddings` wrote them."""
    reader = ShardReader(folder)
    return {name: reader.get(name, "embedding") for name in reader.utterances()}
