"""The demo corpus: the project's own sentences, spoken by two voices that install with pip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_sentences
from koe.corpus.voices import BLOCK, DEFAULT_SPEAKERS, VOICES, Voice, speak
from koe.errors import KoeError
from koe.parallel import parallel_map
from koe.params import CorpusParams
from koe.progress import progress
from koe.store import ShardWriter


def import_demo(
    name: str, params: CorpusParams, folder: Path, quarantine: Quarantine, processes: int | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Speaks `<path>/<language>.tsv` with the source's and the target's voice into shards in `folder`.

    Returns the utterance table and lines to print, the voices' licences among them. The samples depend on the
    sentences and nothing else. Raises KoeError for a missing sentence file or an unknown voice.
    """
    path = Path(params.path) / f"{params.language}.tsv"
    if not path.is_file():
        raise KoeError(f"corpora.{name}.path: {path} does not exist; expected a folder with {params.language}.tsv")
    sentences = list(read_sentences(path).items())[:params.utterances]
    if not sentences:
        raise KoeError(f"corpora.{name}.path: {path} holds no sentences; expected lines of id<TAB>text")
    source, target = demo_voices(name, params)
    rows, clipped = [], 0
    recordings = _recordings(source, target, sentences, processes)
    with ShardWriter(folder) as writer:
        for role, voice, (sentence, text), audio, outside in progress(
            recordings, f"speak {name}", total=2 * len(sentences), unit="sentence"
        ):
            clipped += outside
            utterance = f"{name}/{voice.name}/{sentence}"
            writer.add(utterance, audio=audio)
            rows.append(_row(utterance, voice, sentence, text, role, audio))
    notes = [f"voices: {'; '.join(f'{voice.name} ({voice.licence}, {voice.package})' for voice in (source, target))}"]
    if clipped:
        notes.append(f"{clipped} samples lay beyond full scale and were clipped")
    return pd.DataFrame(rows), notes


def demo_voices(name: str, params: CorpusParams) -> tuple[Voice, Voice]:
    """Source and target voice. Raises KoeError naming the parameter if there is no such voice in the language."""
    defaults = dict(zip(("source", "target"), DEFAULT_SPEAKERS[params.language], strict=True))
    available = [voice.name for voice in VOICES.values() if voice.language == params.language]
    chosen = {role: getattr(params, role) or default for role, default in defaults.items()}
    for role, speaker in chosen.items():
        if speaker not in available:
            raise KoeError(f"corpora.{name}.{role}: {speaker!r} is not a voice of language {params.language}; "
                           f"expected one of {', '.join(available)}")
    if chosen["source"] == chosen["target"]:
        raise KoeError(f"corpora.{name}.source, corpora.{name}.target: both are {chosen['source']!r}")
    return VOICES[chosen["source"]], VOICES[chosen["target"]]


def _recordings(
    source: Voice, target: Voice, sentences: list[tuple[str, str]], processes: int | None
) -> Iterator[tuple[str, Voice, tuple[str, str], np.ndarray, int]]:
    blocks = [sentences[start:start + BLOCK] for start in range(0, len(sentences), BLOCK)]
    jobs = [(role, voice, number, block) for role, voice in (("target", target), ("source", source))
            for number, block in enumerate(blocks)]
    for (role, voice, _, block), spoken in zip(jobs, parallel_map(_speak_job, jobs, processes, batch=1), strict=True):
        for sentence, (audio, outside) in zip(block, spoken, strict=True):
            yield role, voice, sentence, audio, outside


def _speak_job(job: tuple[str, Voice, int, list[tuple[str, str]]]) -> list[tuple[np.ndarray, int]]:
    _, voice, number, block = job
    return speak(voice, number, [text for _, text in block])


def _row(utterance: str, voice: Voice, sentence: str, text: str, role: str, audio: np.ndarray) -> dict[str, Any]:
    return {"utterance": utterance, "speaker": voice.name, "sentence": sentence, "text": text, "role": role,
            "path": "", "seconds": len(audio) / voice.sample_rate, "sample_rate": voice.sample_rate, "channels": 1,
            "format": "PCM_16"}
