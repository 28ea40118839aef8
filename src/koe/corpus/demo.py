"""The demo corpus: the project's own sentences, spoken by voices that install with pip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine
from koe.corpus.sentences_file import read_sentences
from koe.corpus.voices import BLOCK, DEFAULT_SPEAKERS, VOICES, Voice, speak
from koe.errors import KoeError
from koe.names import utterance_name
from koe.parallel import parallel_map
from koe.progress import progress
from koe.store import ShardWriter

LANGUAGE = "en"


def import_demo(
    name: str, params: CorpusParams, folder: Path, quarantine: Quarantine, processes: int | None = None
) -> tuple[pd.DataFrame, list[str], str]:
    """Speaks `<path>/<language>.tsv` with every chosen voice into shards in `folder`.

    Returns the utterance table, lines to print, and the licence. A voice's samples depend on the sentences
    alone. Raises KoeError for a missing sentence file, a name with a slash, or an unknown voice.
    """
    language = params.language or LANGUAGE
    path = Path(params.path) / f"{language}.tsv"
    if not path.is_file():
        raise KoeError(f"corpora.{name}.path: {path} does not exist; expected a folder with {language}.tsv")
    sentences = list(read_sentences(path).items())[:params.utterances]
    if not sentences:
        raise KoeError(f"corpora.{name}.path: {path} holds no sentences; expected lines of id<TAB>text")
    if slashed := [sentence for sentence, _ in sentences if "/" in sentence]:
        raise KoeError(f"{path}: sentence {slashed[0]!r}; expected a name without a slash, which separates the "
                       "parts of utterance names")
    voices = demo_voices(name, params)
    roles = dict(zip(_source_and_target(params), ("source", "target"), strict=True))
    rows, clipped = [], 0
    recordings = _recordings(voices, sentences, processes)
    with ShardWriter(folder) as writer:
        for voice, (sentence, text), audio, outside in progress(
            recordings, f"speak {name}", total=len(voices) * len(sentences), unit="sentence"
        ):
            clipped += outside
            row = _row(name, voice, sentence, text, audio) | {"role": roles.get(voice.name, "")}
            writer.add(row["utterance"], audio=audio)
            rows.append(row)
    notes = [f"{clipped} samples lay beyond full scale and were clipped"] if clipped else []
    licence = "; ".join(f"{voice.name}: {voice.licence} ({voice.package}: {voice.credit})" for voice in voices)
    return pd.DataFrame(rows), notes, licence


def demo_voices(name: str, params: CorpusParams) -> list[Voice]:
    """The voices of `speakers`; if it is null, those of source and target.

    Raises KoeError naming the parameter if the language has no such voice, or if source and target are the same.
    """
    language = params.language or LANGUAGE
    available = [voice.name for voice in VOICES.values() if voice.language == language]
    source, target = _source_and_target(params)
    chosen = {"source": [source], "target": [target], "speakers": params.speakers or [source, target]}
    for option, speakers in chosen.items():
        if unknown := [speaker for speaker in speakers if speaker not in available]:
            raise KoeError(f"corpora.{name}.{option}: {unknown[0]!r} is not a voice of language {language}; "
                           f"expected one of {', '.join(available)}")
    if source == target:
        raise KoeError(f"corpora.{name}.source, corpora.{name}.target: both are {source!r}")
    return [VOICES[speaker] for speaker in dict.fromkeys(chosen["speakers"])]


def _source_and_target(params: CorpusParams) -> tuple[str, str]:
    source, target = DEFAULT_SPEAKERS[params.language or LANGUAGE]
    return params.source or source, params.target or target


def _recordings(
    voices: list[Voice], sentences: list[tuple[str, str]], processes: int | None
) -> Iterator[tuple[Voice, tuple[str, str], np.ndarray, int]]:
    blocks = [sentences[start:start + BLOCK] for start in range(0, len(sentences), BLOCK)]
    jobs = [(voice, number, block) for voice in voices for number, block in enumerate(blocks)]
    for (voice, _, block), waves in zip(jobs, parallel_map(_speak_job, jobs, processes, batch=1), strict=True):
        for sentence, (audio, outside) in zip(block, waves, strict=True):
            yield voice, sentence, audio, outside


def _speak_job(job: tuple[Voice, int, list[tuple[str, str]]]) -> list[tuple[np.ndarray, int]]:
    voice, number, block = job
    return speak(voice, number, [text for _, text in block])


def _row(name: str, voice: Voice, sentence: str, text: str, audio: np.ndarray) -> dict[str, Any]:
    return {"utterance": utterance_name(name, voice.name, sentence), "speaker": voice.name, "gender": voice.gender,
            "sentence": sentence, "style": "", "text": text, "language": voice.language, "path": "",
            "seconds": len(audio) / voice.sample_rate, "sample_rate": voice.sample_rate, "channels": 1,
            "format": "PCM_16"}
