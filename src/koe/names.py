"""Names of utterances, speakers, pairs and directions, and how they are put together and taken apart."""

from collections.abc import Iterable
from typing import NamedTuple

from koe.errors import KoeError


def corpus_of(utterance: str) -> str:
    return utterance.split("/", 1)[0]


def speaker_of(utterance: str) -> str:
    return utterance.split("/", 2)[1]


def speaker_key(utterance: str) -> str:
    """`<corpus>/<speaker>`: a speaker's name is its corpus's own."""
    corpus, speaker, _ = utterance.split("/", 2)
    return f"{corpus}/{speaker}"


class Direction(NamedTuple):
    """Who is converted into whom."""

    source: str  # `<corpus>/<speaker>`
    target: str


class Pair(NamedTuple):
    """Two recordings of a sentence."""

    name: str  # `pair_name`
    source: str  # utterance, `<corpus>/<speaker>/<sentence>`
    target: str


def pair_name(sentence: str, source: str, target: str) -> str:
    """`<corpus>/<sentence>/<source>-<target>`; `<corpus>+<other>` where the two are of different corpora."""
    (corpus, speaker, _), (other, other_speaker, _) = source.split("/", 2), target.split("/", 2)
    return f"{corpus if corpus == other else f'{corpus}+{other}'}/{sentence}/{speaker}-{other_speaker}"


def find_speaker(name: str, speakers: Iterable[str], parameter: str) -> str:
    """The `<corpus>/<speaker>` that `name` (with or without corpus) means. Raises KoeError if none, or several, do."""
    speakers = sorted(speakers)
    if name in speakers:
        return name
    found = [speaker for speaker in speakers if speaker.partition("/")[2] == name]
    if len(found) != 1:
        what = f"speaker {name!r} is in {', '.join(found)}; write corpus/speaker" if found else (
            f"no speaker {name!r}; there are {', '.join(speakers[:20])}" + (" …" if len(speakers) > 20 else ""))
        raise KoeError(f"{parameter}: {what}")
    return found[0]
