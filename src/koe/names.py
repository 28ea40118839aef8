"""Names of utterances, speakers, pairs and directions, and how they are put together and taken apart."""

import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from koe.errors import KoeError

LONGEST_FILE_NAME = 120  # bytes; file systems allow 255, and DVC puts what is around a picture's folder before its name


class Utterance(NamedTuple):
    """The parts of an utterance's name. No part contains a slash."""

    corpus: str
    speaker: str  # unique within the corpus
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
    """`<corpus>/<speaker>`: a speaker's name is unique within its corpus only."""
    parts = parts_of(utterance)
    return f"{parts.corpus}/{parts.speaker}"


class Direction(NamedTuple):
    """A direction of conversion."""

    source: str  # `<corpus>/<speaker>`
    target: str


class Pair(NamedTuple):
    """Two recordings of a sentence in one style."""

    name: str  # `pair_name`
    source: str  # utterance (`utterance_name`)
    target: str


def pair_name(source: str, target: str) -> str:
    """A unique name for a pair of utterances of one sentence and style.

    `<corpus>/<sentence>/<source>-<target>`, followed by `/<style>` where there is a style, and with `<corpus>+<other>`
    where the two are from different corpora. Where a speaker's name contains a dash, it is `<source>/to/<target>`,
    because `a-b-c` could be the pair of `a` and `b-c` or that of `a-b` and `c`.
    """
    left, right = parts_of(source), parts_of(target)
    corpus = left.corpus if left.corpus == right.corpus else f"{left.corpus}+{right.corpus}"
    separator = "/to/" if "-" in left.speaker + right.speaker else "-"
    return utterance_name(corpus, left.sentence, f"{left.speaker}{separator}{right.speaker}", left.style)


def file_name(name: str) -> str:
    """The name of an utterance, a pair or a speaker as that of a file or folder: `/` becomes `_`.

    No two names share one, and none is longer than `LONGEST_FILE_NAME`: one that is too long is cut, and ends with a
    hash, as does one that contains `_` itself, because `a_b` could be `a/b`.
    """
    plain = name.replace("/", "_")
    if "_" not in name and len(os.fsencode(plain)) <= LONGEST_FILE_NAME and not plain.startswith("."):
        return plain
    ending = "-" + hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    beginning = plain.encode()[: LONGEST_FILE_NAME - len(ending)].decode(errors="ignore")  # no half of a letter
    return beginning.replace(".", "-", 1) + ending if beginning.startswith(".") else beginning + ending


def find_speaker(name: str, speakers: Iterable[str], parameter: str) -> str:
    """The `<corpus>/<speaker>` that `name` (with or without corpus) stands for.

    Raises KoeError naming `parameter` if it stands for none or for several.
    """
    speakers = sorted(speakers)
    if name in speakers:
        return name
    matches = [speaker for speaker in speakers if speaker.partition("/")[2] == name]
    if len(matches) > 1:
        raise KoeError(f"{parameter}: speaker {name!r} is in {', '.join(matches)}; write corpus/speaker")
    if not matches:
        more = " …" if len(speakers) > 20 else ""
        raise KoeError(f"{parameter}: no speaker {name!r}; there are {', '.join(speakers[:20])}{more}")
    return matches[0]
