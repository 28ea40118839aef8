"""Names of utterances, speakers, pairs and directions, and how they are put together and taken apart."""

from collections.abc import Iterable
from typing import NamedTuple

from koe.errors import KoeError


class Utterance(NamedTuple):
    """What an utterance's name is made of. No part has a slash in it."""

    corpus: str
    speaker: str  # its corpus's own
    sentence: str
    style: str = ""  # whisper, falsetto, an emotion; empty: spoken normally


def utterance_name(corpus: str, speaker: str, sentence: str, style: str = "") -> str:
    """`<corpus>/<speaker>/<sentence>`, and `<corpus>/<speaker>/<sentence>/<style>` where there is a style."""
    return f"{corpus}/{speaker}/{sentence}/{style}" if style else f"{corpus}/{speaker}/{sentence}"


def parts_of(utterance: str) -> Utterance:
    """The parts that `utterance_name` put together."""
    corpus, speaker, sentence, *style = utterance.split("/", 3)
    return Utterance(corpus, speaker, sentence, "".join(style))


def corpus_of(utterance: str) -> str:
    return utterance.split("/", 1)[0]


def speaker_of(utterance: str) -> str:
    return parts_of(utterance).speaker


def sentence_of(utterance: str) -> str:
    """The sentence's name, the same in all styles and for all speakers."""
    return parts_of(utterance).sentence


def speaker_key(utterance: str) -> str:
    """`<corpus>/<speaker>`: a speaker's name is its corpus's own."""
    parts = parts_of(utterance)
    return f"{parts.corpus}/{parts.speaker}"


class Direction(NamedTuple):
    """Who is converted into whom."""

    source: str  # `<corpus>/<speaker>`
    target: str


class Pair(NamedTuple):
    """Two recordings of a sentence in one style."""

    name: str  # `pair_name`
    source: str  # utterance (`utterance_name`)
    target: str


def pair_name(source: str, target: str) -> str:
    """A name of two utterances of one sentence and style that no other two have.

    `<corpus>/<sentence>/<source>-<target>`, with `/<style>` behind it where there is a style, and `<corpus>+<other>`
    where the two are of different corpora. Where a speaker's name has a dash, it is `<source>/to/<target>`, for
    `a-b-c` could be the pair of `a` and `b-c` or that of `a-b` and `c`.
    """
    one, other = parts_of(source), parts_of(target)
    corpus = one.corpus if one.corpus == other.corpus else f"{one.corpus}+{other.corpus}"
    between = "/to/" if "-" in one.speaker + other.speaker else "-"
    return utterance_name(corpus, one.sentence, f"{one.speaker}{between}{other.speaker}", one.style)


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
